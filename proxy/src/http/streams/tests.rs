use std::{
    future::poll_fn,
    time::{Duration, Instant},
};

use h2::{Reason, server::SendResponse};
use http::{Request, Response, Version};
use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncWriteExt as _, DuplexStream, duplex},
    task::JoinSet,
};

use super::{Body, Pulse, Received, SendError, Streams, Unsent, handshake, handshake_h2};
use crate::{
    AccessLog, CloseReason, Direction, Drain, Flows, Kind,
    authority::{Authority, tests::standing},
    flow::Flow,
    http::{cut::Cut, kept::tests::body},
};

type Callee = h2::server::Connection<DuplexStream, bytes::Bytes>;

async fn connected() -> (Streams, Callee) {
    let (far, near) = duplex(64 * 1024);
    let drain = Drain::default();
    let callee = async { h2::server::handshake(far).await.unwrap() };
    let (streams, callee) = tokio::join!(handshake_h2(near, &drain, None), callee);
    (streams.unwrap(), callee)
}

async fn called(streams: &Streams, request: Request<Body>) -> Result<Response<Received>, Unsent> {
    let place = loop {
        match streams.take() {
            Some(place) => break place,
            None => streams.changed().await,
        }
    };
    streams.call(Box::new(request), place).await
}

/// The body of a request of which an app has said half, the app, and what keeps both open.
async fn half() -> (Body, DuplexStream, (JoinSet<()>, Flow)) {
    said(10, None).await
}

