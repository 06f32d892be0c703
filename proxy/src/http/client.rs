//! Speaking HTTP as a client, and telling what was sent from what was not: a call is sent again
//! only when no byte of it left us.

use std::{convert::Infallible, fmt, time::Duration};

use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    body::Body,
    canonical::{Upgrade, check_answer},
    fate::SendError,
    received::Received,
    recycled::Line,
};
use crate::{
    CloseReason, Drain,
    authority::{Authority, ended},
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
        Ok(Ok(response)) if check_answer(&response, asked.as_ref()).is_err() => {
            Err(Unsent::Gone(SendError::unknown(CloseReason::AnswerAmbiguous)))
        }
        Ok(Ok(response)) => Ok(response.map(Received::from)),
        Ok(Err(mut error)) => Err(match error.take_message() {
            Some(request) => Unsent::Returned(Box::new(request)),
            None => Unsent::Gone(SendError::lost(error.error())),
        }),
        Err(_) => Err(Unsent::Gone(SendError::unknown(CloseReason::UpstreamTimeout))),
    }
}

/// Speaks HTTP/1.1 as a client on `io`.
pub(crate) async fn handshake_h1(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    drain: &Drain,
) -> Result<Line, CloseReason> {
    let (sender, connection) = http1::Builder::new()
        .handshake(TokioIo::new(io))
        .await
        .map_err(|_| CloseReason::ConnectFailed)?;
    let over = Over::default();
    let guard = over.guard();
    let whole = async move {
        let _until_it_ends = guard;
        connection.await
    };
    drive(drain, None, std::future::pending(), whole);
    Ok(Line { sender, over })
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
        tokio::select! {
            () = watch.cut() => {}
            reason = ended(authority.as_ref()) => {
                tracing::info!(reason = reason.as_str(), "upstream connection cut");
            }
            never = kept => match never {},
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

    use hyper::Request;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::{Body, Over, SendError, Unsent, answered, handshake_h1};
    use crate::{CloseReason, Drain};

    #[tokio::test]
    async fn of_a_call_that_is_not_answered_in_time_nobody_knows() {
        let late = answered((Some(Duration::ZERO), None), &Over::default(), pending()).await;
        let Err(Unsent::Gone(error)) = late else { panic!("it went nowhere") };
        assert_eq!(error, SendError::unknown(CloseReason::UpstreamTimeout));
    }

    /// What is told of a call that lies in hyper's queue when its connection ends.
    async fn forgotten(over: &Over) -> SendError {
        let told = answered((None, None), over, pending());
        let told = tokio::time::timeout(Duration::from_secs(8), told).await.unwrap();
        let Err(Unsent::Gone(error)) = told else { panic!("it was answered") };
        error
    }

    #[tokio::test]
    async fn a_call_does_not_wait_for_the_answer_of_a_connection_that_is_over() {
        let unknown = SendError::unknown(CloseReason::UpstreamFailed);
        let drain = Drain::default();
        let (callee, near) = duplex(4096);
        let line = handshake_h1(near, &drain).await.unwrap();
        drop(callee);
        assert_eq!(forgotten(&line.over).await, unknown);
    }

    #[tokio::test]
    async fn what_was_told_of_a_call_is_not_forgotten_for_the_end_of_its_connection() {
        let (mut callee, near) = duplex(4096);
        let mut line = handshake_h1(near, &Drain::default()).await.unwrap();
        let sent = line.sender.try_send_request(Request::new(Body::ours("")));
        callee.read_exact(&mut [0]).await.unwrap();
        callee.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        drop(callee);
        line.over.reached().await;
        assert!(answered((None, None), &line.over, sent).await.is_ok());
    }
}
