//! Which certificates are in use: one row for each identity of each open stream.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use spiffe::SpiffeId;

/// A certificate that a connected workload holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holding {
    /// Whose.
    pub id: SpiffeId,
    /// The process that holds it.
    pub pid: i32,
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// When it was signed.
    pub issued_at: SystemTime,
    /// When it ends.
    pub not_after: SystemTime,
    /// When the agent renews it.
    pub renew_at: SystemTime,
}

/// All certificates in use, for those who operate the control plane.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    rows: Arc<Mutex<Rows>>,
}

#[derive(Debug, Default)]
struct Rows {
    next: u64,
    held: BTreeMap<u64, Holding>,
}

/// Keeps a row for as long as it lives.
#[derive(Debug)]
pub(crate) struct Held {
    holdings: Holdings,
    key: u64,
}

impl Holdings {
    /// What is held now, oldest first.
    pub fn list(&self) -> Vec<Holding> {
        self.with(|rows| rows.held.values().cloned().collect())
    }

    pub(crate) fn add(&self, holding: Holding) -> Held {
        let key = self.with(|rows| {
            rows.next += 1;
            rows.held.insert(rows.next, holding);
            rows.next
        });
        Held { holdings: self.clone(), key }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Rows) -> T) -> T {
        work(&mut self.rows.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.holdings.with(|rows| rows.held.remove(&self.key));
    }
}
