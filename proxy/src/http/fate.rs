//! What became of a call that has no answer: whoever paid has to know whether to pay again.

use std::error::Error as _;

use h2::Reason;

use crate::{CloseReason, flow::Outcome};

/// What became of a call without an answer. One that has an answer was done, also when the rest of
/// the answer is lost: its body breaks off then, and never ends as if it were whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// The callee has done nothing: no byte of the call left us, or the callee's own HTTP/2 said that
    /// it refused it. It may be sent again, whatever it is.
    NotDone,
    /// The callee may have acted.
    Unknown,
}

/// A call that has no answer, and why. We send it again ourselves only when no byte of it left us:
/// then the request comes back instead of this.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SendError {
    pub(crate) reason: CloseReason,
    pub(crate) fate: Fate,
}

impl Fate {
    /// The name on the wire, in `cellwall-outcome`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NotDone => Outcome::NotDone.as_str(),
            Self::Unknown => Outcome::Unknown.as_str(),
        }
    }

    /// What a failure says of a call of which bytes may have left us.
    fn after(error: &hyper::Error) -> Self {
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(cause) = cause.downcast_ref() {
                return Self::said_by(cause);
            }
            source = cause.source();
        }
        Self::Unknown
    }

    /// RFC 9113 §8.7: a stream that was refused was not processed. Neither was one above the last of
    /// a GOAWAY, but hyper gives the error of a GOAWAY also to calls below it that are on their way,
    /// and says no number: of those nobody knows.
    fn said_by(error: &h2::Error) -> Self {
        let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        if error.is_remote() && is_refused { Self::NotDone } else { Self::Unknown }
    }
}

impl SendError {
    /// The call never left us.
    pub(crate) const fn not_done(reason: CloseReason) -> Self {
        Self { reason, fate: Fate::NotDone }
    }

    /// The call was on its way.
    pub(crate) const fn unknown(reason: CloseReason) -> Self {
        Self { reason, fate: Fate::Unknown }
    }

    /// Whether the connection failed, before the call was on it or with it.
    pub(crate) const fn is_of_connection(&self) -> bool {
        matches!(self.reason, CloseReason::ConnectFailed | CloseReason::UpstreamFailed)
    }

    /// The same, where the connection's authority may have ended as well: that is why it failed, but
    /// not why an answer was late, or had two readings.
    pub(super) fn on_a_connection(self, ended: Option<CloseReason>) -> Self {
        let ended = ended.filter(|_| self.reason == CloseReason::UpstreamFailed);
        Self { reason: ended.unwrap_or(self.reason), ..self }
    }

    /// The callee, or the connection, gave the call up.
    pub(super) fn reset(error: &h2::Error) -> Self {
        Self { reason: CloseReason::UpstreamFailed, fate: Fate::said_by(error) }
    }

    /// The connection failed with the call on it.
    pub(super) fn lost(error: &hyper::Error) -> Self {
        // What hyper cannot read is an answer, but no one's (HTTP-23).
        if error.is_parse() {
            return Self::unknown(CloseReason::AnswerAmbiguous);
        }
        Self { reason: CloseReason::UpstreamFailed, fate: Fate::after(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::SendError;
    use crate::CloseReason::{
        AnswerAmbiguous, ConnectFailed, SvidExpired, UpstreamFailed, UpstreamTimeout,
    };

    #[test]
    fn a_connection_that_failed_is_told_from_one_that_was_late_or_ended() {
        for (reason, expected) in [
            (ConnectFailed, true),
            (UpstreamFailed, true),
            (UpstreamTimeout, false),
            (AnswerAmbiguous, false),
            (SvidExpired, false),
        ] {
            for error in [SendError::unknown(reason), SendError::not_done(reason)] {
                assert_eq!(error.is_of_connection(), expected, "{error:?}");
            }
        }
    }

    #[test]
    fn the_end_of_an_authority_explains_a_connection_that_failed_and_nothing_else() {
        for (reason, ended, told) in [
            (UpstreamFailed, None, UpstreamFailed),
            (UpstreamFailed, Some(SvidExpired), SvidExpired),
            (UpstreamTimeout, Some(SvidExpired), UpstreamTimeout),
            (AnswerAmbiguous, Some(SvidExpired), AnswerAmbiguous),
        ] {
            let error = SendError::unknown(reason).on_a_connection(ended);
            assert_eq!(error, SendError::unknown(told));
        }
    }
}
