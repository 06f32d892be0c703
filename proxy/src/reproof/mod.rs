//! Re-proof: a connection that outlives the certificates it was opened with, and not its authority.
//!
//! A database pool keeps a TCP connection for days, while SVIDs live for minutes, and TLS 1.3 cannot
//! authenticate a session again. So the side that connected opens a second session to the same
//! sidecar with the certificates of that moment, names the connection that it wants to keep, and
//! proves that it is still at its end ([`cellwall_mtls::Binding`]). The side that accepted judges
//! again, answers with a proof of its own, and both go by the newer certificates. No proof, no
//! extension: the connection closes at its end, as it would have anyway.
//!
//! `docs/decisions/0010` has the threats. The session of a re-proof carries two fixed messages:
//!
//! ```text
//! connecting side  ->  name of the connection (16 octets)  proof of the client's end (32)
//! accepting side   ->  proof of the server's end (32), or the session closes
//! ```

mod answer;
mod keep;
mod register;

use cellwall_mtls::PROOF_LEN;

use crate::authority::NotRenewed;

pub(crate) use answer::answer;
pub(crate) use keep::Renewal;
pub use register::Register;

/// The length of a connection's name.
const NAME_LEN: usize = 16;

/// What the connecting side sends.
const CLAIM_LEN: usize = NAME_LEN + PROOF_LEN;

/// How a re-proof ended: a metric label, so a name never changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    /// The connection stands on the newer certificates.
    Extended,
    /// There was no session, or it ended before its time.
    Failed,
    /// Nobody here has that connection open.
    UnknownConnection,
    /// Another identity than the connection's.
    OtherIdentity,
    /// The proof is not one of that connection's other end on this session.
    NotProved,
    /// Identity, trust or policy of this moment do not allow it.
    NotAllowed,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Extended => "extended",
            Self::Failed => "failed",
            Self::UnknownConnection => "unknown_connection",
            Self::OtherIdentity => "other_identity",
            Self::NotProved => "not_proved",
            Self::NotAllowed => "not_allowed",
        }
    }
}

impl From<NotRenewed> for Outcome {
    fn from(error: NotRenewed) -> Self {
        match error {
            NotRenewed::OtherIdentity => Self::OtherIdentity,
            NotRenewed::NotAllowed(_) => Self::NotAllowed,
        }
    }
}
