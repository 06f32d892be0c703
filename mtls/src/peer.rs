//! The other side of a session, once its X509-SVID has been verified.

use std::{fmt, sync::Arc};

use rustls::pki_types::{CertificateDer, UnixTime};
use spiffe::SpiffeId;

use crate::{anchors::AnchorId, certificate::Leaf, provider::sha256, verify::Path};

/// Proof that the other side of a session holds a valid X509-SVID. Only this crate makes one, and
/// only from the verified leaf of this very handshake (ID-02). Cheap to clone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    facts: Arc<Facts>,
}

#[derive(Debug, Eq, PartialEq)]
struct Facts {
    leaf: Leaf,
    text: Arc<str>,
    serial_text: Arc<str>,
    certificate_hash: Box<str>,
    anchor: AnchorId,
    authority_end: UnixTime,
}

/// A certificate's serial number, big-endian, without leading zeros. Shown as hexadecimal.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Serial(Box<[u8]>);

impl Peer {
    /// `der` is the certificate that `leaf` was read from.
    pub(crate) fn verified(leaf: Leaf, der: &CertificateDer<'_>, path: Path) -> Self {
        let text = leaf.id.to_string().into();
        let serial_text = leaf.serial.to_string().into();
        let Path { anchor, authority_end } = path;
        let certificate_hash = sha256(der).iter().map(|byte| format!("{byte:02x}")).collect();
        let facts = Facts { leaf, text, serial_text, certificate_hash, anchor, authority_end };
        Self { facts: Arc::new(facts) }
    }

    pub(crate) fn leaf(&self) -> &Leaf {
        &self.facts.leaf
    }

    pub(crate) fn anchor(&self) -> &AnchorId {
        &self.facts.anchor
    }

    /// The peer's SPIFFE ID.
    pub fn id(&self) -> &SpiffeId {
        &self.facts.leaf.id
    }

    /// The peer's SPIFFE ID as text, made once.
    pub fn id_text(&self) -> &str {
        &self.facts.text
    }

    /// The same, to be kept.
    pub fn shared_id_text(&self) -> Arc<str> {
        self.facts.text.clone()
    }

    /// The SHA-256 of the peer's certificate, in 64 lower-case hexadecimal digits, made once.
    pub fn certificate_hash(&self) -> &str {
        &self.facts.certificate_hash
    }

    /// The serial number of the peer's certificate.
    pub fn serial(&self) -> &Serial {
        &self.facts.leaf.serial
    }

    /// The same as text, made once, to be kept.
    pub fn shared_serial_text(&self) -> Arc<str> {
        self.facts.serial_text.clone()
    }

    /// When the peer's certificate ends.
    pub fn not_after(&self) -> UnixTime {
        self.facts.leaf.not_after
    }

    /// When the first certificate of the verified chain ends, anchor included.
    pub fn authority_end(&self) -> UnixTime {
        self.facts.authority_end
    }
}

impl Serial {
    /// Takes the big-endian bytes of a serial number.
    pub fn new(bytes: &[u8]) -> Self {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Self(bytes.get(zeros..).unwrap_or_default().into())
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
