//! One session that many TCP connections share, from our side: it opens streams, and ends with what it
//! stands on.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use h2::{Reason, client::SendRequest};
use http::{Method, Request, StatusCode, Version, uri};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    LAST_WORDS, MAX_FRAME, MAX_HEAD, MAX_HELD, SESSION_WINDOW, STREAM_WINDOW, STREAMS,
    stream::Stream,
};
use crate::{CloseReason, Drain, authority::Authority, reproof::Renewal, route::PoolKey};

/// How long the answer to a CONNECT may take: the other side connects to its workload meanwhile.
const ANSWER: Duration = Duration::from_secs(8);

/// The sessions with one sidecar.
pub(super) type Open = ArcSwap<Vec<Arc<Tunnel>>>;

/// One session, and what it was opened for.
#[derive(Debug)]
pub(super) struct Tunnel {
    sender: SendRequest<Bytes>,
    key: PoolKey,
    authority: Authority,
    streams: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

/// A stream that is open, with its place on the session.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) stream: Stream,
    /// What its session stands on.
    pub(crate) authority: Authority,
    _place: Place,
}

/// Why there is no stream. No byte of the app's has left us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoStream {
    /// The callee's sidecar says no, whichever session asks.
    Refused(CloseReason),
    /// There is no session, or none that answers.
    Failed(CloseReason),
}

impl Tunnel {
    /// Speaks HTTP/2 as a client on `io`, until what keeps it open ends.
    pub(super) async fn over(
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        (drain, renewal): (&Drain, Renewal),
        key: &PoolKey,
        open: Weak<Open>,
    ) -> Result<Arc<Self>, CloseReason> {
        let mut http2 = h2::client::Builder::new();
        http2
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(SESSION_WINDOW)
            .max_frame_size(MAX_FRAME)
            .max_header_list_size(MAX_HEAD)
            .max_send_buffer_size(MAX_HELD);
        let opened = http2.handshake(io).await;
        let (sender, session) = opened.map_err(|_| CloseReason::ConnectFailed)?;
        let authority = renewal.authority.clone();
        let (streams, is_over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let end = End { is_over: is_over.clone(), open };
        drive(drain, renewal, session, end);
        Ok(Arc::new(Self { sender, key: key.clone(), authority, streams, is_over }))
    }

    /// Whether a new session for `key` would be allowed what this one is (AZ-13).
    pub(super) fn is_usable(&self, key: &PoolKey, now: SystemTime) -> bool {
        !self.is_over.load(Ordering::Relaxed)
            && self.key == *key
            && now < self.authority.retire_at()
    }

    /// How many streams it has.
    pub(super) fn taken(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Streams at once: no more than the other side said that it takes, so that none waits.
    pub(super) fn places(&self) -> usize {
        STREAMS.min(self.sender.current_max_send_streams())
    }

    /// Opens a stream. No byte of the app's leaves before the other side has said 200.
    pub(super) async fn open(&self, named: &uri::Authority) -> Result<Taken, Unopened> {
        let place = Place::on(&self.streams);
        let mut request = Request::new(());
        (*request.method_mut(), *request.version_mut()) = (Method::CONNECT, Version::HTTP_2);
        *request.uri_mut() = named.clone().into();
        let asked = self.sender.clone().send_request(request, false);
        let answered = async {
            let (answer, send) = asked?;
            Ok::<_, h2::Error>((answer.await?, send))
        };
        let (answer, send) = match tokio::time::timeout(ANSWER, answered).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(error)) if error.is_reset() => return Err(Unopened::of_reset(&error)),
            Ok(Err(_)) | Err(_) => {
                self.is_over.store(true, Ordering::Relaxed); // others go elsewhere
                return Err(Unopened::Over);
            }
        };
        if !answer.status().is_success() {
            return Err(Unopened::No(said_by(answer.status())));
        }
        let stream = Stream::new(send, answer.into_body());
        Ok(Taken { stream, authority: self.authority.clone(), _place: place })
    }
}

/// Why a session has no stream for us.
pub(super) enum Unopened {
    /// The session is over, or will be.
    Over,
    /// It takes no more.
    Full,
    /// The other side says so.
    No(NoStream),
}

impl Unopened {
    fn of_reset(error: &h2::Error) -> Self {
        match error.reason() {
            Some(Reason::REFUSED_STREAM) => Self::Full,
            _ => Self::No(NoStream::Failed(CloseReason::UpstreamFailed)),
        }
    }
}

/// What the callee's sidecar says instead of 200.
fn said_by(status: StatusCode) -> NoStream {
    match status {
        StatusCode::FORBIDDEN => NoStream::Refused(CloseReason::PolicyDenied),
        StatusCode::SERVICE_UNAVAILABLE => NoStream::Failed(CloseReason::ConnectFailed),
        _ => NoStream::Failed(CloseReason::UpstreamFailed),
    }
}

/// A stream's place on a session, taken until the stream has ended.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Place {
    fn on(streams: &Arc<AtomicUsize>) -> Self {
        streams.fetch_add(1, Ordering::Relaxed);
        Self(streams.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a session that ends is taken out of. Holds no session open.
struct End {
    is_over: Arc<AtomicBool>,
    open: Weak<Open>,
}

impl End {
    fn reached(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        let Some(open) = self.open.upgrade() else { return };
        let is_other = |one: &&Arc<Tunnel>| !Arc::ptr_eq(&one.is_over, &self.is_over);
        open.rcu(|all| all.iter().filter(is_other).cloned().collect::<Vec<_>>());
    }
}

/// A session runs until nobody has it and its last stream has ended, until its authority ends, or until
/// a drain cuts it.
fn drive(
    drain: &Drain,
    mut renewal: Renewal,
    session: impl Future<Output = Result<(), h2::Error>> + Send + 'static,
    end: End,
) {
    let watch = drain.watch();
    // An idle one holds no drain up: it ends with the listener of its destination.
    drain.spawn(async move {
        let authority = renewal.authority.clone();
        let kept = async {
            authority.retired().await;
            end.reached(); // new streams go elsewhere: these last
            renewal.keep().await
        };
        let mut session = std::pin::pin!(session);
        tokio::select! {
            () = watch.cut() => {
                // Its streams are being cut as well: what they said last leaves.
                let _ = tokio::time::timeout(LAST_WORDS, session).await;
            }
            reason = authority.ended() => {
                tracing::info!(reason = reason.as_str(), "session with a peer cut");
            }
            never = kept => match never {},
            ended = session.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "session with a peer ended");
                }
            }
        }
        end.reached();
    });
}
