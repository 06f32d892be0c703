//! The other side of a session, once its X509-SVID has been verified.

use std::{fmt, sync::Arc};

use rustls::pki_types::UnixTime;
use spiffe::SpiffeId;

use crate::{anchors::AnchorId, certificate::Leaf, verify::Path};

/// Proof that the other side of a session holds a valid X509-SVID. Only this crate makes one, and
/// only from the verified leaf of this very handshake (ID-02). Cheap to clone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    facts: Arc<Facts>,
}

#[derive(Debug, Eq, PartialEq)]
struct Facts {
    leaf: Leaf,
    text: Box<str>,
    anchor: AnchorId,
    authority_end: UnixTime,
}

/// A certificate's serial number, big-endian, without leading zeros. Shown as hexadecimal.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Serial(Box<[u8]>);

impl Peer {
    pub(crate) fn verified(leaf: Leaf, path: Path) -> Self {
        let text = leaf.id.to_string().into();
        let Path { anchor, authority_end } = path;
        Self { facts: Arc::new(Facts { leaf, text, anchor, authority_end }) }
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

    /// The serial number of the peer's certificate.
    pub fn serial(&self) -> &Serial {
        &self.facts.leaf.serial
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
