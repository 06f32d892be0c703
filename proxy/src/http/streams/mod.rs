//! Calls as streams of one HTTP/2 connection, each driven by whoever waits for its answer: no task
//! and no queue lies between a call and its connection.

use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use h2::{RecvStream, client::SendRequest};
use http::{Method, Request, Response, header, request::Parts};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};

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
use crate::{
    CloseReason, Drain,
    places::{FRAMING, PULSE, Place, Places, Pulse, RESET_KEPT, RESETS, silent},
    reproof::Renewal,
    seldom::Seldom,
};

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
        .data_frame_budget(FRAMING)
        .max_concurrent_reset_streams(RESETS)
        .reset_stream_duration(RESET_KEPT)
        .max_local_error_reset_streams(Some(RESETS))
        .handshake::<_, Passing>(io);
    let (sender, mut connection) = handshake.await.map_err(|_| CloseReason::ConnectFailed)?;
    let pings = connection.ping_pong();
    let (closed, places) = (Arc::new(AtomicBool::new(false)), Arc::<Places>::default());
    let (over, busy) = (closed.clone(), places.clone());
    let whole = async move {
        let end = tokio::select! {
            end = connection => end.map_err(|error| error.to_string()),
            () = Seldom::of(silent(pings, &busy, pulse)) => Err("no answer to a ping".to_owned()),
        };
        over.store(true, Ordering::Relaxed);
        end
    };
    let authority = renewal.as_ref().map(|renewal| renewal.authority.clone());
    let kept = async move {
        let Some(mut renewal) = renewal else { return pending::<Infallible>().await };
        // From the beginning, not only for those that last: a root may be replaced at any time.
        renewal.keep().await
    };
    drive(drain, authority, kept, whole);
    Ok(Streams { sender, closed, places, drain: drain.services() })
}

impl Streams {
    /// Whether no call can begin on it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// How many calls are on it.
    pub(super) fn calls(&self) -> usize {
        self.places.taken()
    }

    /// Whether the other side takes another call now.
    pub(super) fn has_room(&self) -> bool {
        self.calls() < self.sender.current_max_send_streams()
    }

    /// Resolves when there may be a place again.
    pub(super) async fn changed(&self) {
        // Nobody tells that the other side takes more now, or that the connection is over.
        let _ = tokio::time::timeout(LOOK, self.places.freed()).await;
    }

    /// A place, if there is one now.
    pub(super) fn take(&self) -> Option<Place> {
        // What is closed takes anybody, and says so.
        let most =
            if self.is_closed() { usize::MAX } else { self.sender.current_max_send_streams() };
        self.places.take(most)
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
        let mut sending = (!is_whole).then(|| Pump::new(body, stream));
        let mut answer = pin!(answer);
        let answered = poll_fn(|cx| {
            if sending.as_mut().is_some_and(|pump| Pin::new(pump).poll(cx).is_ready()) {
                sending = None;
            }
            answer.as_mut().poll(cx)
        });
        let answer = match patience {
            Some(patience) => tokio::time::timeout(patience, answered).await,
            None => Ok(answered.await),
        };
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(Unsent::Gone(SendError::reset(&error))),
            Err(_) => return Err(Unsent::Gone(SendError::unknown(CloseReason::UpstreamTimeout))),
        };
        let rest = sending.map(|pump| (pump.alone(), place.clone()));
        let answer = received(answer, place)?;
        // Most bodies are sent before there is an answer. The rest of another goes on beside it.
        if let Some((pump, place)) = rest {
            self.drain.spawn(async move {
                pump.await;
                drop(place);
            });
        }
        Ok(answer)
    }
}

/// The one reading of an answer.
fn received(answer: Response<RecvStream>, place: Place) -> Result<Response<Received>, Unsent> {
    if check_answer(&answer, None).is_err() {
        return Err(Unsent::Gone(SendError::unknown(CloseReason::AnswerAmbiguous)));
    }
    place.hears();
    let (head, stream) = answer.into_parts();
    let body = Received::stream(stream, &head.headers, place);
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
