//! What one local user may take, so that no other goes short (ATT-07).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Open connections of one user.
const CONNECTIONS_PER_UID: u32 = 64;
/// Certificates that one user may ask for at once, and how many more each second.
const ISSUANCES_AT_ONCE: f64 = 1024.0;
const ISSUANCES_PER_SECOND: f64 = 50.0;
/// Users remembered. Beyond it, those without a connection and with a full budget are forgotten.
const MAX_USERS: usize = 4096;
const REFILLED_AFTER: Duration = Duration::from_secs(21);

/// Counts per user.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    users: Arc<Mutex<HashMap<u32, Usage>>>,
}

#[derive(Debug)]
struct Usage {
    connections: u32,
    issuances: f64,
    counted: Instant,
}

/// One connection's place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    limits: Limits,
    uid: u32,
}

impl Limits {
    /// A place for one more connection of this user, if there is one.
    pub(crate) fn slot(&self, uid: u32) -> Option<Slot> {
        self.with(uid, |usage| {
            let free = usage.connections < CONNECTIONS_PER_UID;
            usage.connections += u32::from(free);
            free
        })
        .then(|| Slot { limits: self.clone(), uid })
    }

    /// Takes one certificate from the user's budget; false when it is spent (CA-09).
    pub(crate) fn take_issuance(&self, uid: u32, now: Instant) -> bool {
        self.with(uid, |usage| {
            let elapsed = now.saturating_duration_since(usage.counted).as_secs_f64();
            usage.issuances =
                elapsed.mul_add(ISSUANCES_PER_SECOND, usage.issuances).min(ISSUANCES_AT_ONCE);
            usage.counted = now;
            let free = usage.issuances >= 1.0;
            usage.issuances -= if free { 1.0 } else { 0.0 };
            free
        })
    }

    fn with<T>(&self, uid: u32, work: impl FnOnce(&mut Usage) -> T) -> T {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if users.len() >= MAX_USERS {
            users.retain(|_, usage| {
                usage.connections > 0 || usage.counted.elapsed() < REFILLED_AFTER
            });
        }
        let unused =
            Usage { connections: 0, issuances: ISSUANCES_AT_ONCE, counted: Instant::now() };
        work(users.entry(uid).or_insert(unused))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.limits.with(self.uid, |usage| usage.connections -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{CONNECTIONS_PER_UID, Limits};

    #[test]
    fn a_user_has_so_many_connections_and_no_other_user_goes_short() {
        // ATT-07
        let limits = Limits::default();
        let mut slots: Vec<_> =
            (0..CONNECTIONS_PER_UID).map(|_| limits.slot(1000).unwrap()).collect();
        assert!(limits.slot(1000).is_none());
        assert!(limits.slot(1001).is_some());
        slots.pop();
        assert!(limits.slot(1000).is_some());
    }

    #[test]
    fn a_spent_budget_refills_with_time() {
        // CA-09
        let limits = Limits::default();
        let start = Instant::now();
        let taken = (0..2000).filter(|_| limits.take_issuance(1000, start)).count();
        assert_eq!(taken, 1024);
        assert!(limits.take_issuance(1001, start));
        let later = start + Duration::from_secs(1);
        let taken = (0..2000).filter(|_| limits.take_issuance(1000, later)).count();
        assert_eq!(taken, 50);
    }
}
