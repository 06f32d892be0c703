//! From a local listener to the workload that it stands for: who must answer, where, and over
//! which connections.

use std::{
    collections::BTreeMap,
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
    endpoints: ArcSwap<BTreeMap<SocketAddr, Arc<Endpoint>>>,
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
            endpoints: ArcSwap::default(),
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

    /// The addresses to try, in order: by turns, those that failed just now at the end.
    pub(crate) fn endpoints(&self, route: &Route) -> Result<Vec<Arc<Endpoint>>, CloseReason> {
        let addresses = &route.places.addresses;
        if addresses.is_empty() {
            return Err(CloseReason::NoEndpoint);
        }
        let known = self.known(addresses);
        let mut ordered: Vec<_> =
            addresses.iter().filter_map(|address| known.get(address).cloned()).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % ordered.len().max(1);
        ordered.rotate_left(turn);
        let now = self.clock();
        ordered.sort_by_key(|endpoint| endpoint.shunned_until.load(Ordering::Relaxed) > now);
        Ok(ordered)
    }

    /// Notes that `endpoint` could not be reached.
    pub(crate) fn shun(&self, endpoint: &Endpoint) {
        let until = self.clock() + u64::try_from(SHUNNED.as_millis()).unwrap_or(u64::MAX);
        endpoint.shunned_until.store(until, Ordering::Relaxed);
    }

    /// The same of the endpoint at `address`.
    pub(crate) fn shun_at(&self, address: SocketAddr) {
        if let Some(endpoint) = self.endpoints.load().get(&address) {
            self.shun(endpoint);
        }
    }

    /// The endpoints of exactly these addresses; connections to others end with their last call.
    fn known(&self, addresses: &[SocketAddr]) -> Arc<BTreeMap<SocketAddr, Arc<Endpoint>>> {
        let known = self.endpoints.load_full();
        if known.len() == addresses.len() && addresses.iter().all(|a| known.contains_key(a)) {
            return known;
        }
        self.endpoints.rcu(|known| {
            let endpoint = |address: &SocketAddr| {
                let found = known.get(address).cloned();
                (*address, found.unwrap_or_else(|| Arc::new(Endpoint::new(*address))))
            };
            addresses.iter().map(endpoint).collect::<BTreeMap<_, _>>()
        });
        self.endpoints.load_full()
    }

    fn clock(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
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
