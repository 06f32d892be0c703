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
    /// Replaces the addresses of one destination. What is no address is left out.
    pub(crate) fn update(&self, destination: &str, addresses: &[String]) {
        let addresses = addresses.iter().filter_map(|address| address.parse().ok()).collect();
        let mut endpoints = self.endpoints.load().as_deref().cloned().unwrap_or_default();
        endpoints.insert(destination.into(), addresses);
        self.endpoints.publish(endpoints);
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
