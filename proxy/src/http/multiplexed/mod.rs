//! HTTP/2 connections to one destination: many calls at once, read without a lock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Instant, SystemTime},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::{HeaderMap, Request, Response};
use tokio::sync::Notify;

use super::{
    body::Body, client::Unsent, fate::SendError, patience::patience, received::Received,
    streams::Streams,
};
use crate::{CloseReason, authority::Authority, places::Place};

/// Calls in flight on one connection before another is opened: nearly as many as a sidecar takes on it. The
/// more of them share one, the fewer records and system calls there are for each.
const BUSY: usize = 240;

/// The same while another is being opened: as many as the other side takes.
const MOST: usize = usize::MAX - 1;

/// Connections to one destination.
const MAX_CONNECTIONS: usize = 16;

/// How often a request that never left us looks for another connection, beside those that were there.
const AGAIN: usize = 2;

/// HTTP/2 connections to one destination, read without a lock.
#[derive(Debug)]
pub(crate) struct Multiplexed<K> {
    connections: ArcSwap<Vec<Arc<Conn<K>>>>,
    /// Somebody opens one.
    is_opening: AtomicBool,
    failed: ArcSwapOption<Failed<K>>,
    /// For whoever waits for one that is being opened. All go on together: one after the other, each
    /// would wait for a whole turn of all calls in progress, and thousands for ever.
    ended: Notify,
}

/// Who opens a connection; nobody else does until this is gone.
#[derive(Debug)]
struct Opening<'a> {
    is_opening: &'a AtomicBool,
    ended: &'a Notify,
}

/// The last attempt to open a connection that came to nothing.
#[derive(Debug)]
struct Failed<K> {
    at: Instant,
    key: K,
    reason: CloseReason,
}

/// One HTTP/2 connection, and what it was opened for.
#[derive(Debug)]
pub(crate) struct Conn<K> {
    streams: Streams,
    /// What a call compares to know whether it may use this connection.
    pub(crate) key: K,
    /// What it stands on; nothing for a connection to our own workload.
    pub(crate) authority: Option<Authority>,
}

impl<K> Default for Multiplexed<K> {
    fn default() -> Self {
        Self {
            connections: ArcSwap::default(),
            is_opening: AtomicBool::new(false),
            failed: ArcSwapOption::empty(),
            ended: Notify::new(),
        }
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.is_opening.store(false, Ordering::Release);
        self.ended.notify_waiters();
    }
}

