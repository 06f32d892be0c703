//! Calls as streams of one HTTP/2 connection, each driven by whoever waits for its answer: no task
//! and no queue lies between a call and its connection.

use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use h2::{Ping, PingPong, RecvStream, client::SendRequest};
use http::{Method, Request, Response, header, request::Parts};
use http_body::Body as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    body::Body,
    canonical::check_answer,
    client::{Unsent, drive},
    fate::SendError,
    passing::Passing,
    patience::patience,
    pump::Pump,
    received::Received,
};
use crate::{CloseReason, Drain, reproof::Renewal};

/// How a connection shows that somebody is there.
#[derive(Clone, Copy, Debug)]
struct Pulse {
    /// The pause between pings while there are calls.
    every: Duration,
    /// How long an answer may take.
    answer: Duration,
}

const PULSE: Pulse = Pulse { every: Duration::from_secs(30), answer: Duration::from_secs(10) };

/// How far a callee may run ahead of a slow caller (RES-05): per stream, and per connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// The largest head of an answer.
const MAX_LIST: u32 = 64 * 1024;

/// How often whoever waits for a place looks for one.
const LOOK: Duration = Duration::from_millis(100);

/// Calls at once, until the other side has said how many it takes.
const AT_FIRST: usize = 100;

/// What one stream may have of ours in memory before the other side takes it.
const MAX_HELD: usize = 128 * 1024;

/// One HTTP/2 connection on which we call.
#[derive(Debug)]
pub(crate) struct Streams {
    sender: SendRequest<Passing>,
    /// No call begins on it any more.
    closed: Arc<AtomicBool>,
    places: Arc<Places>,
    drain: Drain,
}

/// What the calls on a connection share.
#[derive(Debug, Default)]
struct Places {
    /// On it now, to the end of their bodies.
    taken: AtomicUsize,
    freed: Notify,
    /// Something was read since somebody last looked.
    is_heard: AtomicBool,
}

/// A call's place on a connection, until both of its bodies have ended. Goes with the answer, as one
/// of its extensions.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<Taken>);

#[derive(Debug)]
struct Taken(Arc<Places>);

impl Place {
    /// The other side has said something.
    pub(super) fn hears(&self) {
        self.0.0.is_heard.store(true, Ordering::Relaxed);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.freed.notify_one();
    }
}

/// Speaks HTTP/2 as a client on `io`, until its authority ends. A connection to our own workload has
/// none to renew.
pub(crate) async fn handshake_h2(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    drain: &Drain,
    renewal: Option<Renewal>,
) -> Result<Streams, CloseReason> {
    handshake(io, drain, renewal, PULSE).await
}

async fn handshake(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    drain: &Drain,
    renewal: Option<Renewal>,
    pulse: Pulse,
) -> Result<Streams, CloseReason> {
    let handshake = h2::client::Builder::new()
        .enable_push(false)
        .initial_max_send_streams(AT_FIRST)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_LIST)
        .max_send_buffer_size(MAX_HELD)
        .handshake::<_, Passing>(io);
    let (sender, mut connection) = handshake.await.map_err(|_| CloseReason::ConnectFailed)?;
    let pings = connection.ping_pong();
    let (closed, places) = (Arc::new(AtomicBool::new(false)), Arc::<Places>::default());
    let (over, busy) = (closed.clone(), places.clone());
    let whole = async move {
        let silent = async {
            match pings {
                Some(pings) => silent(pings, &busy, pulse).await,
                None => pending().await,
            }
        };
        let end = tokio::select! {
            end = connection => end.map_err(|error| error.to_string()),
            () = silent => Err("no answer to a ping".to_owned()),
        };
        over.store(true, Ordering::Relaxed);
        end
    };
    let authority = renewal.as_ref().map(|renewal| renewal.authority.clone());
    let kept = async move {
        let Some(mut renewal) = renewal else { return pending::<Infallible>().await };
        renewal.authority.retired().await; // new calls have gone elsewhere: these last
        renewal.keep().await
    };
    drive(drain, authority, kept, whole);
    Ok(Streams { sender, closed, places, drain: drain.services() })
}

/// Resolves when calls are on a connection and nobody answers there.
async fn silent(mut pings: PingPong, places: &Places, pulse: Pulse) {
    loop {
        tokio::time::sleep(pulse.every).await;
        let is_heard = places.is_heard.swap(false, Ordering::Relaxed);
        if is_heard || places.taken.load(Ordering::Relaxed) == 0 {
            continue;
        }
        match tokio::time::timeout(pulse.answer, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => pending().await, // the connection tells it
            Err(_) => return,
        }
    }
}

