//! Connections that carry many calls. A call is sent again only when no byte of it left us.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Mutex,
};

use super::body::Body;
use crate::{CloseReason, Drain};

/// Calls in flight on one connection before another is opened.
const BUSY: usize = 100;

/// Connections to one destination.
const MAX_CONNECTIONS: usize = 16;

/// Idle HTTP/1.1 connections kept to our workload.
const MAX_IDLE: usize = 256;

/// How often a request that never left us looks for another connection.
const ATTEMPTS: usize = 3;

/// How long the head of an answer may take. Streams may go on for as long as they like.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(300);

/// A call that has no answer.
#[derive(Debug)]
pub(crate) struct SendError(pub(crate) CloseReason);

/// HTTP/2 connections to one destination, read without a lock.
#[derive(Debug)]
pub(crate) struct Multiplexed<K> {
    connections: ArcSwap<Vec<Arc<Conn<K>>>>,
    opening: Mutex<()>,
}

/// One HTTP/2 connection, and what it was opened for.
#[derive(Debug)]
pub(crate) struct Conn<K> {
    sender: http2::SendRequest<Body>,
    in_flight: AtomicUsize,
    /// What a call compares to know whether it may use this connection.
    pub(crate) key: K,
    /// When no new call may start here: before the first of both certificates ends.
    pub(crate) retire_at: Option<SystemTime>,
}

impl<K> Default for Multiplexed<K> {
    fn default() -> Self {
        Self { connections: ArcSwap::default(), opening: Mutex::default() }
    }
}

impl<K: Send + Sync + 'static> Multiplexed<K> {
    /// Sends `request` on a connection that `fits`, or on a new one from `open`.
    pub(crate) async fn send<F>(
        &self,
        request: Request<Body>,
        fits: impl Fn(&Conn<K>) -> bool,
        open: impl Fn() -> F,
    ) -> Result<Response<Incoming>, SendError>
    where
        F: Future<Output = Result<Conn<K>, CloseReason>>,
    {
        self.try_send(request, fits, open).await.map_err(|(reason, _)| SendError(reason))
    }

    /// The same; gives the request back when no byte of it left us.
    pub(crate) async fn try_send<F>(
        &self,
        mut request: Request<Body>,
        fits: impl Fn(&Conn<K>) -> bool,
        open: impl Fn() -> F,
    ) -> Result<Response<Incoming>, (CloseReason, Option<Request<Body>>)>
    where
        F: Future<Output = Result<Conn<K>, CloseReason>>,
    {
        for _ in 0..ATTEMPTS {
            let call = match self.connection(&fits, &open).await {
                Ok(conn) => InFlight::on(conn),
                Err(reason) => return Err((reason, Some(request))),
            };
            match answered(call.0.sender.clone().try_send_request(request)).await {
                Ok(response) => return Ok(response),
                Err(Unsent::Returned(back)) => request = *back,
                Err(Unsent::Gone(reason)) => return Err((reason, None)),
            }
        }
        Err((CloseReason::ConnectFailed, Some(request)))
    }

    async fn connection<F>(
        &self,
        fits: &impl Fn(&Conn<K>) -> bool,
        open: &impl Fn() -> F,
    ) -> Result<Arc<Conn<K>>, CloseReason>
    where
        F: Future<Output = Result<Conn<K>, CloseReason>>,
    {
        if let Some(conn) = self.least_busy(fits, BUSY) {
            return Ok(conn);
        }
        let _opening = self.opening.lock().await;
        if let Some(conn) = self.least_busy(fits, BUSY) {
            return Ok(conn); // somebody else opened it meanwhile
        }
        let usable: Vec<_> = self.usable(fits).collect();
        if usable.len() >= MAX_CONNECTIONS
            && let Some(conn) = self.least_busy(fits, usize::MAX)
        {
            return Ok(conn);
        }
        let opened = Arc::new(Box::pin(open()).await?); // rare, and large
        // Those that no longer fit end by themselves once their last answer is delivered.
        let connections = usable.into_iter().chain([opened.clone()]).collect();
        self.connections.store(Arc::new(connections));
        Ok(opened)
    }

    fn least_busy(&self, fits: &impl Fn(&Conn<K>) -> bool, busy: usize) -> Option<Arc<Conn<K>>> {
        let load = |conn: &Arc<Conn<K>>| conn.in_flight.load(Ordering::Relaxed);
        self.usable(fits).filter(|conn| load(conn) < busy).min_by_key(load)
    }

    fn usable(&self, fits: &impl Fn(&Conn<K>) -> bool) -> impl Iterator<Item = Arc<Conn<K>>> {
        let now = SystemTime::now();
        let connections = self.connections.load_full();
        let usable: Vec<_> = connections
            .iter()
            .filter(|conn| !conn.sender.is_closed())
            .filter(|conn| conn.retire_at.is_none_or(|end| now < end))
            .filter(|conn| fits(conn))
            .cloned()
            .collect();
        usable.into_iter()
    }
}

