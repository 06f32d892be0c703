//! Hostile certificates: what a peer may present, and the reason for which it must be refused.
//!
//! Each case is meant to be shown in a whole handshake, from the side its [`Directions`] name,
//! to a peer that trusts exactly the bundles of its [`Corpus`]. Reasons are the words of
//! `Refusal::as_str()`; this crate does not know that type, on purpose.

mod encoding;
mod issuer;
mod leaf;
mod names;
mod trust;

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime},
};

use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::{
    ca::{Svid, TestCa},
    x509::Validity,
};

/// Everything to be tried against one peer.
#[derive(Debug)]
pub struct Corpus {
    /// What the peer under test trusts, by the name of the trust domain. One bundle holds only an
    /// expired root, one only a root of the future.
    pub bundles: BTreeMap<String, Vec<CertificateDer<'static>>>,
    /// To be refused, each for its reason.
    pub cases: Vec<Case>,
    /// Odd, and right: to be accepted. Without them a peer that refuses everybody would pass.
    pub controls: Vec<Case>,
}

/// One thing to present.
pub struct Case {
    /// Unique in the corpus; words with dashes.
    pub name: &'static str,
    /// What goes on the wire, leaf first; empty for no certificate.
    pub chain: Vec<CertificateDer<'static>>,
    /// What the handshake is signed with.
    pub key: PrivateKeyDer<'static>,
    /// The reasons that are right. More than one only where several rules are broken at once and
    /// no specification says which to check first; the case's comment says which rules.
    pub expected: &'static [&'static str],
    /// From which side.
    pub directions: Directions,
}

/// From which side a case is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directions {
    /// Once as the server, once as the client.
    Both,
    /// As the server only: as a client the same certificate is right.
    ServerOnly,
    /// As the client only: as a server the same certificate is right.
    ClientOnly,
}

impl Case {
    fn new(name: &'static str, expected: &'static [&'static str], svid: Svid) -> Self {
        let Svid { chain, key, .. } = svid;
        Self { name, chain, key, expected, directions: Directions::Both }
    }

    const fn only(mut self, directions: Directions) -> Self {
        self.directions = directions;
        self
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .field("certificates", &self.chain.len())
            .field("expected", &self.expected)
            .field("directions", &self.directions)
            .finish_non_exhaustive()
    }
}

/// The ID that cases bend, without its scheme and trust domain.
const PATH: &str = "/prod/checkout";

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The authorities that cases are made with.
struct World<'a> {
    ca: &'a TestCa,
    /// A trust domain that is trusted as well.
    partner: TestCa,
    /// Its only root ended a minute ago.
    expired: TestCa,
    /// Its only root begins tomorrow.
    future: TestCa,
    /// Trust domains that look unusual and are right.
    unusual: Vec<TestCa>,
    now: SystemTime,
}

impl<'a> World<'a> {
    fn new(ca: &'a TestCa, now: SystemTime) -> Self {
        let past = Validity { not_before: now - 30 * DAY, not_after: now - MINUTE };
        Self {
            ca,
            partner: TestCa::new("partner.example"),
            expired: TestCa::valid("expired.example", past),
            future: TestCa::valid("future.example", Validity::starting(now + DAY, DAY)),
            unusual: names::unusual_trust_domains(),
            now,
        }
    }

    fn id(&self) -> String {
        format!("spiffe://{}{PATH}", self.ca.trust_domain())
    }

    fn bundles(&self) -> BTreeMap<String, Vec<CertificateDer<'static>>> {
        let known = [self.ca, &self.partner, &self.expired, &self.future];
        let known = known.into_iter().chain(&self.unusual);
        known.map(|ca| (ca.trust_domain().to_owned(), vec![ca.root()])).collect()
    }
}

/// The corpus, made anew: `ca` is the trusted root of the trust domain under attack, `now` the
/// time at which the peer under test looks.
pub fn corpus(ca: &TestCa, now: SystemTime) -> Corpus {
    let world = World::new(ca, now);
    let cases = [
        names::cases(&world),
        leaf::cases(&world),
        issuer::cases(&world),
        trust::cases(&world),
        encoding::cases(&world),
    ];
    let controls = [
        names::controls(&world),
        leaf::controls(&world),
        issuer::controls(&world),
        encoding::controls(&world),
    ];
    Corpus {
        bundles: world.bundles(),
        cases: cases.into_iter().flatten().collect(),
        controls: controls.into_iter().flatten().collect(),
    }
}

#[cfg(test)]
mod tests;
