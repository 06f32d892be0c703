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
        request: Request<Body>,
        place: Place,
    ) -> Result<Response<Received>, Unsent> {
        let mut sender = self.sender.clone();
        // After a GOAWAY, too.
        if poll_fn(|cx| sender.poll_ready(cx)).await.is_err() {
            self.closed.store(true, Ordering::Relaxed);
            return Err(Unsent::Returned(Box::new(request)));
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
mod tests {
    use std::time::Duration;

    use h2::{Reason, server::SendResponse};
    use http::{Request, Response, Version};
    use http_body_util::BodyExt as _;
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

    use super::{Body, Pulse, Received, SendError, Streams, Unsent, handshake, handshake_h2};
    use crate::{AccessLog, CloseReason, Direction, Drain, Flows, Kind, http::kept::tests::body};

    type Callee = h2::server::Connection<DuplexStream, bytes::Bytes>;

    async fn connected() -> (Streams, Callee) {
        let (far, near) = duplex(64 * 1024);
        let drain = Drain::default();
        let callee = async { h2::server::handshake(far).await.unwrap() };
        let (streams, callee) = tokio::join!(handshake_h2(near, &drain, None), callee);
        (streams.unwrap(), callee)
    }

    async fn called(
        streams: &Streams,
        request: Request<Body>,
    ) -> Result<Response<Received>, Unsent> {
        let place = streams.place().await;
        streams.call(request, place).await
    }

    fn request() -> Request<Body> {
        Request::post("http://payments/v1/payments").body(Body::ours("money")).unwrap()
    }

    /// What is told of a call whose callee does this with it.
    async fn told(answer: impl FnOnce(SendResponse<bytes::Bytes>)) -> Result<u16, SendError> {
        let (streams, mut callee) = connected().await;
        let serve = async {
            let (_, respond) = callee.accept().await.unwrap().unwrap();
            answer(respond);
            callee.accept().await; // what was said has to be sent
        };
        let called = tokio::select! {
            called = called(&streams, request()) => called,
            () = serve => panic!("the connection ended"),
        };
        match called {
            Ok(answer) => Ok(answer.status().as_u16()),
            Err(Unsent::Gone(error)) => Err(error),
            Err(Unsent::Returned(_)) => panic!("it was sent"),
        }
    }

    #[tokio::test]
    async fn what_a_callee_refuses_was_not_done_and_of_what_it_breaks_off_nobody_knows() {
        let refused = told(|mut respond| respond.send_reset(Reason::REFUSED_STREAM)).await;
        assert_eq!(refused, Err(SendError::not_done(CloseReason::UpstreamFailed)));
        for reason in [Reason::INTERNAL_ERROR, Reason::CANCEL, Reason::NO_ERROR] {
            let told = told(|mut respond| respond.send_reset(reason)).await;
            assert_eq!(told, Err(SendError::unknown(CloseReason::UpstreamFailed)), "{reason}");
        }
        let said = told(|mut respond| {
            let head = Response::builder().header("content-length", "2");
            respond.send_response(head.status(204).body(()).unwrap(), true).unwrap();
        });
        // HTTP-23
        assert_eq!(said.await, Err(SendError::unknown(CloseReason::AnswerAmbiguous)));
    }

    #[tokio::test]
    async fn a_call_on_a_connection_that_is_over_comes_back_whole() {
        let (streams, callee) = connected().await;
        drop(callee);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(8);
        loop {
            assert!(tokio::time::Instant::now() < deadline);
            let Err(Unsent::Returned(back)) = called(&streams, request()).await else { continue };
            assert!(streams.is_closed());
            let body = back.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, "money");
            return;
        }
    }

    #[tokio::test]
    async fn a_request_that_breaks_off_does_not_look_whole() {
        const HALF: &str = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nmoney";
        for caller_waits in [true, false] {
            let (streams, mut callee) = connected().await;
            let (half, _tasks, app) = body(HALF).await;
            let (log, _writer) = AccessLog::start(std::io::sink()).unwrap();
            let from = "127.0.0.1:1".parse().unwrap();
            let flow = Flows::new(log).open(Kind::Call, Direction::Outbound, from);
            let half = Body::request((half, Version::HTTP_11), flow.progress.clone(), None);
            let request = Request::post("http://payments/v1/payments").body(half).unwrap();
            let mut call = Box::pin(called(&streams, request));
            let serve = async {
                let (request, _respond) = callee.accept().await.unwrap().unwrap();
                let mut body = request.into_body();
                let reset = async {
                    assert_eq!(body.data().await.unwrap().unwrap(), "money");
                    if caller_waits {
                        drop(app);
                    }
                    body.data().await.unwrap().unwrap_err().reason()
                };
                tokio::select! {
                    reset = reset => reset,
                    _ = callee.accept() => panic!("the connection ended"),
                }
            };
            let reset = if caller_waits {
                let (reset, told) = tokio::join!(serve, call);
                assert!(told.is_err());
                reset
            } else {
                let sent = tokio::time::timeout(Duration::from_millis(1), &mut call).await;
                assert!(sent.is_err());
                drop(call);
                serve.await
            };
            // Some servers take CANCEL and NO_ERROR for the end of a body.
            assert_eq!(reset, Some(Reason::INTERNAL_ERROR), "{caller_waits}");
        }
    }

    /// A callee that takes one call at a time, once that is known.
    async fn narrow() -> (Streams, Callee) {
        let (far, near) = duplex(1024 * 1024);
        let drain = Drain::default();
        let callee = async {
            h2::server::Builder::new().max_concurrent_streams(1).handshake(far).await.unwrap()
        };
        let (streams, mut callee) = tokio::join!(handshake_h2(near, &drain, None), callee);
        let streams = streams.unwrap();
        let serve = async {
            let (_, mut respond) = callee.accept().await.unwrap().unwrap();
            respond.send_response(Response::new(()), true).unwrap();
            callee.accept().await;
        };
        tokio::select! {
            called = called(&streams, request()) => assert!(called.is_ok()),
            () = serve => panic!("the connection ended"),
        }
        (streams, callee)
    }

    fn approval(path: &str) -> Request<Body> {
        Request::post(format!("http://payments{path}")).body(Body::ours("")).unwrap()
    }

    #[tokio::test]
    async fn a_call_that_was_given_up_while_it_waited_for_its_place_is_never_sent() {
        // AZ-10: its permission may be gone.
        let (streams, mut callee) = narrow().await;
        let first = called(&streams, approval("/first"));
        let mut first = Box::pin(async { first.await.is_ok() });
        let (_, mut respond) = tokio::select! {
            _ = &mut first => panic!("it was answered"),
            accepted = callee.accept() => accepted.unwrap().unwrap(),
        };
        let second = called(&streams, approval("/second"));
        assert!(tokio::time::timeout(Duration::from_millis(1), second).await.is_err());
        respond.send_response(Response::new(()), true).unwrap();
        let third = async {
            assert!(first.await);
            called(&streams, approval("/third")).await.is_ok()
        };
        let serve = async {
            let (request, mut respond) = callee.accept().await.unwrap().unwrap();
            respond.send_response(Response::new(()), true).unwrap();
            let path = request.uri().path().to_owned();
            tokio::select! {
                biased;
                _ = callee.accept() => panic!("another call: {path} was not the last"),
                () = std::future::ready(()) => path,
            }
        };
        let both = async {
            tokio::join!(serve, async { tokio::time::timeout(Duration::from_secs(8), third).await })
        };
        let both = Box::pin(tokio::time::timeout(Duration::from_secs(16), both));
        let (path, _) = both.await.unwrap();
        assert_eq!(path, "/third");
    }

    #[tokio::test]
    async fn the_body_of_a_call_that_came_too_late_goes_no_further() {
        const HALF: &str = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nmoney";
        let (streams, mut callee) = connected().await;
        let (half, _tasks, _app) = body(HALF).await;
        let (log, _writer) = AccessLog::start(std::io::sink()).unwrap();
        let from = "127.0.0.1:1".parse().unwrap();
        let flow = Flows::new(log).open(Kind::Call, Direction::Outbound, from);
        let half = Body::request((half, Version::HTTP_11), flow.progress.clone(), None);
        let request = Request::post("http://payments/v1/payments");
        let request = request.header("content-type", "application/grpc");
        let request = request.header("grpc-timeout", "50m").body(half).unwrap();
        let serve = async {
            let (request, _respond) = callee.accept().await.unwrap().unwrap();
            let mut body = request.into_body();
            let reset = async {
                assert_eq!(body.data().await.unwrap().unwrap(), "money");
                body.data().await.unwrap().unwrap_err().reason()
            };
            tokio::select! {
                reset = reset => reset,
                _ = callee.accept() => panic!("the connection ended"),
            }
        };
        let both = async { tokio::join!(called(&streams, request), serve) };
        let (told, reset) = tokio::time::timeout(Duration::from_secs(8), both).await.unwrap();
        let Err(Unsent::Gone(error)) = told else { panic!("it was answered") };
        assert_eq!(error, SendError::unknown(CloseReason::UpstreamTimeout));
        assert_eq!(reset, Some(Reason::INTERNAL_ERROR));
    }

    #[tokio::test]
    async fn the_rest_of_a_body_goes_on_beside_an_answer_that_has_begun() {
        const HALF: &str = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nmoney";
        let (streams, mut callee) = connected().await;
        let (half, _tasks, mut app) = body(HALF).await;
        let (log, _writer) = AccessLog::start(std::io::sink()).unwrap();
        let from = "127.0.0.1:1".parse().unwrap();
        let flow = Flows::new(log).open(Kind::Call, Direction::Outbound, from);
        let half = Body::request((half, Version::HTTP_11), flow.progress.clone(), None);
        let request = Request::post("http://payments/v1/payments").body(half).unwrap();
        let serve = async {
            let (request, mut respond) = callee.accept().await.unwrap().unwrap();
            let mut body = request.into_body();
            let rest = async {
                assert_eq!(body.data().await.unwrap().unwrap(), "money");
                let _answer = respond.send_response(Response::new(()), false).unwrap();
                body.data().await.unwrap().unwrap()
            };
            tokio::select! {
                rest = rest => rest,
                _ = callee.accept() => panic!("the connection ended"),
            }
        };
        let call = async {
            let answer = called(&streams, request).await;
            app.write_all(b"spent").await.unwrap();
            answer
        };
        let both = async { tokio::join!(call, serve) };
        let (answer, rest) = tokio::time::timeout(Duration::from_secs(8), both).await.unwrap();
        assert!(answer.is_ok());
        assert_eq!(rest, "spent");
    }

    #[tokio::test]
    async fn a_connection_on_which_nobody_answers_a_ping_is_given_up_while_calls_are_on_it() {
        const SOON: Duration = Duration::from_millis(10);
        let (far, near) = duplex(64 * 1024);
        let (drain, pulse) = (Drain::default(), Pulse { every: SOON, answer: SOON });
        let callee = async { h2::server::handshake(far).await.unwrap() };
        let streams = handshake(near, &drain, None, pulse);
        let (streams, callee) = tokio::join!(streams, callee);
        let (streams, _silent) = (streams.unwrap(), callee);
        // Nobody waits for anything.
        let nothing = tokio::time::timeout(SOON * 20, std::future::pending::<()>());
        assert!(nothing.await.is_err());
        assert!(!streams.is_closed());
        let called =
            tokio::time::timeout(Duration::from_secs(8), called(&streams, request())).await;
        let Err(Unsent::Gone(error)) = called.unwrap() else { panic!("it was answered") };
        assert_eq!(error, SendError::unknown(CloseReason::UpstreamFailed));
        assert!(streams.is_closed());
    }
}
