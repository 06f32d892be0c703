use h2::Reason;
use http::{Request, Response, Version};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncWriteExt as _, DuplexStream},
    sync::mpsc,
    task::JoinSet,
};

use super::{End, Keeper, Kept, Lost, MOST, is_too_long};

/// `money`, of a length that is said and of one that is not.
const SAID: &str = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nmoney";
const UNSAID: &str =
    "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nmoney\r\n0\r\n\r\n";

/// The bodies of what comes over a connection in this version, and its other end; it lasts as long
/// as the tasks.
fn bodies(version: Version) -> (DuplexStream, mpsc::Receiver<Incoming>, JoinSet<()>) {
    let (app, near) = tokio::io::duplex(4096);
    let (say, bodies) = mpsc::channel(1);
    let service = service_fn(move |request: Request<Incoming>| {
        let say = say.clone();
        async move {
            say.send(request.into_body()).await.unwrap();
            std::future::pending::<Result<Response<String>, hyper::Error>>().await
        }
    });
    let (near, mut tasks) = (TokioIo::new(near), JoinSet::new());
    tasks.spawn(async move {
        let _ = if version == Version::HTTP_2 {
            http2::Builder::new(TokioExecutor::new()).serve_connection(near, service).await
        } else {
            http1::Builder::new().serve_connection(near, service).await
        };
    });
    (app, bodies, tasks)
}

/// The body of one request over HTTP/1.1.
pub(in crate::http) async fn body(request: &str) -> (Incoming, JoinSet<()>, DuplexStream) {
    let (mut app, mut bodies, tasks) = bodies(Version::HTTP_11);
    app.write_all(request.as_bytes()).await.unwrap();
    (bodies.recv().await.unwrap(), tasks, app)
}

fn kept(body: &Kept) -> (usize, End) {
    let state = body.shared.state();
    (state.bytes.len(), state.end)
}

async fn money(body: &mut Kept) {
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "money");
}

#[tokio::test]
async fn nothing_is_kept_of_what_nobody_will_send_again() {
    let (incoming, _tasks, _app) = body(SAID).await;
    let keeper = Keeper::of(incoming, Version::HTTP_11);
    let mut first = keeper.first();
    money(&mut first).await;
    assert_eq!(kept(&first), (5, End::Open));
    drop(keeper);
    assert_eq!(kept(&first), (0, End::Lost));
    assert!(first.frame().await.is_none());
    assert_eq!(kept(&first), (0, End::Lost));
}

#[tokio::test]
async fn what_has_passed_to_its_end_is_kept_whole() {
    for request in [SAID, UNSAID] {
        let (incoming, _tasks, _app) = body(request).await;
        let keeper = Keeper::of(incoming, Version::HTTP_11);
        let mut first = keeper.first();
        money(&mut first).await;
        assert!(first.frame().await.is_none());
        assert_eq!(kept(&first), (5, End::Whole));
        let mut second = keeper.again().unwrap();
        money(&mut second).await;
        assert!(second.frame().await.is_none());
    }
}

#[tokio::test]
async fn over_http_2_a_reset_without_an_error_is_not_the_end_of_what_is_kept() {
    // RFC 9113 §8.1
    for (is_reset, expected) in [(false, (5, End::Whole)), (true, (0, End::Lost))] {
        let (app, mut bodies, mut tasks) = bodies(Version::HTTP_2);
        let (mut requests, connection) = h2::client::handshake(app).await.unwrap();
        tasks.spawn(async move {
            let _ = connection.await;
        });
        let request = Request::post("http://payments/").body(()).unwrap();
        let (_answer, mut stream) = requests.send_request(request, false).unwrap();
        stream.send_data("money".into(), !is_reset).unwrap();
        let keeper = Keeper::of(bodies.recv().await.unwrap(), Version::HTTP_2);
        let mut first = keeper.first();
        assert_eq!(first.version(), Version::HTTP_2);
        money(&mut first).await;
        if is_reset {
            stream.send_reset(Reason::NO_ERROR);
        }
        assert!(first.frame().await.is_none());
        assert_eq!(kept(&first), expected);
    }
}

#[tokio::test]
async fn a_body_that_says_that_it_is_longer_than_64_kib_is_not_kept() {
    for (length, expected) in [(0, false), (MOST, false), (MOST + 1, true), (MOST * 2, true)] {
        let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        assert_eq!(is_too_long(&body(&head).await.0), expected, "{length}");
    }
    assert_eq!(MOST, 65_536);
    assert!(!is_too_long(&body(UNSAID).await.0));
}

#[tokio::test]
async fn what_another_attempt_has_now_is_not_whole_in_the_first() {
    let (incoming, _tasks, _app) = body(SAID).await;
    let keeper = Keeper::of(incoming, Version::HTTP_11);
    let mut first = keeper.first();
    money(&mut first).await;
    assert_eq!((first.is_end_stream(), first.size_hint().exact()), (true, Some(0)));
    let mut second = keeper.again().unwrap();
    assert_eq!((first.is_end_stream(), first.size_hint().exact()), (false, None));
    assert!(matches!(first.frame().await, Some(Err(Lost::TakenOver))));
    assert_eq!((second.is_end_stream(), second.size_hint().exact()), (false, Some(5)));
    money(&mut second).await;
    assert_eq!((second.is_end_stream(), second.size_hint().exact()), (true, Some(0)));
    assert!(second.frame().await.is_none());
}
