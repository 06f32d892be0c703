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
use tokio::io::{AsyncRead, AsyncWrite};
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

/// What one stream may have of ours in memory before the other side takes it.
const MAX_HELD: usize = 128 * 1024;

/// One HTTP/2 connection on which we call.
#[derive(Debug)]
pub(crate) struct Streams {
    sender: SendRequest<Passing>,
    /// No call begins on it any more.
    closed: Arc<AtomicBool>,
    /// On it now, to the end of their answers.
    calls: Arc<AtomicUsize>,
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
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_LIST)
        .max_send_buffer_size(MAX_HELD)
        .handshake::<_, Passing>(io);
    let (sender, mut connection) = handshake.await.map_err(|_| CloseReason::ConnectFailed)?;
    let pings = connection.ping_pong();
    let (closed, calls) = (Arc::new(AtomicBool::new(false)), Arc::<AtomicUsize>::default());
    let (over, busy) = (closed.clone(), calls.clone());
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
    Ok(Streams { sender, closed, calls, drain: drain.services() })
}

/// Resolves when calls are on a connection and nobody answers there.
async fn silent(mut pings: PingPong, calls: &AtomicUsize, pulse: Pulse) {
    loop {
        tokio::time::sleep(pulse.every).await;
        if calls.load(Ordering::Relaxed) == 0 {
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
    pub(super) const fn calls(&self) -> &Arc<AtomicUsize> {
        &self.calls
    }

    /// Sends `request`, and waits for the head of its answer for as long as the caller does.
    pub(super) async fn call(&self, request: Request<Body>) -> Result<Response<Received>, Unsent> {
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
        let sending = if is_whole { None } else { self.pump(Pump::new(body, stream)).await };
        let answer = match patience {
            Some(patience) => tokio::time::timeout(patience, answer).await,
            None => Ok(answer.await),
        };
        // What is left of the body goes on beside the answer.
        drop(sending.map(DropGuard::disarm));
        match answer {
            Ok(Ok(answer)) => received(answer),
            Ok(Err(error)) => Err(Unsent::Gone(SendError::reset(&error))),
            Err(_) => Err(Unsent::Gone(SendError::unknown(CloseReason::UpstreamTimeout))),
        }
    }

    /// Sends as much of a body as there is, and the rest in a task, which ends with what is returned.
    async fn pump(&self, mut pump: Pump) -> Option<DropGuard> {
        let is_done = poll_fn(|cx| Poll::Ready(Pin::new(&mut pump).poll(cx).is_ready())).await;
        if is_done {
            return None;
        }
        let unwanted = CancellationToken::new();
        let guard = unwanted.clone().drop_guard();
        self.drain.spawn(async move {
            tokio::select! {
                () = pump => {}
                () = unwanted.cancelled() => {}
            }
        });
        Some(guard)
    }
}

/// The one reading of an answer.
fn received(answer: Response<RecvStream>) -> Result<Response<Received>, Unsent> {
    if check_answer(&answer, None).is_err() {
        return Err(Unsent::Gone(SendError::unknown(CloseReason::AnswerAmbiguous)));
    }
    let (head, stream) = answer.into_parts();
    let body = Received::stream(stream, &head.headers);
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
    use std::{sync::atomic::Ordering, time::Duration};

    use h2::{Reason, server::SendResponse};
    use http::{Request, Response, Version};
    use http_body_util::BodyExt as _;
    use tokio::io::{DuplexStream, duplex};

    use super::{Body, Pulse, SendError, Streams, Unsent, handshake, handshake_h2};
    use crate::{AccessLog, CloseReason, Direction, Drain, Flows, Kind, http::kept::tests::body};

    type Callee = h2::server::Connection<DuplexStream, bytes::Bytes>;

    async fn connected() -> (Streams, Callee) {
        let (far, near) = duplex(64 * 1024);
        let drain = Drain::default();
        let callee = async { h2::server::handshake(far).await.unwrap() };
        let (streams, callee) = tokio::join!(handshake_h2(near, &drain, None), callee);
        (streams.unwrap(), callee)
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
            called = streams.call(request()) => called,
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
            let Err(Unsent::Returned(back)) = streams.call(request()).await else { continue };
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
            let mut call = Box::pin(streams.call(request));
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
        streams.calls().fetch_add(1, Ordering::Relaxed);
        let called = tokio::time::timeout(Duration::from_secs(8), streams.call(request())).await;
        let Err(Unsent::Gone(error)) = called.unwrap() else { panic!("it was answered") };
        assert_eq!(error, SendError::unknown(CloseReason::UpstreamFailed));
        assert!(streams.is_closed());
    }
}