impl Streams {
    /// Whether no call can begin on it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// How many calls are on it.
    pub(super) fn calls(&self) -> usize {
        self.places.taken.load(Ordering::Relaxed)
    }

    /// Whether the other side takes another call now.
    pub(super) fn has_room(&self) -> bool {
        self.calls() < self.sender.current_max_send_streams()
    }

    /// A place, as soon as there is one. We wait here and not in h2, which sends what waits there also
    /// when its caller has given it up (AZ-10).
    pub(super) async fn place(&self) -> Place {
        loop {
            if let Some(place) = self.take() {
                return place;
            }
            // Nobody tells that the other side takes more now, or that the connection is over.
            let _ = tokio::time::timeout(LOOK, self.places.freed.notified()).await;
        }
    }

    fn take(&self) -> Option<Place> {
        // What is closed takes anybody, and says so.
        let most =
            if self.is_closed() { usize::MAX } else { self.sender.current_max_send_streams() };
        let next = |taken: usize| (taken < most).then(|| taken.saturating_add(1));
        let taken = &self.places.taken;
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        Some(Place(Arc::new(Taken(self.places.clone()))))
    }

    /// Sends `request`, and waits for the head of its answer for as long as the caller does.
    pub(super) async fn call(
        &self,
        request: Box<Request<Body>>,
        place: Place,
    ) -> Result<Response<Received>, Unsent> {
        let mut sender = self.sender.clone();
        // After a GOAWAY, too.
        if poll_fn(|cx| sender.poll_ready(cx)).await.is_err() {
            self.closed.store(true, Ordering::Relaxed);
            return Err(Unsent::Returned(request));
        }
        let patience = patience(request.headers());
        let (mut head, body) = request.into_parts();
        announce(&mut head, &body);
        let is_whole = body.is_end_stream();
        let sent = sender.send_request(Request::from_parts(head, ()), is_whole);
        // Nothing of it was sent.
        let not_done = |_| Unsent::Gone(SendError::not_done(CloseReason::UpstreamFailed));
        let (answer, stream) = sent.map_err(not_done)?;
        let sending =
            if is_whole { None } else { self.pump(Pump::new(body, stream), &place).await };
        let answer = match patience {
            Some(patience) => tokio::time::timeout(patience, answer).await,
            None => Ok(answer.await),
        };
        let answer = match answer {
            Ok(Ok(answer)) => received(answer, place)?,
            Ok(Err(error)) => return Err(Unsent::Gone(SendError::reset(&error))),
            Err(_) => return Err(Unsent::Gone(SendError::unknown(CloseReason::UpstreamTimeout))),
        };
        // What is left of the body goes on beside the answer, and with nothing else.
        drop(sending.map(DropGuard::disarm));
        Ok(answer)
    }

    /// Sends as much of a body as there is, and the rest in a task, which ends with what is returned.
    async fn pump(&self, mut pump: Pump, place: &Place) -> Option<DropGuard> {
        let is_done = poll_fn(|cx| Poll::Ready(Pin::new(&mut pump).poll(cx).is_ready())).await;
        if is_done {
            return None;
        }
        let unwanted = CancellationToken::new();
        let guard = unwanted.clone().drop_guard();
        let place = place.clone();
        self.drain.spawn(async move {
            let _taken = place;
            tokio::select! {
                () = pump => {}
                () = unwanted.cancelled() => {}
            }
        });
        Some(guard)
    }
}

/// The one reading of an answer.
fn received(answer: Response<RecvStream>, place: Place) -> Result<Response<Received>, Unsent> {
    if check_answer(&answer, None).is_err() {
        return Err(Unsent::Gone(SendError::unknown(CloseReason::AnswerAmbiguous)));
    }
    place.hears();
    let (mut head, stream) = answer.into_parts();
    let body = Received::stream(stream, &head.headers, place.clone());
    head.extensions.insert(place);
    Ok(Response::from_parts(head, body))
}

/// Says how long a body is, where that is known and the method means something by it
/// (RFC 9110 §8.6).
fn announce(head: &mut Parts, body: &Body) {
    let Some(length) = body.size_hint().exact() else { return };
    let has_meaning =
        !matches!(head.method, Method::GET | Method::HEAD | Method::DELETE | Method::CONNECT);
    if length != 0 || has_meaning {
        head.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
}

#[cfg(test)]
mod tests;