/// The body of a request of so many octets, of which an app has said five, and which stands on this; the app, and
/// what keeps both open.
async fn said(
    octets: usize,
    authority: Option<&Authority>,
) -> (Body, DuplexStream, (JoinSet<()>, Flow)) {
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {octets}\r\n\r\n");
    let (body, tasks, app) = body(&(head + "money")).await;
    let (log, _writer) = AccessLog::start(std::io::sink()).unwrap();
    let from = "127.0.0.1:1".parse().unwrap();
    let flow = Flows::new(log).open(Kind::Call, Direction::Outbound, from);
    let body = Body::request((body, Version::HTTP_11), flow.progress.clone(), authority);
    (body, app, (tasks, flow))
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
async fn a_head_and_each_piece_of_a_body_show_that_the_callee_is_there() {
    // RES-03: the answer to a ping may be behind them
    let (streams, mut callee) = connected().await;
    let serve = async {
        let (_, mut respond) = callee.accept().await.unwrap().unwrap();
        let mut says = respond.send_response(Response::new(()), false).unwrap();
        says.send_data("money".into(), true).unwrap();
        callee.accept().await; // what was said has to be sent
    };
    let call = async {
        let mut body = called(&streams, request()).await.ok().unwrap().into_body();
        let head = streams.places.was_heard();
        body.frame().await.unwrap().unwrap();
        (head, streams.places.was_heard())
    };
    let heard = tokio::select! {
        heard = call => heard,
        () = serve => panic!("the connection ended"),
    };
    assert_eq!(heard, (true, true));
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
    for caller_waits in [true, false] {
        let (streams, mut callee) = connected().await;
        let (half, app, _open) = half().await;
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
    let (streams, mut callee) = connected().await;
    let (half, _app, _open) = half().await;
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

/// Answers the next call when the first piece of its body is there, with all of an answer or with its begin,
/// and takes the next piece.
async fn answering_early(callee: &mut Callee, with_all: bool) -> bytes::Bytes {
    let (request, mut respond) = callee.accept().await.unwrap().unwrap();
    let mut body = request.into_body();
    let rest = async {
        assert_eq!(body.data().await.unwrap().unwrap(), "money");
        let _answer = respond.send_response(Response::new(()), with_all).unwrap();
        body.data().await.unwrap().unwrap()
    };
    tokio::select! {
        rest = rest => rest,
        _ = callee.accept() => panic!("the connection ended"),
    }
}

#[tokio::test]
async fn the_rest_of_a_body_goes_on_beside_an_answer_that_has_begun() {
    let (streams, mut callee) = connected().await;
    let (half, mut app, _open) = half().await;
    let request = Request::post("http://payments/v1/payments").body(half).unwrap();
    let serve = answering_early(&mut callee, false);
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
async fn a_call_has_its_place_until_the_rest_of_its_body_has_passed() {
    // RES-05: also when its answer is whole before, and nobody has it any more
    let (streams, mut callee) = connected().await;
    let (half, mut app, _open) = half().await;
    let request = Request::post("http://payments/v1/payments").body(half).unwrap();
    let serve = answering_early(&mut callee, true);
    let call = async {
        drop(called(&streams, request).await.ok().unwrap());
        for _ in 0..64 {
            tokio::task::yield_now().await; // nothing else frees it
        }
        let held = streams.calls();
        app.write_all(b"spent").await.unwrap();
        while streams.calls() > 0 {
            streams.changed().await;
        }
        held
    };
    let both = async { tokio::join!(call, serve) };
    let (held, rest) = tokio::time::timeout(Duration::from_secs(8), both).await.unwrap();
    assert_eq!((held, &*rest), (1, &b"spent"[..]));
}

/// What comes of the body of an answer after what it stands on has ended, of which `first` was taken before
/// and all of `says` is there.
async fn after_the_end(says: &[(&'static str, bool)], first: usize) -> Result<(), Cut> {
    let (streams, mut callee) = connected().await;
    let (authority, policy) = standing().await;
    let serve = async {
        let (_, mut respond) = callee.accept().await.unwrap().unwrap();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        for (data, is_last) in says {
            stream.send_data((*data).into(), *is_last).unwrap();
        }
        callee.accept().await; // what was said has to be sent
    };
    let call = async {
        let answer = called(&streams, request()).await.ok().unwrap();
        let (log, _writer) = AccessLog::start(std::io::sink()).unwrap();
        let from = "127.0.0.1:1".parse().unwrap();
        let flow = Flows::new(log).open(Kind::Call, Direction::Inbound, from);
        let received = (answer.into_body(), Version::HTTP_2);
        let mut body = Body::response(received, flow, authority.clone());
        for _ in 0..first {
            body.frame().await.unwrap().unwrap();
        }
        for _ in 0..64 {
            tokio::task::yield_now().await; // the rest has come
        }
        policy.withdraw();
        body.frame().await.unwrap().map(drop)
    };
    let both = async {
        tokio::select! {
            told = call => told,
            () = serve => panic!("the connection ended"),
        }
    };
    let began = Instant::now();
    let told = tokio::time::timeout(Duration::from_secs(8), both).await.unwrap();
    // And not because the deadline asked once more.
    assert!(began.elapsed() < Duration::from_secs(7));
    told
}

#[tokio::test]
async fn the_last_frame_of_a_body_does_not_pass_after_the_end_of_what_it_stands_on() {
    // AZ-10: nobody has asked for it before, for example because the caller took nothing
    let told = after_the_end(&[("money", false), ("spent", true)], 1).await;
    assert!(matches!(told, Err(Cut::Ended(_))), "{told:?}");
    let told = after_the_end(&[("money", false), ("is", false), ("spent", true)], 2).await;
    assert!(matches!(told, Err(Cut::Ended(_))), "{told:?}");
}

#[tokio::test]
async fn a_body_of_which_nothing_comes_ends_with_what_it_stands_on() {
    // AZ-10
    let told = after_the_end(&[], 0).await;
    assert!(matches!(told, Err(Cut::Ended(_))), "{told:?}");
}

#[tokio::test]
async fn a_body_that_nobody_takes_ends_with_what_it_stands_on() {
    // AZ-10: one of which half is there, and one that is all there
    for octets in [10, 5] {
        assert_eq!(untaken(octets).await, Reason::INTERNAL_ERROR, "{octets}");
    }
}

/// How the body of a request of so many octets is reset of which five are there and none are taken; the answer
/// has begun when what it stands on ends.
async fn untaken(octets: usize) -> Reason {
    let (far, near) = duplex(64 * 1024);
    let drain = Drain::default();
    let callee =
        async { h2::server::Builder::new().initial_window_size(0).handshake(far).await.unwrap() };
    let (streams, mut callee): (_, Callee) = tokio::join!(handshake_h2(near, &drain, None), callee);
    let (streams, (authority, policy)) = (streams.unwrap(), standing().await);
    let (body, _app, _open) = said(octets, Some(&authority)).await;
    let request = Request::post("http://payments/v1/payments").body(body).unwrap();
    let serve = async {
        let (_request, mut respond) = callee.accept().await.unwrap().unwrap();
        let mut answer = respond.send_response(Response::new(()), false).unwrap();
        tokio::select! {
            reset = poll_fn(|cx| answer.poll_reset(cx)) => reset.unwrap(),
            _ = callee.accept() => panic!("the connection ended"),
        }
    };
    let call = async {
        let answer = called(&streams, request).await;
        for _ in 0..64 {
            tokio::task::yield_now().await; // what the app has said waits for room
        }
        policy.withdraw();
        answer
    };
    let both = async { tokio::join!(call, serve) };
    let (answer, reset) = tokio::time::timeout(Duration::from_secs(8), both).await.unwrap();
    assert!(answer.is_ok());
    reset
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
    let called = tokio::time::timeout(Duration::from_secs(8), called(&streams, request())).await;
    let Err(Unsent::Gone(error)) = called.unwrap() else { panic!("it was answered") };
    assert_eq!(error, SendError::unknown(CloseReason::UpstreamFailed));
    assert!(streams.is_closed());
}

/// A callee that begins an answer with many small messages, which nobody reads, and then another call.
async fn after_small_messages(messages: usize, gives_up: bool) -> Result<(), String> {
    let (far, near) = duplex(1024 * 1024);
    let drain = Drain::default();
    let callee = async { h2::server::handshake(far).await.unwrap() };
    let (streams, mut callee) = tokio::join!(handshake_h2(near, &drain, None), callee);
    let streams = streams.unwrap();
    let serve = async {
        let (_, mut respond) = callee.accept().await.unwrap().unwrap();
        let mut says = respond.send_response(Response::new(()), false).unwrap();
        let mut quiet = false;
        loop {
            tokio::select! {
                biased;
                accepted = callee.accept() => {
                    let Some(Ok((_, mut respond))) = accepted else { return };
                    respond.send_response(Response::new(()), true).unwrap();
                }
                () = tokio::time::sleep(Duration::from_millis(20)), if !quiet => {
                    quiet = true;
                    for _ in 0..messages {
                        let _ = says.send_data(bytes::Bytes::from_static(&[7; 16]), false);
                    }
                }
            }
        }
    };
    let calls = async {
        let first = called(&streams, request()).await;
        assert!(first.is_ok());
        let first = if gives_up {
            tokio::time::sleep(Duration::from_millis(20)).await;
            drop(first);
            None
        } else {
            Some(first)
        };
        tokio::time::sleep(Duration::from_millis(300)).await;
        let told = match called(&streams, request()).await {
            Ok(_) => Ok(()),
            Err(Unsent::Returned(_)) => Err("the connection is over".to_owned()),
            Err(Unsent::Gone(error)) => Err(format!("{error:?}")),
        };
        drop(first);
        told
    };
    tokio::select! {
        told = tokio::time::timeout(Duration::from_secs(8), calls) => told.unwrap(),
        () = serve => Err("the callee's side ended".to_owned()),
    }
}

#[tokio::test]
async fn small_messages_that_one_app_reads_slowly_end_no_call_of_others() {
    // RES-05: 64 KiB, a quarter of the stream's window
    assert_eq!(after_small_messages(2_000, false).await, Ok(()));
    assert_eq!(after_small_messages(4_000, false).await, Ok(()));
}

#[tokio::test]
async fn small_messages_of_a_call_that_was_given_up_end_no_call_of_others() {
    assert_eq!(after_small_messages(4_000, true).await, Ok(()));
}

#[tokio::test]
async fn small_pieces_of_an_upload_that_is_read_slowly_end_no_call_of_others() {
    // RES-05: the side that accepted
    let (far, near) = duplex(1024 * 1024);
    let drain = Drain::default();
    let answer = |request: Request<hyper::body::Incoming>| async move {
        if request.uri().path() == "/slow" {
            let _unread = request;
            std::future::pending::<()>().await;
        }
        Response::new(Body::ours("done"))
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let ends = (&drain, None);
        crate::http::serve(far, crate::http::Version::Http2, ends, answer).await;
    });
    let mut http2 = h2::client::Builder::new();
    let (sender, session) =
        http2.max_send_buffer_size(1024 * 1024).handshake::<_, bytes::Bytes>(near).await.unwrap();
    tasks.spawn(async move { drop(session.await) });
    let ask = async |path: &str, whole| {
        let request = Request::post(format!("http://payments{path}")).body(()).unwrap();
        sender.clone().ready().await?.send_request(request, whole)
    };
    let (_slow, mut says) = ask("/slow", false).await.unwrap();
    for _ in 0..4_000 {
        let _ = says.send_data(bytes::Bytes::from_static(&[7; 16]), false);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let told = async { ask("/other", true).await?.0.await };
    let told = tokio::time::timeout(Duration::from_secs(8), told).await.unwrap();
    assert_eq!(told.map_err(|error| error.to_string()).map(|it| it.status().as_u16()), Ok(200));
}
