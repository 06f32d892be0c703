//! Serving HTTP on one connection: limits, deadlines, and a drain that lets answers finish.

use std::{convert::Infallible, future::pending, pin::Pin, time::Duration};

use hyper::{Request, Response, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    body::Body,
    http1::{Silence, Waits, awake, now_and_then},
};
use crate::{
    CloseReason, Drain,
    authority::{Authority, ended, late},
    heard::Heard,
    places::RESETS,
    seldom::Seldom,
};

/// Which HTTP a connection speaks: between sidecars agreed by ALPN, never guessed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// How long an HTTP/1.1 connection may take for a request's head, silence between requests
/// included (RES-03). Above the 60 s that many clients keep an idle connection, so that it is they
/// who close it.
pub(super) const HEAD_DEADLINE: Duration = Duration::from_secs(75);

/// The largest head of a request (RES-04).
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// Fields of a request over HTTP/1.1. It is hyper's own limit: for another one hyper allocates twice
/// 4 KiB for each request.
pub(super) const MAX_HEADERS: usize = 100;

/// The same over HTTP/2, where each field counts 32 bytes more (RFC 9113 §6.5.2): what came over
/// HTTP/1.1 is not too long for the next sidecar, with up to 28 fields of ours.
pub(super) const MAX_LIST: usize = MAX_HEAD + 4 * 1024;

/// Requests at once on one HTTP/2 connection (RES-04).
const MAX_STREAMS: u32 = 256;

/// Requests that a caller may reset before we have looked at them (RES-04, CVE-2023-44487): as many as
/// it may make at once.
const MAX_RESET: usize = MAX_STREAMS as usize;

/// How far a sender may run ahead of a slow reader (RES-05).
const STREAM_WINDOW: u32 = 256 * 1024;

/// The same for all streams of a connection: a few that nobody reads hold up no other. h2 ends a connection
/// where half of it is taken by unread frames, of which small ones count as 256 bytes.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// The pause between pings, and how long an answer may take.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(10);

/// What a connection whose authority has ended may take to close.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// After which silence an app's connection of HTTP/1.1 is kept without hyper: longer than the pauses
/// between calls that follow each other, so that these do not pay for it.
const SILENCE: Duration = Duration::from_secs(1);

/// How an app of our own workload is waited for.
const NOW_AND_THEN: Waits = Waits { head: HEAD_DEADLINE, silence: Some(SILENCE) };

/// How others are.
const OFTEN: Waits = Waits { head: HEAD_DEADLINE, silence: None };

/// Answers requests until the caller closes, or until a drain or the connection's `authority` lets
/// the last answers finish. A loopback connection of our own workload has no authority to end.
pub(crate) async fn serve<IO, F>(
    io: IO,
    version: Version,
    ends: (&Drain, Option<&Authority>),
    answer: impl Fn(Request<Incoming>) -> F,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    match version {
        Version::Http1 => {
            awake(io, Silence::new(&OFTEN, None), ends, &answer).await;
        }
        Version::Http2 => {
            let service = service_fn(|request| {
                let response = answer(request);
                async move { Ok::<_, Infallible>(response.await) }
            });
            let connection = by_http2(ends.0).serve_connection(TokioIo::new(io), service);
            let leave = http2::Connection::graceful_shutdown;
            let _ = finish(connection, ends, leave, pending()).await;
        }
    }
}

/// HTTP/1.1 for an app of our own workload, which may open many connections and use few.
pub(crate) fn serve_app<IO, F>(
    app: Heard<IO>,
    drain: &Drain,
    answer: impl Fn(Request<Incoming>) -> F,
) -> impl Future<Output = ()>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    now_and_then(app, &NOW_AND_THEN, drain, answer)
}

/// HTTP/2 within our limits.
fn by_http2(drain: &Drain) -> http2::Builder<Drain> {
    let mut http2 = http2::Builder::new(drain.clone());
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_LIST).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(128 * 1024)
        .max_pending_accept_reset_streams(Some(MAX_RESET))
        .max_local_error_reset_streams(Some(RESETS))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    http2
}

/// Runs `connection` until it ends of itself, or is cut: by its own end, or by that of what comes
/// `next` on it.
pub(super) async fn finish<C>(
    connection: C,
    (drain, authority): (&Drain, Option<&Authority>),
    leave: impl Fn(Pin<&mut C>),
    next: impl Future<Output = CloseReason>,
) -> Result<C::Output, CloseReason>
where
    C: Future,
{
    let mut connection = std::pin::pin!(connection);
    let mut stop = Seldom::of(async {
        tokio::select! {
            () = drain.stopping() => {}
            () = late(authority) => {}
        }
    });
    let mut end = Seldom::of(async {
        tokio::select! {
            reason = ended(authority) => End::Told(reason),
            reason = next => End::AtOnce(reason),
            () = drain.cut() => End::AtOnce(CloseReason::Drained),
        }
    });
    let mut stopping = false;
    loop {
        tokio::select! {
            done = connection.as_mut() => return Ok(done),
            () = &mut stop, if !stopping => {
                stopping = true;
                leave(connection.as_mut());
            }
            end = &mut end => match end {
                End::AtOnce(reason) => return Err(reason),
                End::Told(reason) => {
                    // GOAWAY, and a moment for the calls in progress to say that they are cut.
                    leave(connection.as_mut());
                    let _ = tokio::time::timeout(LAST_WORDS, connection).await;
                    return Err(reason);
                }
            }
        }
    }
}

/// How a connection is cut.
enum End {
    /// The other side is told.
    Told(CloseReason),
    AtOnce(CloseReason),
}
