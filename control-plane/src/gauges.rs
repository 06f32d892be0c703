//! Gauges that are measured when somebody asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use cellwall_agent::Holdings;
use metrics::gauge;

use crate::{
    authority::{Authority, Material},
    distribution::{Fleet, SyncState},
    policy_book::PolicyBook,
    store::Store,
};

/// Where the values are.
#[derive(Clone, Debug)]
pub struct Gauges {
    /// Our own SVID.
    pub material: Material,
    /// Who signs.
    pub authority: Arc<Authority>,
    /// What is in force.
    pub book: Arc<PolicyBook>,
    /// Who is connected.
    pub fleet: Fleet,
    /// Which certificates are in use.
    pub holdings: Holdings,
    /// What was recorded.
    pub store: Store,
    /// Environments that have been measured: one that a new policy no longer has goes to zero.
    pub environments: Arc<Mutex<BTreeSet<String>>>,
}

impl Gauges {
    /// Sets every gauge to what is now.
    pub async fn measure(&self) {
        let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default();
        gauge!("cellwall_ca_expiration_timestamp_seconds", "authority" => "active")
            .set(seconds(self.authority.ca().not_after).as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        {
            let edition = self.book.edition();
            gauge!("cellwall_policy_version").set(edition.version.0 as f64);
            gauge!("cellwall_policy_epoch").set(edition.epoch as f64);
            if let Ok(sequence) = self.store.audit_sequence().await {
                gauge!("cellwall_audit_sequence").set(sequence as f64);
            }
        }
        self.measure_fleet();
        self.measure_identities();
    }

    fn measure_fleet(&self) {
        let rows = self.fleet.list();
        for state in SyncState::ALL {
            let count = rows.iter().filter(|row| row.sync() == state).count();
            gauge!("cellwall_control_proxies", "state" => state.as_str()).set(float(count));
        }
    }

    fn measure_identities(&self) {
        let (edition, now) = (self.book.edition(), SystemTime::now());
        let held = self.holdings.list();
        let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        let mut known = self.environments.lock().unwrap_or_else(PoisonError::into_inner);
        counts.extend(known.iter().map(|environment| (environment.clone(), (0, 0))));
        let entries = edition.policy.iter().flat_map(|policy| policy.registry.entries());
        for entry in entries {
            let late = held.iter().any(|one| one.id == entry.id && one.renew_at < now);
            let (all, overdue) = counts.entry(entry.environment.clone()).or_default();
            *all += 1;
            *overdue += usize::from(late);
        }
        for (environment, (all, overdue)) in counts {
            gauge!("cellwall_identities", "env" => environment.clone()).set(float(all));
            gauge!("cellwall_identities_late", "env" => environment.clone()).set(float(overdue));
            known.insert(environment);
        }
    }
}

fn float(count: usize) -> f64 {
    u32::try_from(count).unwrap_or(u32::MAX).into()
}
