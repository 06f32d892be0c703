//! Speaking HTTP as a client, and telling what was sent from what was not: a call is sent again
//! only when no byte of it left us.

use std::{convert::Infallible, time::Duration};

use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    body::Body,
    canonical::{Upgrade, check_answer},
    fate::SendError,
};
use crate::{
    CloseReason, Drain,
    authority::{Authority, ended},
    reproof::Renewal,
};

/// What became of a request that has no answer.
pub(super) enum Unsent {
    /// No byte of it left us.
    Returned(Box<Request<Body>>),
    /// It was on its way.
    Gone(SendError),
}

/// Waits for the head of the answer to a request that may have `asked` to go on in another protocol,
/// for as long as the caller has `patience`.
pub(super) async fn answered(
    (patience, asked): (Option<Duration>, Option<Upgrade>),
    sent: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Body>>>>,
) -> Result<Response<Incoming>, Unsent> {
    let sent = async {
        match patience {
            Some(patience) => tokio::time::timeout(patience, sent).await,
            None => Ok(sent.await),
        }
    };
    match sent.await {
        Ok(Ok(response)) if check_answer(&response, asked.as_ref()).is_err() => {
            Err(Unsent::Gone(SendError::unknown(CloseReason::AnswerAmbiguous)))
        }
        Ok(Ok(response)) => Ok(response),
        Ok(Err(mut error)) => Err(match error.take_message() {
            Some(request) => Unsent::Returned(Box::new(request)),
            None => Unsent::Gone(SendError::lost(error.error())),
        }),
        Err(_) => Err(Unsent::Gone(SendError::unknown(CloseReason::UpstreamTimeout))),
    }
}

/// Speaks HTTP/2 as a client on `io`, until its authority ends. A connection to our own workload has
/// none to renew.
pub(crate) async fn handshake_h2(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    drain: &Drain,
    renewal: Option<Renewal>,
) -> Result<http2::SendRequest<Body>, CloseReason> {
    let tasks = Tasks::of_connection(drain);
    let (sender, connection) = http2::Builder::new(tasks.clone())
        .timer(TokioTimer::new())
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_header_list_size(64 * 1024)
        .max_send_buf_size(128 * 1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .handshake(TokioIo::new(io))
        .await
        .map_err(|_| CloseReason::ConnectFailed)?;
    let over = tasks.over.clone().drop_guard();
    let whole = async move {
        let _cut_with_this = over;
        let end = connection.await;
        tasks.ended().await; // after a GOAWAY, calls in progress go on
        end
    };
    let authority = renewal.as_ref().map(|renewal| renewal.authority.clone());
    let kept = async move {
        let Some(mut renewal) = renewal else { return std::future::pending().await };
        renewal.authority.retired().await; // new calls have gone elsewhere: these last
        renewal.keep().await
    };
    drive(drain, authority, kept, whole);
    Ok(sender)
}

/// Speaks HTTP/1.1 as a client on `io`.
pub(crate) async fn handshake_h1(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    drain: &Drain,
) -> Result<http1::SendRequest<Body>, CloseReason> {
    let (sender, connection) = http1::Builder::new()
        .handshake(TokioIo::new(io))
        .await
        .map_err(|_| CloseReason::ConnectFailed)?;
    drive(drain, None, std::future::pending(), connection);
    Ok(sender)
}

/// A client connection runs until its last call is answered, until its authority ends, or until a
/// drain cuts it.
pub(super) fn drive(
    drain: &Drain,
    authority: Option<Authority>,
    kept: impl Future<Output = Infallible> + Send + 'static,
    connection: impl Future<Output = hyper::Result<()>> + Send + 'static,
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

/// What hyper runs beside an HTTP/2 connection, and ends with it.
#[derive(Clone)]
struct Tasks {
    drain: Drain,
    running: TaskTracker,
    over: CancellationToken,
}

impl Tasks {
    fn of_connection(drain: &Drain) -> Self {
        let over = CancellationToken::new();
        Self { drain: drain.services(), running: TaskTracker::new(), over }
    }

    /// Resolves when the last one has ended.
    async fn ended(self) {
        self.running.close();
        self.running.wait().await;
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        let over = self.over.clone();
        self.drain.spawn(self.running.track_future(async move {
            tokio::select! {
                () = task => {}
                () = over.cancelled() => {}
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use super::{SendError, Unsent, answered};
    use crate::CloseReason;

    #[tokio::test]
    async fn of_a_call_that_is_not_answered_in_time_nobody_knows() {
        let late = answered((Some(Duration::ZERO), None), pending()).await;
        let Err(Unsent::Gone(error)) = late else { panic!("it went nowhere") };
        assert_eq!(error, SendError::unknown(CloseReason::UpstreamTimeout));
    }
}
