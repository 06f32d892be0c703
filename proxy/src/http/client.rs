//! Speaking HTTP as a client, and telling what was sent from what was not: a call is sent again
//! only when no byte of it left us.

use std::time::Duration;

use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::Body;
use crate::{
    CloseReason, Drain,
    authority::{Authority, ended},
};

/// How long the head of an answer may take. Streams may go on for as long as they like.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(300);

/// A call that has no answer.
#[derive(Debug)]
pub(crate) struct SendError(pub(crate) CloseReason);

/// What became of a request that has no answer.
pub(super) enum Unsent {
    /// No byte of it left us.
    Returned(Box<Request<Body>>),
    /// Whether the callee acted on it is unknown.
    Gone(CloseReason),
}

/// Waits for the head of the answer.
pub(super) async fn answered(
    sent: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Body>>>>,
) -> Result<Response<Incoming>, Unsent> {
    match tokio::time::timeout(RESPONSE_DEADLINE, sent).await {
        // HTTP-12: upgrades are never asked for, and what follows one is not HTTP.
        Ok(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            Err(Unsent::Gone(CloseReason::UpstreamFailed))
        }
        Ok(Ok(response)) => Ok(response),
        Ok(Err(mut error)) => Err(match error.take_message() {
            Some(request) => Unsent::Returned(Box::new(request)),
            None => Unsent::Gone(CloseReason::UpstreamFailed),
        }),
        Err(_) => Err(Unsent::Gone(CloseReason::UpstreamTimeout)),
    }
}

/// Speaks HTTP/2 as a client on `io`, until `authority` ends.
pub(crate) async fn handshake_h2(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    drain: &Drain,
    authority: Option<Authority>,
) -> Result<http2::SendRequest<Body>, CloseReason> {
    let (sender, connection) = http2::Builder::new(drain.clone())
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
    drive(drain, authority, connection);
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
    drive(drain, None, connection);
    Ok(sender)
}

/// A client connection runs until its last call is answered, until its authority ends, or until a
/// drain cuts it.
fn drive(
    drain: &Drain,
    authority: Option<Authority>,
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
            end = connection => {
                if let Err(error) = end {
                    tracing::debug!(%error, "upstream connection ended");
                }
            }
        }
    });
}
