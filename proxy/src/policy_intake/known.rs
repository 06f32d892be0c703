//! What is known of the policy that was in force before, and why another one is not taken.

use cellwall_policy::{NotNewer, OpenError, Publication};
use spiffe::SpiffeId;

use super::READING;
use crate::policy_store::ReadError;

/// A snapshot that was judged: its bytes, and for whom.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Taken {
    pub(super) hash: Vec<u8>,
    pub(super) callee: SpiffeId,
    pub(super) publication: Publication,
}

/// What may not be undercut (POL-02).
#[derive(Debug)]
pub(super) enum HighWater {
    /// The newest that was ever accepted, if there was one.
    Is(Option<Publication>),
    /// Nobody knows.
    Unknown(Unknown),
}

/// Why nobody knows what was in force. Nothing is put in force then: it might be too old.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unknown {
    #[error("--state-dir was not read yet")]
    Unread,
    #[error(
        "--state-dir: the high-water mark cannot be believed; see what the fleet enforces, \
             remove the file and restart"
    )]
    Damaged(#[source] ReadError),
    #[error("--state-dir: nothing was read within {READING:?}")]
    Silent,
}

/// Why a snapshot is not taken. The one before stays in force.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    NotNewer(#[from] NotNewer),
    #[error("it is for us under another SPIFFE ID, or we have none")]
    NoIdentity,
    #[error("what was in force before is not known: {0}")]
    Unknown(String),
    #[error("nobody could read it")]
    Unread,
}

impl HighWater {
    pub(super) fn mark(&self) -> Option<Publication> {
        match self {
            Self::Is(mark) => *mark,
            Self::Unknown(_) => None,
        }
    }
}

impl Refused {
    /// The version of what is refused; 0 when it could not be read.
    pub(super) fn version(&self) -> u64 {
        match self {
            Self::NotNewer(NotNewer::Older { offered, .. } | NotNewer::Differs { offered, .. }) => {
                offered.version.0
            }
            Self::Open(_) | Self::NoIdentity | Self::Unknown(_) | Self::Unread => 0,
        }
    }
}
