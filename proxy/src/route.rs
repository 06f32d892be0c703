//! From a local listener to the workload that it stands for: who must answer, where, and over
//! which connections.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use cellwall_policy::{Call, Idempotent, IdempotentBy, Protocol, Snapshot, Tolerated};
use spiffe::SpiffeId;

use crate::{
    CloseReason, Directory, Identity,
    directory::Places,
    http::{Budget, Multiplexed},
    tunnels::Tunnels,
};

/// How long an address that could not be reached is asked last.
const SHUNNED: Duration = Duration::from_secs(1);

/// One destination of our workload: a local listener, and what stands behind it.
#[derive(Debug)]
pub struct Destination {
    /// `WORKLOAD` or `ENVIRONMENT/WORKLOAD`, as configured.
    pub name: Arc<str>,
    /// For calls that are made twice.
    pub(crate) budget: Budget,
    fixed: Option<Places>,
    known: ArcSwap<Known>,
    turn: AtomicUsize,
    started: Instant,
}

/// Where a destination is now, and who must answer (AZ-12).
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) expected: Arc<SpiffeId>,
    /// The same as text, for records.
    pub(crate) expected_text: Arc<str>,
    pub(crate) protocol: Protocol,
    /// What the callee tolerates in a path: its own sidecar knows in which.
    pub(crate) tolerates: Tolerated,
    idempotent: Option<Arc<Idempotent>>,
    places: Places,
}

/// One address of a destination, with the connections to it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) pool: Multiplexed<PoolKey>,
    /// For TCP connections.
    pub(crate) tunnels: Tunnels,
    shunned_until: AtomicU64,
}

/// The endpoints of a destination, as the addresses were given.
#[derive(Debug, Default)]
struct Known {
    addresses: Arc<[SocketAddr]>,
    endpoints: Box<[Arc<Endpoint>]>,
}

/// The endpoints to try for one call, each once: by turns, those that failed just now at the end. No
/// call looks at more of them than it tries, and at those that failed before.
#[derive(Clone, Debug)]
pub(crate) struct Candidates {
    known: Arc<Known>,
    now: u64,
    /// Which one is next.
    at: usize,
    /// How many were not looked at yet.
    left: usize,
    /// Those that failed just now.
    last: VecDeque<usize>,
}

/// What a pooled connection was opened for. A call uses it only when all of it holds (AZ-13).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PoolKey {
    pub(crate) own: Arc<str>,
    pub(crate) expected: Arc<SpiffeId>,
    pub(crate) trust_epoch: u64,
}

impl PoolKey {
    /// Of a connection that is opened now.
    pub(crate) fn of(identity: &Identity, route: &Route) -> Self {
        Self {
            own: identity.material.shared_id_text(),
            expected: route.expected.clone(),
            trust_epoch: identity.trust_epoch,
        }
    }
}

impl Destination {
    /// A destination at `fixed` addresses, or wherever the control plane says.
    pub fn new(name: &str, fixed: Option<Places>) -> Self {
        Self {
            name: name.into(),
            budget: Budget::default(),
            fixed,
            known: ArcSwap::default(),
            turn: AtomicUsize::new(0),
            started: Instant::now(),
        }
    }

    /// Resolves the destination by the policy and the directory of this moment.
    pub(crate) fn route(
        &self,
        snapshot: Option<&Snapshot>,
        directory: &Directory,
    ) -> Result<Route, CloseReason> {
        let snapshot = snapshot.ok_or(CloseReason::NoPolicy)?;
        let known = snapshot.destination(&self.name).ok_or(CloseReason::NoRoute)?;
        let places = self.fixed.clone().unwrap_or_else(|| directory.places(&self.name));
        let (expected, expected_text) = (known.id.clone(), known.id_text.clone());
        let protocol = known.protocol;
        let (tolerates, idempotent) = (known.tolerates, known.idempotent.clone());
        Ok(Route { expected, expected_text, protocol, tolerates, idempotent, places })
    }

    /// The endpoints to try for a call.
    pub(crate) fn endpoints(&self, route: &Route) -> Result<Candidates, CloseReason> {
        let addresses = &route.places.addresses;
        if addresses.is_empty() {
            return Err(CloseReason::NoEndpoint);
        }
        let known = self.known(addresses);
        let left = known.endpoints.len();
        let at = self.turn.fetch_add(1, Ordering::Relaxed) % left.max(1);
        Ok(Candidates { known, now: self.clock(), at, left, last: VecDeque::new() })
    }

    /// Notes that `endpoint` could not be reached.
    pub(crate) fn shun(&self, endpoint: &Endpoint) {
        let until = self.clock() + u64::try_from(SHUNNED.as_millis()).unwrap_or(u64::MAX);
        endpoint.shunned_until.store(until, Ordering::Relaxed);
    }

    /// The same of the endpoint at `address`.
    pub(crate) fn shun_at(&self, address: SocketAddr) {
        let known = self.known.load();
        if let Some(endpoint) = known.endpoints.iter().find(|known| known.address == address) {
            self.shun(endpoint);
        }
    }

