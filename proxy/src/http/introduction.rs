//! Who calls, in the words that our workload reads.

use std::borrow::Cow;

use cellwall_mtls::Peer;
use cellwall_policy::{IdentityHeader, Introduction};

/// A verified caller, and how our workload is told of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Introduced<'a> {
    /// The caller's SPIFFE ID.
    pub(crate) id: &'a str,
    /// The SHA-256 of its certificate, in hexadecimal digits.
    pub(crate) certificate_hash: &'a str,
    /// Our own SPIFFE ID.
    pub(crate) callee: &'a str,
    /// The headers that our workload reads.
    pub(crate) headers: &'a [IdentityHeader],
}

impl<'a> Introduced<'a> {
    /// `peer`, as the policy says that our workload is told.
    pub(crate) fn by(introduction: &'a Introduction, peer: &'a Peer) -> Self {
        Self {
            id: peer.id_text(),
            certificate_hash: peer.certificate_hash(),
            callee: introduction.callee(),
            headers: introduction.headers(),
        }
    }

    /// What stands in a header. A SPIFFE ID has none of the bytes that Envoy would quote (SPIFFE-ID
    /// §2.1, §2.2).
    pub(crate) fn value(&self, header: IdentityHeader) -> Cow<'a, str> {
        let Self { id, certificate_hash, callee, .. } = self;
        match header {
            IdentityHeader::SpiffeId => Cow::Borrowed(*id),
            // One element, made whole here: nothing is ever appended to what a caller sent.
            IdentityHeader::ForwardedClientCert => {
                Cow::Owned(format!("By={callee};Hash={certificate_hash};URI={id}"))
            }
        }
    }
}
