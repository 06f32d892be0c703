//! The verification of a peer: X509-SVID §5, step by step. The only place that makes a [`Peer`].

use rustls::pki_types::{CertificateDer, UnixTime};
use spiffe::{SpiffeId, TrustDomain};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use crate::{
    DenyList, Peer, Refusal,
    anchors::{AnchorId, Bundles},
    certificate::{IssuerFacts, Leaf, Role, is_well_formed},
    provider::provider,
};

/// Certificates in a chain, leaf included (TLS-05).
const MAX_CERTIFICATES: usize = 8;

/// Bytes of a chain (TLS-05).
const MAX_CHAIN_BYTES: usize = 32 * 1024;

/// Whom a generation of material trusts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    pub(crate) bundles: Bundles,
    pub(crate) deny: DenyList,
}

/// Whom a connection is for.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// Any identity of a trust domain that we have a bundle for: the policy decides later.
    AnyTrusted,
    /// One of these, byte by byte (AZ-12).
    OneOf(Box<[SpiffeId]>),
}

impl Trust {
    /// Verifies the chain that a peer in `role` presented.
    pub(crate) fn verify(
        &self,
        chain: Chain<'_>,
        role: Role,
        expected: &Expected,
        now: UnixTime,
    ) -> Result<Peer, Refusal> {
        chain.check_size()?;
        let leaf = Leaf::read(chain.leaf, role)?;
        self.deny.check(&leaf)?;
        let path = self.verify_path(&leaf, chain, role, now)?;
        expected.check(&leaf.id)?;
        Ok(Peer::verified(leaf, chain.leaf, path))
    }

    /// Whether a peer that was verified once would still be: nobody denied it, its anchor is still
    /// one, and no certificate of its path has ended (ROT-05).
    pub(crate) fn still_holds(&self, peer: &Peer, now: UnixTime) -> Result<(), Refusal> {
        self.deny.check(peer.leaf())?;
        let trust_domain = peer.id().trust_domain();
        self.bundles.valid(trust_domain, now)?;
        self.bundles.end_of(trust_domain, peer.anchor()).ok_or(Refusal::UnknownIssuer)?;
        if now > peer.authority_end() { Err(Refusal::Expired) } else { Ok(()) }
    }

    /// RFC 5280 §6 to an anchor of the leaf's own trust domain (X5-15, X5-16).
    fn verify_path(
        &self,
        leaf: &Leaf,
        chain: Chain<'_>,
        role: Role,
        now: UnixTime,
    ) -> Result<Path, Refusal> {
        let trust_domain = leaf.id.trust_domain();
        let anchors = self.bundles.valid(trust_domain, now)?;
        let end_entity = EndEntityCert::try_from(chain.leaf).map_err(|error| refusal(&error))?;
        // ID-02: the parser that verifies must read the same identity as the one that names it.
        if !end_entity.valid_uri_names().eq([&*leaf.san]) {
            return Err(Refusal::ParserDisagreement);
        }
        let usage = match role {
            Role::Client => KeyUsage::client_auth(),
            Role::Server => KeyUsage::server_auth(),
        };
        let path = end_entity
            .verify_for_usage(
                provider().signature_verification_algorithms.all,
                &anchors,
                chain.intermediates,
                now,
                usage,
                None,
                None,
            )
            .map_err(|error| chain.refine(refusal(&error)))?;
        let anchor = AnchorId::of(path.anchor());
        let anchor_end =
            self.bundles.end_of(trust_domain, &anchor).ok_or(Refusal::UnknownIssuer)?;
        let issuers_end = check_issuers(&path, trust_domain)?.unwrap_or(anchor_end);
        Ok(Path { anchor, authority_end: leaf.not_after.min(anchor_end).min(issuers_end) })
    }
}

/// What a verified path leads to, and when its first certificate ends.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) anchor: AnchorId,
    pub(crate) authority_end: UnixTime,
}

/// What the peer sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain<'a> {
    pub(crate) leaf: &'a CertificateDer<'a>,
    pub(crate) intermediates: &'a [CertificateDer<'a>],
}

impl Chain<'_> {
    fn check_size(&self) -> Result<(), Refusal> {
        if self.intermediates.len() >= MAX_CERTIFICATES {
            return Err(Refusal::ChainTooLong);
        }
        let bytes = self.intermediates.iter().map(|der| der.len()).sum::<usize>() + self.leaf.len();
        if bytes > MAX_CHAIN_BYTES { Err(Refusal::ChainTooLarge) } else { Ok(()) }
    }
}

impl Chain<'_> {
    /// webpki has one word for every malformed issuer; ours are finer.
    fn refine(&self, refusal: Refusal) -> Refusal {
        let twice = |der| is_well_formed(der) == Err(Refusal::DuplicateExtension);
        if refusal == Refusal::Malformed && self.intermediates.iter().any(twice) {
            return Refusal::DuplicateExtension;
        }
        refusal
    }
}

impl Expected {
    fn check(&self, id: &SpiffeId) -> Result<(), Refusal> {
        match self {
            Self::AnyTrusted => Ok(()),
            Self::OneOf(ids) if ids.contains(id) => Ok(()),
            Self::OneOf(_) => Err(Refusal::UnexpectedPeer),
        }
    }
}

/// What webpki leaves to us about the issuers on the path (finding 0.4): X5-05, X5-06, ID-08.
fn check_issuers(
    path: &VerifiedPath<'_>,
    trust_domain: &TrustDomain,
) -> Result<Option<UnixTime>, Refusal> {
    let mut end: Option<UnixTime> = None;
    for issuer in path.intermediate_certificates() {
        let not_after = IssuerFacts::read(&issuer.der(), trust_domain)?.not_after;
        end = Some(end.map_or(not_after, |end| end.min(not_after)));
    }
    Ok(end)
}

/// Names an error of the path validation. New kinds of error are refusals too: fail closed. What is
/// wrong with the leaf itself was found before.
fn refusal(error: &webpki::Error) -> Refusal {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } => Refusal::Expired,
        E::CertNotValidYet { .. } => Refusal::NotYetValid,
        E::EndEntityUsedAsCa => Refusal::IssuerNotCa,
        E::InvalidSignatureForPublicKey => Refusal::BadSignature,
        E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
        | E::SignatureAlgorithmMismatch => Refusal::UnsupportedAlgorithm,
        E::UnsupportedCriticalExtension => Refusal::UnknownCriticalExtension,
        E::PathLenConstraintViolated | E::MaximumPathDepthExceeded => Refusal::PathLength,
        E::NameConstraintViolation
        | E::MalformedNameConstraint
        | E::InvalidNetworkMaskConstraint
        | E::MaximumNameConstraintComparisonsExceeded
        | E::UnsupportedNameType => Refusal::NameConstraints,
        // ID-12: a path that is too dear to search is not found.
        E::UnknownIssuer
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumSignatureChecksExceeded
        | E::CertDistrusted => Refusal::UnknownIssuer,
        _ => Refusal::Malformed,
    }
}
