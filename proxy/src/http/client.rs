//! Speaking HTTP as a client, and telling what was sent from what was not: a call is sent again
//! only when no byte of it left us.

use std::{convert::Infallible, fmt, time::Duration};

use hyper::{Request, Response, body::Incoming, client::conn::TrySendError};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    body::Body,
    canonical::{Upgrade, check_answer},
    fate::SendError,
    received::Received,
};
use crate::{
    CloseReason, Drain,
    authority::{Authority, ended},
    seldom::Seldom,
};

/// What became of a request that has no answer.
pub(super) enum Unsent {
    /// No byte of it left us.
    Returned(Box<Request<Body>>),
    /// It was on its way.
    Gone(SendError),
}

/// When a connection is over. hyper tells each call on it so, but
/// for one that it is given in the very moment of the end: that lies in a queue which nobody reads
/// any more, for as long as somebody waits for its answer (tokio's channels; hyperium/hyper #4122).
#[derive(Clone, Debug, Default)]
pub(crate) struct Over(CancellationToken);

impl Over {
    /// Resolves when hyper has told whatever it had to tell.
    async fn reached(&self) {
        self.0.cancelled().await;
    }

    /// The connection ends with this.
    pub(super) fn guard(&self) -> DropGuard {
        self.0.clone().drop_guard()
    }
}

/// Waits for the head of the answer to a request that may have `asked` to go on in another protocol,
/// for as long as the caller has `patience`, and at most until its connection is `over`.
pub(super) async fn answered(
    (patience, asked): (Option<Duration>, Option<Upgrade>),
    over: &Over,
    sent: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Body>>>>,
) -> Result<Response<Received>, Unsent> {
    let sent = async {
        match patience {
            Some(patience) => tokio::time::timeout(patience, sent).await,
            None => Ok(sent.await),
        }
    };
    let told = tokio::select! {
        biased; // hyper knows more of it
        told = sent => told,
        () = over.reached() => {
            return Err(Unsent::Gone(SendError::unknown(CloseReason::UpstreamFailed)));
        }
    };
    match told {
        Ok(told) => read(told, asked.as_ref()),
        Err(_) => Err(Unsent::Gone(SendError::unknown(CloseReason::UpstreamTimeout))),
    }
}

/// The one reading of an answer.
pub(super) fn read(
    told: Result<Response<Incoming>, TrySendError<Request<Body>>>,
    asked: Option<&Upgrade>,
) -> Result<Response<Received>, Unsent> {
    match told {
        Ok(response) if check_answer(&response, asked).is_err() => {
            Err(Unsent::Gone(SendError::unknown(CloseReason::AnswerAmbiguous)))
        }
        Ok(response) => Ok(response.map(Received::from)),
        Err(mut error) => Err(match error.take_message() {
            Some(request) => Unsent::Returned(Box::new(request)),
            None => Unsent::Gone(SendError::lost(error.error())),
        }),
    }
}

/// A client connection runs until its last call is answered, until its authority ends, or until a
/// drain cuts it.
pub(super) fn drive(
    drain: &Drain,
    authority: Option<Authority>,
    kept: impl Future<Output = Infallible> + Send + 'static,
    connection: impl Future<Output = Result<(), impl fmt::Display>> + Send + 'static,
) {
    let watch = drain.watch();
    // No work by itself: the calls on it are, and an idle one must not hold a drain up.
    drain.services().spawn(async move {
        let end = Seldom::of(async {
            tokio::select! {
                () = watch.cut() => {}
                reason = ended(authority.as_ref()) => {
                    tracing::info!(reason = reason.as_str(), "upstream connection cut");
                }
                never = kept => match never {},
            }
        });
        tokio::select! {
            () = end => {}
            end = connection => {
                if let Err(error) = end {
                    tracing::debug!(%error, "upstream connection ended");
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use super::{Over, SendError, Unsent, answered};
    use crate::CloseReason;

    #[tokio::test]
    async fn of_a_call_that_is_not_answered_in_time_nobody_knows() {
        let late = answered((Some(Duration::ZERO), None), &Over::default(), pending()).await;
        let Err(Unsent::Gone(error)) = late else { panic!("it went nowhere") };
        assert_eq!(error, SendError::unknown(CloseReason::UpstreamTimeout));
    }

    #[tokio::test]
    async fn a_call_does_not_wait_for_the_answer_of_a_connection_that_is_over() {
        let over = Over::default();
        drop(over.guard());
        let told = answered((None, None), &over, pending());
        let told = tokio::time::timeout(Duration::from_secs(8), told).await.unwrap();
        let Err(Unsent::Gone(error)) = told else { panic!("it was answered") };
        assert_eq!(error, SendError::unknown(CloseReason::UpstreamFailed));
    }
}
