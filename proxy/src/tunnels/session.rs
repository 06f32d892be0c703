//! One session that many TCP connections share, from our side: it opens streams, and ends with what it
//! stands on.

use std::{
    convert::Infallible,
    future::pending,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use h2::{
    Reason,
    client::{Builder, Connection, SendRequest},
};
use http::{Method, Request, StatusCode, Version, uri};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    LAST_WORDS, MAX_FRAME, MAX_HEAD, MAX_HELD, MOST_BROKEN, SESSION_WINDOW, STREAM_WINDOW, STREAMS,
    stream::Stream,
};
use crate::{
    CloseReason, Drain,
    authority::{Authority, ended},
    places::{FRAMING, PULSE, Places, Pulse, RESET_KEPT, RESETS, silent},
    reproof::Renewal,
    route::PoolKey,
};

/// How long the answer to a CONNECT may take: the other side connects to its workload meanwhile.
const ANSWER: Duration = Duration::from_secs(8);

/// The sessions with one sidecar.
pub(super) type Open = ArcSwap<Vec<Arc<Tunnel>>>;

/// One session, and what it was opened for.
#[derive(Debug)]
pub(super) struct Tunnel {
    sender: SendRequest<Bytes>,
    key: PoolKey,
    pub(super) authority: Authority,
    streams: Arc<Places>,
    is_over: Arc<AtomicBool>,
    /// How long the answer to a CONNECT may take.
    answer: Duration,
}

/// A stream that is open.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) stream: Stream,
    /// What its session stands on.
    pub(crate) authority: Authority,
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
        Self::beating(io, (drain, renewal), key, open, (PULSE, ANSWER)).await
    }

    /// The same, with another pulse, and another time for the answer to a CONNECT.
    pub(super) async fn beating(
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        (drain, renewal): (&Drain, Renewal),
        key: &PoolKey,
        open: Weak<Open>,
        (pulse, answer): (Pulse, Duration),
    ) -> Result<Arc<Self>, CloseReason> {
        let opened = builder().handshake(io).await;
        let (sender, session) = opened.map_err(|_| CloseReason::ConnectFailed)?;
        let authority = renewal.authority.clone();
        let (streams, is_over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let end = End { is_over: is_over.clone(), open };
        drive(drain, renewal, session, (Arc::clone(&streams), pulse), end);
        Ok(Arc::new(Self { sender, key: key.clone(), authority, streams, is_over, answer }))
    }

    /// Whether a new session for `key` would be allowed what this one is (AZ-13).
    pub(super) fn is_usable(&self, key: &PoolKey, now: SystemTime) -> bool {
        !self.is_over.load(Ordering::Relaxed)
            && self.streams.broken() < MOST_BROKEN
            && self.key == *key
            && now < self.authority.retire_at()
    }

    /// How many streams it has.
    pub(super) fn taken(&self) -> usize {
        self.streams.taken()
    }

    /// Streams at once: no more than the other side said that it takes, so that none waits in h2, which
    /// sends it also when nobody wants it any more (AZ-10).
    pub(super) fn places(&self) -> usize {
        STREAMS.min(self.sender.current_max_send_streams())
    }

    /// Opens a stream. No byte of the app's leaves before the other side has said 200.
    pub(super) async fn open(&self, named: &uri::Authority) -> Result<Taken, Unopened> {
        let Some(place) = self.streams.take(self.places()) else { return Err(Unopened::Busy) };
        let mut request = Request::new(());
        (*request.method_mut(), *request.version_mut()) = (Method::CONNECT, Version::HTTP_2);
        *request.uri_mut() = named.clone().into();
        let asked = self.sender.clone().send_request(request, false);
        let answered = async {
            let (answer, send) = asked?;
            Ok::<_, h2::Error>((answer.await?, send))
        };
        let (answer, send) = match tokio::time::timeout(self.answer, answered).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(error)) if error.is_reset() => return Err(Unopened::of_reset(&error)),
            // Others go elsewhere.
            ended => {
                self.is_over.store(true, Ordering::Relaxed);
                return Err(if ended.is_ok() { Unopened::Over } else { Unopened::Late });
            }
        };
        if !answer.status().is_success() {
            return Err(Unopened::by(answer.status()));
        }
        let stream = Stream::new(send, answer.into_body(), place);
        Ok(Taken { stream, authority: self.authority.clone() })
    }
}

/// Why a session has no stream for us.
#[derive(Debug)]
pub(super) enum Unopened {
    /// The session is over, or will be.
    Over,
    /// Nobody answers there.
    Late,
    /// Others took its last place meanwhile.
    Busy,
    /// The other side takes no more.
    Full,
    /// It does not know itself by the address at which we reach it.
    Unknown,
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

    /// What the callee's sidecar says instead of 200.
    fn by(status: StatusCode) -> Self {
        Self::No(match status {
            StatusCode::BAD_REQUEST => return Self::Unknown,
            StatusCode::FORBIDDEN => NoStream::Refused(CloseReason::PolicyDenied),
            StatusCode::SERVICE_UNAVAILABLE => NoStream::Failed(CloseReason::ConnectFailed),
            _ => NoStream::Failed(CloseReason::UpstreamFailed),
        })
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

/// HTTP/2 within our limits.
fn builder() -> Builder {
    let mut http2 = Builder::new();
    http2
        .enable_push(false)
        .initial_max_send_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(SESSION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(MAX_HEAD)
        .max_send_buffer_size(MAX_HELD)
        .data_frame_budget(FRAMING)
        .max_concurrent_reset_streams(RESETS)
        .reset_stream_duration(RESET_KEPT)
        .max_local_error_reset_streams(Some(RESETS));
    http2
}

/// A session runs until nobody has it and its last stream has ended, until its authority ends, until
/// nobody answers, or until a drain cuts it.
fn drive<IO>(
    drain: &Drain,
    mut renewal: Renewal,
    mut session: Connection<IO, Bytes>,
    (streams, pulse): (Arc<Places>, Pulse),
    end: End,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let watch = drain.watch();
    // An idle one holds no drain up: it ends with the listener of its destination.
    drain.spawn(async move {
        let authority = renewal.authority.clone();
        let retired = async {
            authority.retired().await;
            end.reached(); // new streams go elsewhere: these last
            pending::<Infallible>().await
        };
        let pings = session.ping_pong();
        let mut session = std::pin::pin!(session);
        tokio::select! {
            () = watch.cut() => {
                // Its streams are being cut as well: what they said last leaves.
                let _ = tokio::time::timeout(LAST_WORDS, session).await;
            }
            // Its streams rely on that.
            reason = ended(Some(&authority)) => {
                tracing::info!(reason = reason.as_str(), "session with a peer cut");
            }
            never = retired => match never {},
            // From the beginning: a root may be replaced at any time, and its streams are to last.
            never = renewal.keep() => match never {},
            () = silent(pings, &streams, pulse) => {
                tracing::info!("no answer to a ping: session with a peer cut");
            }
            ended = session.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "session with a peer ended");
                }
            }
        }
        end.reached();
    });
}
