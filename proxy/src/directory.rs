//! Where each destination is served now: what the control plane says, as hints. Who answers there
//! is checked in the handshake.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use crate::Live;

/// Addresses by destination, as the outbound listeners spell it.
pub(crate) type Endpoints = BTreeMap<Box<str>, Arc<[SocketAddr]>>;

/// Where one destination is served.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Places {
    /// Everywhere.
    pub addresses: Arc<[SocketAddr]>,
    /// Those where TCP connections are taken as streams of a session. Where nobody said so each has a
    /// session of its own.
    pub streams: Arc<[SocketAddr]>,
}

/// What is known of where others are. Kept while the control plane is away.
#[derive(Debug, Default)]
pub struct Directory {
    places: Live<BTreeMap<Box<str>, Places>>,
}

impl Directory {
    /// Replaces the addresses of one destination. What is no address is left out. Nobody is no
    /// news: a control plane that has just started has not heard yet who serves where, and whoever
    /// answers at an old address has to prove itself all the same.
    pub(crate) fn update(&self, destination: &str, addresses: &[String], streams: &[String]) {
        let places = Places { addresses: parsed(addresses), streams: parsed(streams) };
        let mut known = self.places.load().as_deref().cloned().unwrap_or_default();
        if places.addresses.is_empty() && known.contains_key(destination) {
            return;
        }
        known.insert(destination.into(), places);
        self.places.publish(known);
    }

    /// What was known before a restart: addresses, and no more.
    pub(crate) fn recall(&self, known: Endpoints) {
        let place = |addresses| Places { addresses, streams: Arc::default() };
        let known = known.into_iter().map(|(name, addresses)| (name, place(addresses)));
        self.places.publish(known.collect::<BTreeMap<_, _>>());
    }

    /// All addresses that are known.
    pub(crate) fn known(&self) -> Endpoints {
        let places = self.places.load();
        let known = places.iter().flat_map(|known| known.iter());
        known.map(|(name, places)| (name.clone(), places.addresses.clone())).collect()
    }

    /// Where one destination is; nowhere when nobody serves it, or nobody said so yet.
    pub(crate) fn places(&self, destination: &str) -> Places {
        let known = self.places.load();
        known.and_then(|known| known.get(destination).cloned()).unwrap_or_default()
    }
}

fn parsed(addresses: &[String]) -> Arc<[SocketAddr]> {
    addresses.iter().filter_map(|address| address.parse().ok()).collect()
}
