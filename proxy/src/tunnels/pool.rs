//! Sessions with one sidecar that many TCP connections share, read without a lock of ours.

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwapOption;
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

/// How long it is remembered that a sidecar takes no streams, where the directory says otherwise or
/// reaches it by an address that it does not know.
const ALONE: Duration = Duration::from_secs(60);

/// Sessions with one sidecar.
#[derive(Debug)]
pub(crate) struct Tunnels {
    /// What the callee's sidecar compares with where it was reached (HTTP-14). An address that has no
    /// such form is reached by sessions of one connection each.
    named: Option<uri::Authority>,
    open: Arc<Open>,
    opening: Mutex<Option<Failed>>,
    /// When it was found to take no streams.
    alone: ArcSwapOption<Instant>,
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
    /// On this one, which was opened for it and may be shared.
    New(Arc<Tunnel>),
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
        let (opening, alone) = (Mutex::default(), ArcSwapOption::empty());
        Self { named, open: Arc::default(), opening, alone }
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
        let Some(named) = self.named.as_ref().filter(|_| !self.is_alone()) else {
            return Ok(Found::Full);
        };
        let mut last = Err(NoStream::Failed(CloseReason::ConnectFailed));
        let mut attempts = 0;
        while attempts < ATTEMPTS {
            let (tunnel, is_new) = match self.session(key, &open).await.map_err(NoStream::Failed)? {
                Session::Shared(tunnel) => (tunnel, false),
                Session::New(tunnel) => (tunnel, true),
                Session::Own(own) => return Ok(Found::Own(own)),
                Session::Full => return Ok(Found::Full),
            };
            match tunnel.open(named).await {
                Ok(taken) => return Ok(Found::Stream(Box::new(taken))),
                Err(Unopened::Full) => return Ok(Found::Full),
                Err(Unopened::Unknown) => {
                    self.leave_alone();
                    return Ok(Found::Full);
                }
                Err(Unopened::No(reason)) => return Err(reason),
                Err(Unopened::Busy) => {
                    attempts += 1;
                    last = Ok(Found::Full);
                }
                // One that was there before is not asked again: they come to an end.
                Err(Unopened::Over) if !is_new => {}
                // Who does not answer has taken its time: a few of them are enough (RES-03).
                Err(Unopened::Over | Unopened::Late) => attempts += 1,
            }
        }
        last
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
        if self.is_alone() {
            return Ok(Session::Full); // or found that there will be none
        }
        // Or tried to: whoever waited for that attempt shares its end (RES-03).
        if let Some(failed) = failed.as_ref().filter(|one| one.at > asked && one.key == *key) {
            return Err(failed.reason);
        }
        if self.usable(key).len() >= MAX_SESSIONS {
            return Ok(Session::Full);
        }
        match Box::pin(open()).await {
            Ok(Opened::Shared(tunnel)) => {
                self.add(&tunnel, key);
                Ok(Session::New(tunnel))
            }
            Ok(Opened::Own(own)) => {
                self.leave_alone();
                Ok(Session::Own(own))
            }
            Err(reason) => {
                *failed = Some(Failed { at: Instant::now(), key: key.clone(), reason });
                Err(reason)
            }
        }
    }

    /// Those that no longer fit end by themselves with their last stream. One of them may end now.
    fn add(&self, tunnel: &Arc<Tunnel>, key: &PoolKey) {
        let now = SystemTime::now();
        self.open.rcu(|all| {
            let usable = all.iter().filter(|one| one.is_usable(key, now));
            usable.chain([tunnel]).cloned().collect::<Vec<_>>()
        });
    }

    fn is_alone(&self) -> bool {
        self.alone.load().as_ref().is_some_and(|since| since.elapsed() < ALONE)
    }

    fn leave_alone(&self) {
        self.alone.store(Some(Arc::new(Instant::now())));
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Response, StatusCode};

    use super::{Found, Opened, Session, Tunnels};
    use crate::{
        CloseReason,
        tunnels::tests::{end_of, key, of_places},
    };

    #[tokio::test]
    async fn a_session_that_ends_while_another_is_opened_does_not_come_back() {
        let tunnels = Tunnels::with("127.0.0.1:9".parse().unwrap());
        let (first, far) = of_places(0, tunnels.open()).await;
        tunnels.add(&first, &key());
        let far = std::sync::Mutex::new(Some(far));
        let open = || async {
            drop(far.lock().unwrap().take());
            end_of(&first).await;
            Ok(Opened::Shared(of_places(1, tunnels.open()).await.0))
        };
        let key = key();
        let found = tunnels.session(&key, &open);
        let found = tokio::time::timeout(Duration::from_secs(8), found).await.unwrap();
        assert!(
            matches!(found, Ok(Session::New(second)) if !std::sync::Arc::ptr_eq(&second, &first))
        );
        assert_eq!(tunnels.open.load().len(), 1);
    }

    #[tokio::test]
    async fn a_sidecar_that_does_not_know_itself_by_that_address_is_not_asked_again() {
        // decision 23: others are not to pay for it
        let tunnels = Tunnels::with("127.0.0.1:9".parse().unwrap());
        let (tunnel, mut callee) = of_places(2, tunnels.open()).await;
        tunnels.add(&tunnel, &key());
        let (key, nothing) = (key(), || async { Err(CloseReason::ConnectFailed) });
        let refuse = async {
            let (_, mut respond) = callee.accept().await.unwrap().unwrap();
            let unknown = Response::builder().status(StatusCode::BAD_REQUEST);
            respond.send_response(unknown.body(()).unwrap(), true).unwrap();
            callee.accept().await; // it has to leave
        };
        let found = tokio::select! {
            found = tunnels.stream(&key, nothing) => found,
            () = refuse => panic!("asked again"),
        };
        assert!(matches!(found, Ok(Found::Full)), "{found:?}");
        // Nobody hears this one.
        let again = tunnels.stream(&key, nothing);
        let again = tokio::time::timeout(Duration::from_secs(4), again).await.unwrap();
        assert!(matches!(again, Ok(Found::Full)), "{again:?}");
    }
}
