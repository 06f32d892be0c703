//! Trust bundles: which authorities may speak for which trust domain, and when.

use std::{collections::BTreeMap, fmt};

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use spiffe::TrustDomain;

use crate::{Refusal, certificate::IssuerFacts, provider::sha256};

/// The anchors of each trust domain. Never merged: TB-07.
#[derive(Clone, Default)]
pub(crate) struct Bundles {
    by_domain: BTreeMap<TrustDomain, Vec<Anchor>>,
}

/// Names an anchor by its subject and key, whatever certificate carries them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct AnchorId([u8; 32]);

impl AnchorId {
    pub(crate) fn of(anchor: &TrustAnchor<'_>) -> Self {
        let key = anchor.subject_public_key_info.as_ref();
        Self(sha256(&[anchor.subject.as_ref(), key].concat()))
    }
}

#[derive(Clone)]
struct Anchor {
    trust: TrustAnchor<'static>,
    id: AnchorId,
    der: CertificateDer<'static>,
    facts: IssuerFacts,
}

/// A certificate of a bundle that no chain may end at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AnchorDefect {
    /// Whose bundle it is in.
    pub trust_domain: TrustDomain,
    /// What is wrong with it: `expired` for one that was good once.
    pub refusal: Refusal,
}

impl Bundles {
    /// Takes each bundle's certificates, and leaves out those that cannot be an authority (X5-05)
    /// or have expired (ID-11). One that is not valid yet is kept for later.
    pub(crate) fn read(
        bundles: BTreeMap<TrustDomain, Vec<CertificateDer<'static>>>,
        now: UnixTime,
    ) -> (Self, Vec<AnchorDefect>) {
        let mut defects = Vec::new();
        let mut by_domain = BTreeMap::new();
        for (trust_domain, certificates) in bundles {
            let mut anchors = Vec::new();
            for der in certificates {
                match Anchor::read(der, &trust_domain, now) {
                    Ok(anchor) => anchors.push(anchor),
                    Err(refusal) => {
                        let trust_domain = trust_domain.clone();
                        defects.push(AnchorDefect { trust_domain, refusal });
                    }
                }
            }
            by_domain.insert(trust_domain, anchors);
        }
        (Self { by_domain }, defects)
    }

    /// The anchors that may speak for `trust_domain` now. webpki has no validity of anchors
    /// (finding 0.2), so an expired one must not reach it (ID-11).
    pub(crate) fn valid(
        &self,
        trust_domain: &TrustDomain,
        now: UnixTime,
    ) -> Result<Vec<TrustAnchor<'_>>, Refusal> {
        let anchors = self.by_domain.get(trust_domain).ok_or(Refusal::UnknownTrustDomain)?;
        let valid: Vec<_> = anchors
            .iter()
            .filter(|anchor| anchor.is_valid(now))
            .map(|anchor| anchor.trust.clone())
            .collect();
        if valid.is_empty() { Err(Refusal::AnchorsExpired) } else { Ok(valid) }
    }

    /// When an anchor ends; `None` when it is not, or not any more, one of the trust domain's.
    pub(crate) fn end_of(&self, domain: &TrustDomain, anchor: &AnchorId) -> Option<UnixTime> {
        let anchors = self.by_domain.get(domain).map(Vec::as_slice).unwrap_or_default();
        let same = anchors.iter().filter(|known| known.id == *anchor);
        // Two certificates of one key: the later end holds.
        same.map(|known| known.facts.not_after).max()
    }

    /// The first end of any anchor after `now`.
    pub(crate) fn next_end(&self, now: UnixTime) -> Option<UnixTime> {
        self.ends().map(|(_, end)| end).filter(|end| *end > now).min()
    }

    /// Each trust domain with the last end of its anchors.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (&TrustDomain, UnixTime)> {
        self.by_domain
            .iter()
            .flat_map(|(domain, anchors)| anchors.iter().map(move |a| (domain, a.facts.not_after)))
    }

    /// The same anchors, certificate for certificate.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let ders = |bundles: &Self| -> Vec<(TrustDomain, Vec<CertificateDer<'static>>)> {
            let domains = bundles.by_domain.iter();
            domains
                .map(|(td, anchors)| (td.clone(), anchors.iter().map(|a| a.der.clone()).collect()))
                .collect()
        };
        ders(self) == ders(other)
    }
}

impl fmt::Debug for Bundles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.by_domain.iter().map(|(domain, anchors)| (domain, anchors.len())))
            .finish()
    }
}

impl Anchor {
    fn read(
        der: CertificateDer<'static>,
        trust_domain: &TrustDomain,
        now: UnixTime,
    ) -> Result<Self, Refusal> {
        let facts = IssuerFacts::read(&der, trust_domain)?;
        if facts.not_after < now {
            return Err(Refusal::Expired); // ID-11
        }
        let trust =
            webpki::anchor_from_trusted_cert(&der).map_err(|_| Refusal::Malformed)?.to_owned();
        Ok(Self { id: AnchorId::of(&trust), trust, der, facts })
    }

    fn is_valid(&self, now: UnixTime) -> bool {
        self.facts.not_before <= now && now <= self.facts.not_after
    }
}