    /// The endpoints of exactly these addresses; connections to others end with their last call.
    fn known(&self, addresses: &Arc<[SocketAddr]>) -> Arc<Known> {
        let known = self.known.load_full();
        // The directory gives one list to all calls: to compare addresses would cost each of them.
        if Arc::ptr_eq(&known.addresses, addresses) {
            return known;
        }
        self.known.rcu(|known| known.now_at(addresses));
        self.known.load_full()
    }

    fn clock(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Known {
    /// At these addresses, with the connections to those that were known.
    fn now_at(&self, addresses: &Arc<[SocketAddr]>) -> Self {
        let known = self.endpoints.iter().map(|known| (known.address, known.clone()));
        let mut known: BTreeMap<_, _> = known.collect();
        let endpoint = |address: &SocketAddr| {
            known.entry(*address).or_insert_with(|| Arc::new(Endpoint::new(*address))).clone()
        };
        let endpoints = addresses.iter().map(endpoint).collect();
        Self { addresses: addresses.clone(), endpoints }
    }
}

impl Candidates {
    /// How many there are, tried or not.
    pub(crate) fn total(&self) -> usize {
        self.known.endpoints.len()
    }
}

impl Iterator for Candidates {
    type Item = Arc<Endpoint>;

    fn next(&mut self) -> Option<Arc<Endpoint>> {
        while let Some(left) = self.left.checked_sub(1) {
            let at = self.at;
            self.left = left;
            self.at = if at + 1 < self.total() { at + 1 } else { 0 };
            let endpoint = self.known.endpoints.get(at)?;
            if endpoint.shunned_until.load(Ordering::Relaxed) <= self.now {
                return Some(endpoint.clone());
            }
            self.last.push_back(at);
        }
        self.known.endpoints.get(self.last.pop_front()?).cloned()
    }
}

impl Route {
    /// Whether it leads to the callee of `other`, in the same protocol.
    pub(crate) fn is_to(&self, other: &Self) -> bool {
        self.expected == other.expected && self.protocol == other.protocol
    }

    /// Whether the sidecar at `address` takes TCP connections as streams, as far as anybody has said.
    pub(crate) fn takes_streams(&self, address: SocketAddr) -> bool {
        self.places.streams.contains(&address)
    }

    /// By what a call may be made twice there, if the policy declares it.
    pub(crate) fn idempotent<'c>(
        &self,
        call: impl FnOnce() -> Option<Call<'c>>,
    ) -> Option<IdempotentBy> {
        self.idempotent.as_ref()?.by(&call()?)
    }
}

impl Endpoint {
    fn new(address: SocketAddr) -> Self {
        let (pool, tunnels) = (Multiplexed::default(), Tunnels::with(address));
        Self { address, pool, tunnels, shunned_until: AtomicU64::new(0) }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc};

    use cellwall_policy::{Protocol, Tolerated};
    use spiffe::SpiffeId;

    use super::{Destination, Endpoint, Route};
    use crate::directory::Places;

    fn route(ports: &[u16]) -> Route {
        let addresses = ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port)));
        Route {
            expected: Arc::new(SpiffeId::new("spiffe://pay.example/prod/payments").unwrap()),
            expected_text: Arc::from("spiffe://pay.example/prod/payments"),
            protocol: Protocol::Http,
            tolerates: Tolerated::Nothing,
            idempotent: None,
            places: Places { addresses: addresses.collect(), streams: Arc::default() },
        }
    }

    fn ports(endpoints: impl Iterator<Item = Arc<Endpoint>>) -> Vec<u16> {
        endpoints.map(|endpoint| endpoint.address.port()).collect()
    }

    #[test]
    fn addresses_take_turns_and_those_that_failed_just_now_are_tried_last() {
        let (destination, route) = (Destination::new("payments", None), route(&[1, 2, 3, 4]));
        let next = || destination.endpoints(&route).unwrap();
        assert_eq!(ports(next()), [1, 2, 3, 4]);
        assert_eq!(ports(next()), [2, 3, 4, 1]);
        for failed in [3, 4] {
            destination.shun_at(SocketAddr::from(([127, 0, 0, 1], failed)));
        }
        assert_eq!(ports(next()), [1, 2, 3, 4]);
        assert_eq!(ports(next()), [1, 2, 4, 3]);
        assert_eq!(ports(next()), [1, 2, 3, 4]);
    }

    #[test]
    fn an_address_that_fails_is_not_tried_twice_for_one_call() {
        let (destination, route) = (Destination::new("payments", None), route(&[1, 2, 3]));
        let tried = || {
            let endpoints = destination.endpoints(&route).unwrap();
            ports(endpoints.inspect(|endpoint| destination.shun(endpoint)))
        };
        assert_eq!(tried(), [1, 2, 3]);
        assert_eq!(tried(), [2, 3, 1], "all have failed");
    }

    #[test]
    fn connections_to_an_address_stay_when_the_directory_speaks_again() {
        let destination = Destination::new("payments", None);
        let before: Vec<_> = destination.endpoints(&route(&[1, 2])).unwrap().collect();
        let after = destination.endpoints(&route(&[2, 3, 2])).unwrap();
        let kept = after.map(|now| before.iter().any(|known| Arc::ptr_eq(known, &now)));
        assert_eq!(kept.collect::<Vec<_>>(), [false, true, true]);
    }
}
