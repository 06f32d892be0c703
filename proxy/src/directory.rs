//! Where each destination is served now: what the control plane says, as hints. Who answers there
//! is checked in the handshake.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use crate::Live;

/// Addresses by destination, as the outbound listeners spell it.
pub(crate) type Endpoints = BTreeMap<Box<str>, Arc<[SocketAddr]>>;

/// What is known of where others are. Kept while the control plane is away.
#[derive(Debug, Default)]
pub struct Directory {
    endpoints: Live<Endpoints>,
}

impl Directory {
    /// Replaces the addresses of one destination. What is no address is left out. Nobody is no
    /// news: a control plane that has just started has not heard yet who serves where, and whoever
    /// answers at an old address has to prove itself all the same.
    pub(crate) fn update(&self, destination: &str, addresses: &[String]) {
        let addresses: Arc<[SocketAddr]> =
            addresses.iter().filter_map(|address| address.parse().ok()).collect();
        let mut endpoints = self.endpoints.load().as_deref().cloned().unwrap_or_default();
        if addresses.is_empty() && endpoints.contains_key(destination) {
            return;
        }
        endpoints.insert(destination.into(), addresses);
        self.endpoints.publish(endpoints);
    }

    /// What was known before a restart.
    pub(crate) fn recall(&self, known: Endpoints) {
        self.endpoints.publish(known);
    }

    /// All that is known.
    pub(crate) fn known(&self) -> Arc<Endpoints> {
        self.endpoints.load().unwrap_or_default()
    }

    /// The addresses of one destination; empty when nobody serves it, or nobody said so yet.
    pub(crate) fn addresses(&self, destination: &str) -> Arc<[SocketAddr]> {
        let endpoints = self.endpoints.load();
        endpoints.and_then(|known| known.get(destination).cloned()).unwrap_or_default()
    }
}
