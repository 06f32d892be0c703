//! Why a body breaks off.

use super::kept::Lost;
use crate::CloseReason;

/// Why a body did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    /// The other side broke off. Its error is told, and is no `#[source]`: there hyper looks for the
    /// code of a reset, and would hand on REFUSED_STREAM in the middle of an answer.
    #[error("the body broke off: {0}")]
    Broken(Lost),
    /// Reset with NO_ERROR before its end, which hyper takes for the end.
    #[error("the body was reset before its end")]
    Reset,
    /// Beyond the limit of a head h2 leaves trailers out in silence, and they end as if whole.
    #[error("the trailers of a gRPC answer have no status")]
    NoStatus,
    /// What the call stood on has ended.
    #[error("cut: {}", .0.as_str())]
    Ended(CloseReason),
}
