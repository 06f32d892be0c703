//! Who is refused although the certificate is good: revoked identities, until their SVIDs end.

use std::collections::BTreeSet;

use spiffe::{SpiffeId, TrustDomain};

use crate::{Refusal, Serial, certificate::Leaf};

/// Identities that no handshake accepts, part of a generation of material (ID-15).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DenyList {
    /// Every SVID of these SPIFFE IDs.
    pub ids: BTreeSet<SpiffeId>,
    /// These certificates, of whatever issuer.
    pub serials: BTreeSet<Serial>,
    /// These keys: SHA-256 of the SubjectPublicKeyInfo, in whatever certificate.
    pub keys: BTreeSet<[u8; 32]>,
    /// Every SVID of these trust domains.
    pub trust_domains: BTreeSet<TrustDomain>,
}

impl DenyList {
    /// Refuses a leaf that is on the list.
    pub(crate) fn check(&self, leaf: &Leaf) -> Result<(), Refusal> {
        if self.trust_domains.contains(leaf.id.trust_domain()) {
            return Err(Refusal::DeniedTrustDomain);
        }
        if self.ids.contains(&leaf.id) {
            return Err(Refusal::DeniedId);
        }
        if self.serials.contains(&leaf.serial) {
            return Err(Refusal::DeniedSerial);
        }
        if self.keys.contains(&leaf.key_hash) {
            return Err(Refusal::DeniedKey);
        }
        Ok(())
    }
}