/// One call on a connection, until its answer begins or nobody waits for it any more.
struct InFlight<K>(Arc<Conn<K>>);

impl<K> InFlight<K> {
    fn on(conn: Arc<Conn<K>>) -> Self {
        conn.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(conn)
    }
}

impl<K> Drop for InFlight<K> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<K> Conn<K> {
    pub(crate) fn new(sender: http2::SendRequest<Body>, key: K) -> Self {
        Self { sender, in_flight: AtomicUsize::new(0), key, retire_at: None }
    }
}

/// HTTP/1.1 connections to our workload: one call at a time, kept open between calls.
#[derive(Debug)]
pub(crate) struct Recycled {
    idle: Arc<ArrayQueue<http1::SendRequest<Body>>>,
    drain: Drain,
}

impl Recycled {
    pub(crate) fn new(drain: Drain) -> Self {
        Self { idle: Arc::new(ArrayQueue::new(MAX_IDLE)), drain }
    }

    /// Sends `request` on an idle connection, or on a new one from `open`.
    pub(crate) async fn send<F>(
        &self,
        mut request: Request<Body>,
        open: impl Fn() -> F,
    ) -> Result<Response<Incoming>, SendError>
    where
        F: Future<Output = Result<http1::SendRequest<Body>, CloseReason>>,
    {
        // Any number of idle connections may have been closed by the workload meanwhile.
        while let Some(mut sender) = self.idle.pop() {
            if !sender.is_ready() {
                continue;
            }
            match answered(sender.try_send_request(request)).await {
                Ok(response) => return Ok(self.recycle(sender, response)),
                Err(Unsent::Returned(back)) => request = *back,
                Err(Unsent::Gone(reason)) => return Err(SendError(reason)),
            }
        }
        let mut sender = open().await.map_err(SendError)?;
        match answered(sender.try_send_request(request)).await {
            Ok(response) => Ok(self.recycle(sender, response)),
            Err(Unsent::Returned(_)) => Err(SendError(CloseReason::ConnectFailed)),
            Err(Unsent::Gone(reason)) => Err(SendError(reason)),
        }
    }

    /// Takes the connection back once both bodies are through (HTTP-22).
    fn recycle(
        &self,
        mut sender: http1::SendRequest<Body>,
        response: Response<Incoming>,
    ) -> Response<Incoming> {
        let (idle, watch) = (self.idle.clone(), self.drain.watch());
        self.drain.spawn(async move {
            tokio::select! {
                () = watch.stopping() => {}
                ready = sender.ready() => {
                    if ready.is_ok() {
                        let _ = idle.push(sender); // full: one connection fewer
                    }
                }
            }
        });
        response
    }
}

enum Unsent {
    /// No byte of it left us.
    Returned(Box<Request<Body>>),
    /// Whether the callee acted on it is unknown.
    Gone(CloseReason),
}

async fn answered(
    sent: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Body>>>>,
) -> Result<Response<Incoming>, Unsent> {
    match tokio::time::timeout(RESPONSE_DEADLINE, sent).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(mut error)) => Err(match error.take_message() {
            Some(request) => Unsent::Returned(Box::new(request)),
            None => Unsent::Gone(CloseReason::UpstreamFailed),
        }),
        Err(_) => Err(Unsent::Gone(CloseReason::UpstreamTimeout)),
    }
}

/// Speaks HTTP/2 as a client on `io`.
pub(crate) async fn handshake_h2(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    drain: &Drain,
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
    drive(drain, connection);
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
    drive(drain, connection);
    Ok(sender)
}

/// A client connection runs until its last call is answered; a drain cuts it in the end.
fn drive(drain: &Drain, connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
    let watch = drain.watch();
    drain.spawn(async move {
        tokio::select! {
            () = watch.cut() => {}
            end = connection => {
                if let Err(error) = end {
                    tracing::debug!(%error, "upstream connection ended");
                }
            }
        }
    });
}
