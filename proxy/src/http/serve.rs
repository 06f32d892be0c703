//! Serving HTTP on one connection: limits, deadlines, and a drain that lets answers finish.

use std::{
    convert::Infallible,
    future::pending,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use http::{HeaderValue, header};
use http_body::Body as _;
use hyper::{
    Request, Response, body::Incoming, server::conn, service::service_fn, upgrade::OnUpgrade,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
};

use super::{
    body::Body,
    lingering::{LONGEST, Lingering, Unread},
    tunnel::Tunnel,
};
use crate::{
    CloseReason, Drain,
    authority::{Authority, ended, late},
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

/// Headers of a request.
pub(super) const MAX_HEADERS: usize = 128;

/// The same over HTTP/2, where each field counts 32 bytes more (RFC 9113 §6.5.2): what came over
/// HTTP/1.1 is not too long for the next sidecar.
pub(super) const MAX_LIST: usize = MAX_HEAD + 32 * MAX_HEADERS;

/// Requests at once on one HTTP/2 connection (RES-04).
const MAX_STREAMS: u32 = 256;

/// How far a sender may run ahead of a slow reader (RES-05): per stream, and per connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// The pause between pings, and how long an answer may take.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(10);

/// What a connection whose authority has ended may take to close.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Answers requests until the caller closes, or until a drain or the connection's `authority` lets
/// the last answers finish. A loopback connection of our own workload has no authority to end.
pub(crate) async fn serve<IO, F>(
    io: IO,
    version: Version,
    (drain, authority): (&Drain, Option<&Authority>),
    answer: impl Fn(Request<Incoming>) -> F,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (after, queue) = mpsc::channel(1); // HTTP ends with the first
    let (unread, asked) = (Unread::default(), AtomicBool::new(false));
    let service = service_fn(|request: Request<Incoming>| {
        let (after, unread) = (after.clone(), unread.clone());
        let upgrade = request.extensions().get::<OnUpgrade>().cloned();
        let last = version == Version::Http1 && request.headers().contains_key(header::UPGRADE);
        asked.fetch_or(last, Ordering::Relaxed);
        unread.set(last || !request.body().is_end_stream());
        let response = answer(request);
        async move {
            let mut response = response.await;
            if let Some(tunnel) = response.body_mut().tunnel() {
                unread.set(false); // what comes now is the other protocol's
                let _ = after.try_send(After::Tunnel(tunnel));
                return Ok(response);
            }
            if let Some(upgrade) = upgrade {
                let _ = after.try_send(After::Nothing(upgrade));
            }
            if last {
                // HTTP-12: not granted, and who asked may go on in the other protocol all the same.
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok::<_, Infallible>(response)
        }
    });
    match version {
        Version::Http1 => {
            let connection = conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_DEADLINE)
                .max_headers(MAX_HEADERS)
                .max_buf_size(MAX_HEAD)
                .serve_connection(TokioIo::new(Lingering::new(io, unread.clone())), service)
                .with_upgrades();
            // What asks for an upgrade is the last request anyway, and hyper would drop what is left to
            // write of its 101, and go on in the other protocol behind half of it.
            let leave = |connection: Pin<&mut conn::http1::UpgradeableConnection<_, _>>| {
                if !asked.load(Ordering::Relaxed) {
                    connection.graceful_shutdown();
                }
            };
            let mut next = Next { queue, after: None };
            let end = finish(connection, (drain, authority), leave, next.ended()).await;
            // Here, so that it has its connection's place among the others, and is proved anew.
            if let Some(after) = next.taken() {
                Box::pin(after.run(end, drain, authority)).await;
            }
        }
        Version::Http2 => {
            let connection = http2(drain).serve_connection(TokioIo::new(io), service);
            let leave = conn::http2::Connection::graceful_shutdown;
            let _ = finish(connection, (drain, authority), leave, pending()).await;
        }
    }
}

/// HTTP/2 within our limits.
fn http2(drain: &Drain) -> conn::http2::Builder<Drain> {
    let mut http2 = conn::http2::Builder::new(drain.clone());
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_LIST).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(128 * 1024)
        .max_pending_accept_reset_streams(Some(50))
        .max_local_error_reset_streams(Some(100))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    http2
}

/// What becomes of a connection whose caller asked to go on in another protocol.
#[derive(Debug)]
enum After {
    Tunnel(Box<Tunnel>),
    /// It was not granted. hyper lets go of the connection without a word, and TLS has one for it.
    Nothing(OnUpgrade),
}

impl After {
    /// Once `http` has ended: of itself, or because it was cut.
    async fn run(
        self,
        http: Result<(), CloseReason>,
        drain: &Drain,
        authority: Option<&Authority>,
    ) {
        match (self, http) {
            (Self::Tunnel(tunnel), Ok(())) => tunnel.run(drain).await,
            (Self::Tunnel(tunnel), Err(reason)) => tunnel.cut(reason),
            (Self::Nothing(upgrade), _) => {
                let _ = finish(closed(upgrade), (drain, authority), |_| {}, pending()).await;
            }
        }
    }
}

/// What comes after HTTP on one connection, as soon as that is known.
struct Next {
    queue: mpsc::Receiver<After>,
    after: Option<After>,
}

impl Next {
    /// Resolves when a tunnel has ended before it began: a caller that does not read its 101 keeps
    /// nothing open by that (AZ-10).
    async fn ended(&mut self) -> CloseReason {
        self.after = self.queue.recv().await;
        match &self.after {
            Some(After::Tunnel(tunnel)) => tunnel.authority.ended().await,
            Some(After::Nothing(_)) | None => pending().await,
        }
    }

    fn taken(mut self) -> Option<After> {
        self.after.or_else(|| self.queue.try_recv().ok())
    }
}

/// Says that no more comes, which hyper leaves to whoever goes on, and lets the caller hear it.
async fn closed(upgrade: OnUpgrade) -> hyper::Result<()> {
    let closed = async {
        if let Ok(io) = upgrade.await {
            let _ = TokioIo::new(io).shutdown().await; // it may be gone
        }
    };
    let _ = tokio::time::timeout(LONGEST, closed).await;
    Ok(())
}

/// Runs `connection` until it ends of itself, or is cut: by its own end, or by that of what comes
/// `next` on it.
async fn finish<C>(
    connection: C,
    (drain, authority): (&Drain, Option<&Authority>),
    leave: impl Fn(Pin<&mut C>),
    next: impl Future<Output = CloseReason>,
) -> Result<(), CloseReason>
where
    C: Future<Output = hyper::Result<()>>,
{
    let watch = drain.watch();
    let mut connection = std::pin::pin!(connection);
    let mut ended = std::pin::pin!(ended(authority));
    let mut next = std::pin::pin!(next);
    let mut stop = std::pin::pin!(async {
        tokio::select! {
            () = watch.stopping() => {}
            () = late(authority) => {}
        }
    });
    let mut stopping = false;
    loop {
        tokio::select! {
            _ = connection.as_mut() => return Ok(()),
            () = stop.as_mut(), if !stopping => {
                stopping = true;
                leave(connection.as_mut());
            }
            reason = ended.as_mut() => {
                // GOAWAY, and a moment for the calls in progress to say that they are cut.
                leave(connection.as_mut());
                let _ = tokio::time::timeout(LAST_WORDS, connection).await;
                return Err(reason);
            }
            reason = next.as_mut() => return Err(reason),
            () = watch.cut() => return Err(CloseReason::Drained),
        }
    }
}
