//! Sessions with one sidecar that many TCP connections share, read without a lock of ours.

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    time::{Instant, SystemTime},
};

use http::uri;
use tokio::sync::Mutex;

use super::{
    reach::Own,
    session::{NoStream, Open, Taken, Tunnel, Unopened},
};
use crate::{CloseReason, route::PoolKey};

/// Sessions with one sidecar. What finds no place on them has a session of its own.
const MAX_SESSIONS: usize = 16;

/// How often a stream that was not opened is tried on another session.
const ATTEMPTS: usize = 3;

/// Sessions with one sidecar.
#[derive(Debug)]
pub(crate) struct Tunnels {
    /// What the callee's sidecar compares with where it was reached (HTTP-14). An address that has no
    /// such form is reached by sessions of one connection each.
    named: Option<uri::Authority>,
    open: Arc<Open>,
    opening: Mutex<Option<Failed>>,
}

/// The last attempt to open a session that came to nothing.
#[derive(Debug)]
struct Failed {
    at: Instant,
    key: PoolKey,
    reason: CloseReason,
}

/// What came of the wish for a session.
#[derive(Debug)]
pub(super) enum Opened {
    /// One that others may share.
    Shared(Arc<Tunnel>),
    /// One for this connection alone: the other side takes no streams.
    Own(Box<Own>),
}

/// Where there is a place for one more connection.
enum Session {
    /// On this one, with others.
    Shared(Arc<Tunnel>),
    /// On one that it has for itself.
    Own(Box<Own>),
    /// On none, and there may be no more.
    Full,
}

/// What came of the wish for a stream.
#[derive(Debug)]
pub(super) enum Found {
    /// It is open.
    Stream(Box<Taken>),
    /// A session for this connection alone.
    Own(Box<Own>),
    /// All sessions are full.
    Full,
}

impl Tunnels {
    /// With the sidecar at `address`. There is none yet.
    pub(crate) fn with(address: SocketAddr) -> Self {
        let named = address.to_string().parse().ok();
        Self { named, open: Arc::default(), opening: Mutex::default() }
    }

    /// Opens a stream, on a session that was opened for `key`, or on a new one from `open`.
    pub(super) async fn stream<F>(
        &self,
        key: &PoolKey,
        open: impl Fn() -> F,
    ) -> Result<Found, NoStream>
    where
        F: Future<Output = Result<Opened, CloseReason>>,
    {
        let Some(named) = &self.named else { return Ok(Found::Full) };
        for _ in 0..ATTEMPTS {
            let tunnel = match self.session(key, &open).await.map_err(NoStream::Failed)? {
                Session::Shared(tunnel) => tunnel,
                Session::Own(own) => return Ok(Found::Own(own)),
                Session::Full => return Ok(Found::Full),
            };
            match tunnel.open(named).await {
                Ok(taken) => return Ok(Found::Stream(Box::new(taken))),
                Err(Unopened::Full) => return Ok(Found::Full),
                Err(Unopened::No(reason)) => return Err(reason),
                Err(Unopened::Over) => {}
            }
        }
        Err(NoStream::Failed(CloseReason::ConnectFailed))
    }

    /// Those that are open, for whoever opens or ends one.
    pub(super) fn open(&self) -> Weak<Open> {
        Arc::downgrade(&self.open)
    }

    /// A session with a free place, or a new one.
    async fn session<F>(&self, key: &PoolKey, open: &impl Fn() -> F) -> Result<Session, CloseReason>
    where
        F: Future<Output = Result<Opened, CloseReason>>,
    {
        if let Some(tunnel) = self.least_busy(key) {
            return Ok(Session::Shared(tunnel));
        }
        let asked = Instant::now();
        let mut failed = self.opening.lock().await;
        if let Some(tunnel) = self.least_busy(key) {
            return Ok(Session::Shared(tunnel)); // somebody else opened it meanwhile
        }
        // Or tried to: whoever waited for that attempt shares its end (RES-03).
        if let Some(failed) = failed.as_ref().filter(|one| one.at > asked && one.key == *key) {
            return Err(failed.reason);
        }
        let usable = self.usable(key);
        if usable.len() >= MAX_SESSIONS {
            return Ok(Session::Full);
        }
        match Box::pin(open()).await {
            Ok(Opened::Shared(tunnel)) => {
                // Those that no longer fit end by themselves with their last stream.
                let all = usable.into_iter().chain([tunnel.clone()]).collect();
                self.open.store(Arc::new(all));
                Ok(Session::Shared(tunnel))
            }
            Ok(Opened::Own(own)) => Ok(Session::Own(own)),
            Err(reason) => {
                *failed = Some(Failed { at: Instant::now(), key: key.clone(), reason });
                Err(reason)
            }
        }
    }

    fn least_busy(&self, key: &PoolKey) -> Option<Arc<Tunnel>> {
        let usable = self.usable(key).into_iter();
        let free = usable.map(|tunnel| (tunnel.taken(), tunnel));
        let free = free.filter(|(taken, tunnel)| *taken < tunnel.places());
        free.min_by_key(|(taken, _)| *taken).map(|(_, tunnel)| tunnel)
    }

    fn usable(&self, key: &PoolKey) -> Vec<Arc<Tunnel>> {
        let now = SystemTime::now();
        self.open.load().iter().filter(|tunnel| tunnel.is_usable(key, now)).cloned().collect()
    }
}
