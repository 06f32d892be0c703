//! How the policy in force stands: when the control plane was last behind it, and whether it is on
//! the disk. What is told here alarms, and changes no decision (POL-03).

use std::time::{Duration, SystemTime};

use cellwall_policy::Snapshot;
use metrics::gauge;

use crate::Live;

/// Shared by who follows the control plane and who answers for our health.
#[derive(Debug, Default)]
pub struct Standing {
    contact: Live<Contact>,
    storage: Live<Storage>,
}

/// When the control plane last stood behind the policy in force.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Contact {
    /// It does now: a stream is open, and what came last is in force.
    Open,
    /// It did until then.
    Until(SystemTime),
}

/// Whether a restart without the control plane would find the policy in force.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Storage {
    /// It would.
    Kept,
    /// It would not, although there is a folder for it.
    Failed,
}

impl Standing {
    /// The control plane has sent what is in force, and its stream is open.
    pub(crate) fn confirmed(&self) {
        self.contact.publish(Contact::Open);
    }

    /// The stream has ended at `now`, or what came over it was refused.
    pub(crate) fn lost(&self, now: SystemTime) {
        match self.contact.load().as_deref() {
            Some(Contact::Open) => self.contact.publish(Contact::Until(now)),
            Some(Contact::Until(_)) | None => {}
        }
    }

    /// The policy comes from the disk; the control plane made it at `issued`.
    pub(crate) fn restored(&self, issued: SystemTime) {
        self.contact.publish(Contact::Until(issued));
    }

    /// Whether the policy in force is on the disk.
    pub(crate) fn stored(&self, storage: Storage) {
        self.storage.publish(storage);
    }

    /// How long the policy in force has been without its control plane; `None` without one.
    pub(crate) fn age(&self, now: SystemTime) -> Option<Duration> {
        Some(match *self.contact.load()? {
            Contact::Open => Duration::ZERO,
            Contact::Until(end) => now.duration_since(end).unwrap_or_default(),
        })
    }

    /// What an operator should look at, one line each, although we serve.
    pub(crate) fn warnings(&self, snapshot: &Snapshot, now: SystemTime) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(age) = self.stale(snapshot, now) {
            let (age, limit) = (age.as_secs(), snapshot.max_age().as_secs());
            warnings.push(format!(
                "warning: the control plane has been away for {age} s, more than {limit} s; the \
                 policy stays in force"
            ));
        }
        if self.storage.load().as_deref() == Some(&Storage::Failed) {
            warnings.push("warning: the policy in force is not on the disk".to_owned());
        }
        warnings
    }

    /// Sets the gauges to what is now.
    pub(crate) fn measure(&self, snapshot: Option<&Snapshot>, now: SystemTime) {
        let age = self.age(now).unwrap_or_default();
        gauge!("cellwall_policy_age_seconds").set(age.as_secs_f64());
        let stale = snapshot.is_some_and(|snapshot| self.stale(snapshot, now).is_some());
        gauge!("cellwall_policy_stale").set(f64::from(u8::from(stale)));
        let storage = self.storage.load();
        let kept = storage.as_deref() == Some(&Storage::Kept);
        gauge!("cellwall_policy_stored").set(f64::from(u8::from(kept)));
    }

    fn stale(&self, snapshot: &Snapshot, now: SystemTime) -> Option<Duration> {
        self.age(now).filter(|age| *age > snapshot.max_age())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use cellwall_policy::{
        Call, Digest, IdentityHeader, ListensDocument, Mode, Protocol, Snapshot, SnapshotDocument,
        Tls, Verdict,
    };
    use spiffe::SpiffeId;

    use super::{Standing, Storage};

    const HOUR: Duration = Duration::from_secs(3600);

    fn snapshot() -> Snapshot {
        Snapshot::new(SnapshotDocument {
            foreign: Vec::new(),
            grants: Vec::new(),
            probes: Vec::new(),
            schema: cellwall_policy::SCHEMA,
            trust_domain: "pay.example".to_owned(),
            callee: "spiffe://pay.example/prod/db".to_owned(),
            workload: "db".to_owned(),
            epoch: 1,
            version: 1,
            digest: Digest::default().to_string(),
            issued_at: 0,
            max_age_seconds: 24 * 3600,
            identity_headers: IdentityHeader::USUAL.to_vec(),
            mode: Mode::Enforce,
            listens: vec![ListensDocument::of(Protocol::Tcp, 5432)],
            identity: "spiffe://pay.example/{env}/{workload}".to_owned(),
            callers: Vec::new(),
            rules: Vec::new(),
            guards: Vec::new(),
            destinations: Vec::new(),
        })
        .unwrap()
    }

    #[test]
    fn over_a_day_without_the_control_plane_there_is_an_alarm_and_the_same_policy() {
        // POL-03: 48 simulated hours
        let (standing, snapshot) = (Standing::default(), snapshot());
        let start = SystemTime::UNIX_EPOCH + 1_000_000 * HOUR;
        standing.confirmed();
        assert_eq!(standing.warnings(&snapshot, start + 999 * HOUR), Vec::<String>::new());
        standing.lost(start);
        let caller = SpiffeId::new("spiffe://pay.example/prod/web").unwrap();
        for hour in 0..48 {
            let now = start + hour * HOUR;
            standing.lost(now); // each attempt that fails
            assert_eq!(standing.age(now), Some(hour * HOUR));
            let alarmed = !standing.warnings(&snapshot, now).is_empty();
            assert_eq!(alarmed, hour > 24, "hour {hour}");
            assert_eq!(
                snapshot.decide(&caller, &Tls::default(), &Call::Tcp { port: 5432 }, now).verdict,
                Verdict::Deny
            );
        }
        let text = standing.warnings(&snapshot, start + 25 * HOUR).concat();
        assert_eq!(
            text,
            "warning: the control plane has been away for 90000 s, more than 86400 s; the policy \
             stays in force"
        );
        standing.confirmed();
        assert_eq!(standing.warnings(&snapshot, start + 999 * HOUR), Vec::<String>::new());
    }

    #[test]
    fn a_policy_from_the_disk_is_as_old_as_its_date() {
        let (standing, snapshot) = (Standing::default(), snapshot());
        let now = SystemTime::UNIX_EPOCH + 1_000_000 * HOUR;
        assert_eq!(standing.age(now), None);
        standing.restored(now - 30 * HOUR);
        standing.lost(now);
        assert_eq!(standing.age(now), Some(30 * HOUR));
        assert_eq!(standing.warnings(&snapshot, now).len(), 1);
        // A clock that went back is no reason for an alarm.
        assert_eq!(standing.age(now - 40 * HOUR), Some(Duration::ZERO));
    }

    #[test]
    fn a_policy_that_is_not_on_the_disk_is_said_so() {
        let (standing, snapshot) = (Standing::default(), snapshot());
        standing.confirmed();
        for (storage, count) in [(Storage::Failed, 1), (Storage::Kept, 0)] {
            standing.stored(storage);
            assert_eq!(standing.warnings(&snapshot, SystemTime::UNIX_EPOCH).len(), count);
        }
    }
}