impl<K: Clone + PartialEq + Send + Sync + 'static> Multiplexed<K> {
    /// Sends `request` on a connection that was opened for `key`, or on a new one from `open`.
    pub(crate) async fn send<F>(
        &self,
        request: Box<Request<Body>>,
        key: &K,
        open: impl Fn() -> F,
    ) -> Result<Response<Received>, SendError>
    where
        F: Future<Output = Result<Conn<K>, CloseReason>>,
    {
        let sent = self.try_send(request, key, open).await;
        sent.map(|(response, _)| response).map_err(|(error, _)| error)
    }

    /// The same; says which connection it was, or gives the request back when no byte of it left us.
    pub(crate) async fn try_send<F>(
        &self,
        mut request: Box<Request<Body>>,
        key: &K,
        open: impl Fn() -> F,
    ) -> Result<(Response<Received>, Arc<Conn<K>>), (SendError, Option<Box<Request<Body>>>)>
    where
        F: Future<Output = Result<Conn<K>, CloseReason>>,
    {
        let mut left = None;
        loop {
            let conn = match self.connection(key, &open).await {
                Ok(conn) => conn,
                Err(reason) => return Err((SendError::not_done(reason), Some(request))),
            };
            let found = match conn.streams.take() {
                Some(place) => Some(Ok((conn, place))),
                None => in_time(Box::pin(self.place(key, &open, conn)), request.headers()).await,
            };
            let (conn, place) = match found {
                Some(Ok(found)) => found,
                Some(Err(reason)) => return Err((SendError::not_done(reason), Some(request))),
                None => return Err((SendError::not_done(CloseReason::UpstreamTimeout), None)),
            };
            match conn.streams.call(request, place).await {
                Ok(response) => return Ok((response, conn)),
                Err(Unsent::Returned(back)) => request = back,
                Err(Unsent::Gone(error)) => {
                    return Err((error.on_a_connection(conn.ended()), None));
                }
            }
            // Those that were there before may all have been told to go, and each says so once.
            let more = left.unwrap_or_else(|| self.usable(key).len() + AGAIN);
            let Some(less) = more.checked_sub(1) else {
                return Err((SendError::not_done(CloseReason::ConnectFailed), Some(request)));
            };
            left = Some(less);
        }
    }

    /// A place, on whichever connection has one first: on `conn` there is none now. We wait here and not
    /// in h2, which sends what waits there also when its caller has given it up (AZ-10).
    async fn place<F>(
        &self,
        key: &K,
        open: &impl Fn() -> F,
        mut conn: Arc<Conn<K>>,
    ) -> Result<(Arc<Conn<K>>, Place), CloseReason>
    where
        F: Future<Output = Result<Conn<K>, CloseReason>>,
    {
        loop {
            conn.streams.changed().await;
            conn = self.connection(key, open).await?;
            if let Some(place) = conn.streams.take() {
                return Ok((conn, place));
            }
        }
    }

    async fn connection<F>(
        &self,
        key: &K,
        open: &impl Fn() -> F,
    ) -> Result<Arc<Conn<K>>, CloseReason>
    where
        F: Future<Output = Result<Conn<K>, CloseReason>>,
    {
        if let Some(conn) = self.least_busy(key, BUSY) {
            return Ok(conn);
        }
        let asked = Instant::now();
        loop {
            // It hears of every end from now on.
            let ended = self.ended.notified();
            let opening = self.begin();
            if let Some(conn) = self.least_busy(key, BUSY) {
                return Ok(conn); // somebody else opened it meanwhile
            }
            if let Some(reason) = self.failed_since(asked, key) {
                return self.least_busy(key, MOST).ok_or(reason);
            }
            if opening.is_some() {
                return self.another(key, open).await;
            }
            // Who finds a place elsewhere does not wait for it: places that are freed meanwhile would go
            // to whoever comes later.
            if let Some(conn) = self.least_busy(key, MOST) {
                return Ok(conn);
            }
            ended.await;
        }
    }

    fn begin(&self) -> Option<Opening<'_>> {
        let before = self.is_opening.swap(true, Ordering::AcqRel);
        (!before).then(|| Opening { is_opening: &self.is_opening, ended: &self.ended })
    }

    /// Why somebody else's attempt since then failed. Whoever waited for it shares its end, instead of
    /// the next in a queue of attempts, each as long as a deadline (RES-03).
    fn failed_since(&self, asked: Instant, key: &K) -> Option<CloseReason> {
        let failed = self.failed.load();
        failed.as_ref().filter(|one| one.at > asked && one.key == *key).map(|one| one.reason)
    }

    /// A new connection, unless there are as many as there may be.
    async fn another<F>(&self, key: &K, open: &impl Fn() -> F) -> Result<Arc<Conn<K>>, CloseReason>
    where
        F: Future<Output = Result<Conn<K>, CloseReason>>,
    {
        let usable = self.usable(key);
        if usable.len() >= MAX_CONNECTIONS
            && let Some(conn) = self.least_busy(key, usize::MAX)
        {
            return Ok(conn);
        }
        let opened = match Box::pin(open()).await {
            Ok(opened) => Arc::new(opened),
            Err(reason) => {
                let failed = Failed { at: Instant::now(), key: key.clone(), reason };
                self.failed.store(Some(Arc::new(failed)));
                // It was one more than there were: who finds a place meanwhile has lost nothing.
                return self.least_busy(key, MOST).ok_or(reason);
            }
        };
        // Those that no longer fit end by themselves once their last answer is delivered.
        let connections = usable.into_iter().chain([opened.clone()]).collect();
        self.connections.store(Arc::new(connections));
        Ok(opened)
    }

    fn usable(&self, key: &K) -> Vec<Arc<Conn<K>>> {
        let now = SystemTime::now();
        let connections = self.connections.load();
        connections.iter().filter(|conn| conn.is_usable(key, now)).cloned().collect()
    }

    fn least_busy(&self, key: &K, busy: usize) -> Option<Arc<Conn<K>>> {
        let now = SystemTime::now();
        let connections = self.connections.load();
        let usable = connections.iter().filter(|conn| conn.is_usable(key, now));
        let usable = usable.filter(|conn| busy == usize::MAX || conn.has_room(busy));
        usable.min_by_key(|conn| conn.streams.calls()).cloned()
    }
}

/// What comes of `waiting`, if the caller waits for as long.
async fn in_time<T>(waiting: impl Future<Output = T>, headers: &HeaderMap) -> Option<T> {
    match patience(headers) {
        Some(patience) => tokio::time::timeout(patience, waiting).await.ok(),
        None => Some(waiting.await),
    }
}

impl<K: PartialEq> Conn<K> {
    /// Whether a call for `key` may begin on it at `now`.
    fn is_usable(&self, key: &K, now: SystemTime) -> bool {
        let is_retired = self.authority.as_ref().is_some_and(|one| now >= one.retire_at());
        !self.streams.is_closed() && !is_retired && self.key == *key
    }
}

impl<K> Conn<K> {
    pub(crate) fn new(streams: Streams, key: K) -> Self {
        Self { streams, key, authority: None }
    }

    fn has_room(&self, busy: usize) -> bool {
        self.streams.calls() < busy && self.streams.has_room()
    }

    /// Why its authority has ended, if it has.
    fn ended(&self) -> Option<CloseReason> {
        self.authority.as_ref()?.holds(SystemTime::now()).err()
    }
}

#[cfg(test)]
mod tests;
