//! The connected sidecars: what each enforces, and where each workload is served.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime},
};

use cellwall_mtls::Peer;
use metrics::histogram;
use spiffe::SpiffeId;
use tokio::sync::watch;

use super::{
    hello::{Answered, Introduction},
    roll::Roll,
};

/// Every connected sidecar.
#[derive(Clone, Debug)]
pub struct Fleet {
    rows: Arc<Mutex<Rows>>,
    /// Counts changes of any address.
    moved: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Rows {
    rows: Roll<ProxyRow>,
    /// The version that not everybody has acknowledged yet, and when it came into force.
    converging: Option<(u64, Instant)>,
    /// The last one that everybody has.
    converged: u64,
}

/// One connected sidecar.
#[derive(Clone, Debug)]
pub struct ProxyRow {
    /// Who it proved to be.
    pub peer: Peer,
    /// The workload's name in the policy.
    pub workload: String,
    /// The environment's name in the policy.
    pub environment: String,
    /// What it said about itself.
    pub introduction: Introduction,
    /// Since when.
    pub connected_at: SystemTime,
    /// The snapshot that was sent last.
    pub sent: Option<Answered>,
    /// The version that it said it enforces.
    pub enforces: Option<u64>,
    /// When it said so.
    pub acked_at: Option<SystemTime>,
    /// Why it refused what was sent last.
    pub refused: Option<String>,
    /// Where it serves its workload.
    pub addresses: Vec<ServedAt>,
}

/// Where a sidecar serves one listener of its workload.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ServedAt {
    /// The declared port; `None`: the workload has one listener.
    pub port: Option<u16>,
    /// What others connect to.
    pub address: SocketAddr,
    /// Whether TCP connections are taken there as streams of one session.
    pub streams: bool,
}

impl ServedAt {
    /// Whether it serves the listener on this port; `None`: the only one.
    fn is_for(&self, port: Option<u16>) -> bool {
        match (self.port, port) {
            (Some(own), Some(wanted)) => own == wanted,
            _ => true,
        }
    }
}

impl fmt::Display for ServedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(port) = self.port {
            write!(f, "{port}@")?;
        }
        self.address.fmt(f)
    }
}

/// Whether a sidecar enforces what it was sent.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum SyncState {
    /// It does.
    Synced,
    /// It has not said yet.
    Pending,
    /// It refused.
    Nacked,
}

impl SyncState {
    /// All of them, for metrics.
    pub const ALL: [Self; 3] = [Self::Synced, Self::Pending, Self::Nacked];

    /// The name in the API and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Pending => "pending",
            Self::Nacked => "nacked",
        }
    }
}

/// A sidecar's place in the fleet; dropped with its stream, and its addresses with it.
#[derive(Debug)]
pub(super) struct Enlisted {
    fleet: Fleet,
    key: u64,
}

impl ProxyRow {
    /// Whether it enforces what it was sent.
    pub fn sync(&self) -> SyncState {
        match &self.sent {
            _ if self.refused.is_some() => SyncState::Nacked,
            Some(sent) if self.enforces == Some(sent.version) => SyncState::Synced,
            Some(_) | None => SyncState::Pending,
        }
    }
}

impl Default for Fleet {
    fn default() -> Self {
        Self { rows: Arc::default(), moved: watch::Sender::new(0) }
    }
}

impl Fleet {
    /// All sidecars, in the order they came.
    pub fn list(&self) -> Vec<ProxyRow> {
        self.with(|rows| rows.rows.all().cloned().collect())
    }

    /// Where the workload with this identity is served now; of several listeners only the one on
    /// `port`. Only its own sidecars said so: an address is recorded under the identity that its
    /// stream proved. With each goes whether TCP connections are taken there as streams: at one that two
    /// sidecars name, only if both say so.
    pub(super) fn addresses_of(
        &self,
        id: &SpiffeId,
        port: Option<u16>,
    ) -> BTreeMap<SocketAddr, bool> {
        self.with(|rows| {
            let own = rows.rows.of(id);
            let mut addresses = BTreeMap::new();
            for it in own.flat_map(|row| &row.addresses).filter(|it| it.is_for(port)) {
                *addresses.entry(it.address).or_insert(true) &= it.streams;
            }
            addresses
        })
    }

    /// Changes whenever an address may have.
    pub(super) fn moved(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// A place for a sidecar, unless its identity has too many.
    pub(super) fn enlist(&self, row: ProxyRow) -> Option<Enlisted> {
        let peer = row.peer.clone();
        let key = self.with(|rows| rows.rows.add(peer.id(), row))?;
        Some(Enlisted { fleet: self.clone(), key })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Rows) -> T) -> T {
        work(&mut self.rows.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Enlisted {
    /// A snapshot was sent, of an edition that came into force at `published`: unknown if that
    /// was before this process started.
    pub(super) fn sent(&self, snapshot: Answered, published: Option<Instant>) {
        self.with(|row| {
            row.sent = Some(snapshot);
            row.refused = None;
        });
        let version = snapshot.version;
        self.fleet.with(|rows| {
            let newer = rows.converging.is_none_or(|(older, _)| older < version);
            if let Some(published) = published.filter(|_| newer && rows.converged < version) {
                rows.converging = Some((version, published));
            }
        });
    }

    /// The sidecar enforces a snapshot, or says so of one that was not sent to it.
    pub(super) fn acked(&self, about: Answered, now: SystemTime) {
        self.with(|row| match row.sent {
            Some(sent) if sent == about => {
                row.enforces = Some(about.version);
                row.acked_at = Some(now);
                row.refused = None;
            }
            // POL-05: the right version with another payload is not what we sent.
            Some(sent) if sent.version == about.version => {
                row.refused = Some("acknowledged another payload than was sent".into());
            }
            // The answer to a version that has been overtaken.
            Some(_) | None => {}
        });
        self.fleet.with(Rows::note_convergence);
    }

    /// The sidecar refused a snapshot and enforces the one before.
    pub(super) fn nacked(&self, about: Answered, reason: String) {
        self.with(|row| {
            // By the hash: of a payload that it cannot read a sidecar knows no version.
            if row.sent.is_some_and(|sent| sent.hash == about.hash) {
                row.refused = Some(reason);
            }
        });
    }

    /// The sidecar serves its workload there, and nowhere else.
    pub(super) fn serves(&self, addresses: Vec<ServedAt>) {
        let changed = self.with(|row| {
            let changed = row.addresses != addresses;
            row.addresses = addresses;
            changed
        });
        if changed == Some(true) {
            self.fleet.moved.send_modify(|moved| *moved += 1);
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut ProxyRow) -> T) -> Option<T> {
        self.fleet.with(|rows| rows.rows.row(self.key).map(work))
    }
}

impl Rows {
    /// From apply to the last ack.
    fn note_convergence(&mut self) {
        let Some((version, published)) = self.converging else { return };
        if self.rows.all().all(|row| row.enforces.is_some_and(|enforced| enforced >= version)) {
            histogram!("cellwall_control_convergence_seconds").record(published.elapsed());
            self.converging = None;
            self.converged = version;
        }
    }
}

impl Drop for Enlisted {
    fn drop(&mut self) {
        let row = self.fleet.with(|rows| rows.rows.remove(self.key));
        if row.is_some_and(|row| !row.addresses.is_empty()) {
            self.fleet.moved.send_modify(|moved| *moved += 1);
        }
    }
}
