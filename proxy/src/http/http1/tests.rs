//! Connections that fall silent, and what comes then.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{
    io::{
        AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex,
    },
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
};

use super::{Waits, now_and_then};
use crate::{
    Drain,
    heard::{FIRST, Heard},
    http::Body,
    listener::{Accepted, Callers, listen},
};

const SOON: Duration = Duration::from_secs(8);

/// Long enough for any test.
const LONG: Duration = Duration::from_secs(600);

/// So short a silence comes at once.
const SHORT: Duration = Duration::from_millis(2);

/// What is read of a connection, and by whom.
#[derive(Clone, Debug)]
struct Reads {
    /// hyper does not have it, and nothing comes.
    silent: watch::Sender<bool>,
    all: watch::Sender<usize>,
}

impl Default for Reads {
    fn default() -> Self {
        Self { silent: watch::Sender::new(false), all: watch::Sender::new(0) }
    }
}

impl Reads {
    async fn silence(&self, wanted: bool) {
        let mut silent = self.silent.subscribe();
        tokio::time::timeout(SOON, silent.wait_for(|now| *now == wanted)).await.unwrap().unwrap();
    }

    /// The connection is looked at so often from now on.
    async fn more(&self, wanted: usize) {
        let mut all = self.all.subscribe();
        let wanted = *all.borrow() + wanted;
        tokio::time::timeout(SOON, all.wait_for(|now| *now >= wanted)).await.unwrap().unwrap();
    }
}

struct Watched<IO> {
    io: IO,
    reads: Reads,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let is_small = buffer.remaining() == FIRST;
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        self.reads.silent.send_replace(is_small && polled.is_pending());
        self.reads.all.send_modify(|all| *all += 1);
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// An app, and what is seen of its connection. Each answer is the path that was asked for; `/large` has
/// more than a pipe takes, `/later` waits until somebody says so.
struct App {
    app: DuplexStream,
    reads: Reads,
    later: Arc<Notify>,
    drain: Drain,
}

const PIPE: usize = 64 * 1024;
const LARGE: usize = 4 * PIPE;

impl App {
    fn new(head: Duration) -> Self {
        Self::waiting(Waits { head, silence: Some(SHORT) })
    }

    fn waiting(waits: Waits) -> Self {
        let (app, near) = duplex(PIPE);
        let (reads, drain, later) = (Reads::default(), Drain::default(), Arc::new(Notify::new()));
        let io = Heard::nothing(Watched { io: near, reads: reads.clone() });
        let (served, waited) = (drain.clone(), later.clone());
        drain.spawn(async move {
            let reading = served.clone();
            let answer = |request: Request<Incoming>| {
                let later = waited.clone();
                let (head, body) = request.into_parts();
                reading.spawn(async { drop(body.collect().await) });
                async move {
                    let path = head.uri.path().to_owned();
                    Response::new(match &*path {
                        "/later" => {
                            later.notified().await;
                            Body::ours(path)
                        }
                        "/large" => Body::ours("x".repeat(LARGE)),
                        _ => Body::ours(path),
                    })
                }
            };
            let waits: &'static Waits = Box::leak(Box::new(waits));
            now_and_then(io, waits, &served, answer).await;
        });
        Self { app, reads, later, drain }
    }

    async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.app.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The body of the next answer.
    async fn answer(&mut self) -> String {
        tokio::time::timeout(SOON, answer(&mut self.app)).await.unwrap()
    }

    /// What is left until the connection ends.
    async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        tokio::time::timeout(SOON, self.app.read_to_end(&mut rest)).await.unwrap().unwrap();
        String::from_utf8(rest).unwrap()
    }

    /// One that has been answered, and asks nothing any more.
    async fn silent(head: Duration) -> Self {
        let mut app = Self::new(head);
        app.say(asks("/first")).await;
        assert_eq!(app.answer().await, "/first");
        app.reads.silence(true).await;
        app
    }
}

fn asks(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: payments\r\n\r\n")
}

/// Reads one answer, byte by byte: the next one may come right behind it.
async fn answer(from: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    let (_, length) = head.split_once("content-length: ").unwrap();
    let mut body = vec![0; length.split_once("\r\n").unwrap().0.parse().unwrap()];
    from.read_exact(&mut body).await.unwrap();
    String::from_utf8(body).unwrap()
}

#[tokio::test]
async fn what_is_asked_after_a_silence_is_answered() {
    let mut app = App::silent(LONG).await;
    for path in ["/1", "/2", "/a-path-that-is-longer-than-what-is-read-of-it-before-hyper-has-it"] {
        app.say(asks(path)).await;
        assert_eq!(app.answer().await, path);
        app.reads.silence(true).await;
    }
    app.say([asks("/3"), asks("/4"), asks("/5")].concat()).await;
    for path in ["/3", "/4", "/5"] {
        assert_eq!(app.answer().await, path);
    }
    app.reads.silence(true).await;
}

#[tokio::test]
async fn a_head_that_comes_in_two_pieces_is_read_whole() {
    let head = asks("/a-path-that-is-longer-than-what-is-read-of-it-before-hyper-has-it");
    for cut in (1..head.len()).step_by(7) {
        let (begin, end) = head.split_at(cut);
        let mut app = App::silent(LONG).await;
        app.say(begin).await;
        app.reads.silence(false).await;
        app.reads.more(4).await; // it is not silent, however long it waits
        app.say(end).await;
        assert!(head.contains(&format!(" {} ", app.answer().await)));
    }
}

#[tokio::test]
async fn what_was_read_of_a_head_with_the_call_before_is_not_lost() {
    let head = asks("/second");
    for cut in 1..head.len() {
        let (begin, end) = head.split_at(cut);
        let mut app = App::new(LONG);
        app.say(asks("/first") + begin).await;
        assert_eq!(app.answer().await, "/first");
        app.reads.more(4).await; // hyper gave it back meanwhile, and has it again
        app.say(end).await;
        assert_eq!(app.answer().await, "/second");
    }
}

#[tokio::test]
async fn a_call_in_progress_is_no_silence() {
    let mut app = App::new(LONG);
    app.say(asks("/later")).await;
    app.reads.more(4).await;
    app.later.notify_one();
    assert_eq!(app.answer().await, "/later");
}

#[tokio::test]
async fn an_answer_that_the_app_has_not_read_is_no_silence() {
    // hyper takes a call for done when it has written the answer, or when it has read the request.
    let mut app = App::new(LONG);
    app.say("POST /large HTTP/1.1\r\nhost: payments\r\ncontent-length: 2\r\n\r\nx").await;
    assert_eq!(app.app.read_u8().await.unwrap(), b'H');
    app.say("x").await;
    app.reads.more(8).await;
    let rest = async {
        let mut read = 0;
        while read < LARGE {
            read += app.app.read(&mut [0; 4096]).await.unwrap();
        }
    };
    tokio::time::timeout(SOON, rest).await.unwrap();
}

#[tokio::test]
async fn a_drain_closes_a_silent_connection_at_once() {
    let mut app = App::silent(LONG).await;
    tokio::time::timeout(SOON, app.drain.drain(LONG)).await.unwrap();
    assert_eq!(app.rest().await, "");
}

#[tokio::test]
async fn a_silence_does_not_make_the_deadline_of_a_head_later() {
    // RES-03
    for said in ["", "GET /half HT"] {
        let head = Duration::from_secs(1);
        let mut app = App::silent(head).await;
        let begun = Instant::now();
        app.say(said).await;
        assert_eq!(app.rest().await, "");
        let waited = begun.elapsed();
        assert!(waited < head * 19 / 10, "{said:?}: {waited:?}");
        assert!(waited > head / 2, "{said:?}: {waited:?}");
    }
}

#[tokio::test]
async fn half_a_head_ends_at_its_deadline_and_not_before() {
    // RES-03
    for said in ["GET /half HT", "GET / HTTP/1.1\r\nhost: payments\r\n\r\nGET /half HT"] {
        let head = Duration::from_secs(1);
        let (mut app, begun) = (App::new(head), Instant::now());
        app.say(said).await;
        let _ = app.rest().await;
        let waited = begun.elapsed();
        assert!(waited < head * 19 / 10, "{said:?}: {waited:?}");
        assert!(waited > head * 9 / 10, "{said:?}: {waited:?}");
    }
}

#[tokio::test]
async fn a_deadline_between_two_looks_is_not_that_of_the_later_one() {
    // RES-03; the first look is just before it, and another as long after that
    let (call, half) = (asks("/"), "GET /half HT");
    for said in [half.to_owned(), call + half] {
        let head = Duration::from_secs(1);
        let waits = Waits { head, silence: Some(head * 19 / 20) };
        let (mut app, begun) = (App::waiting(waits), Instant::now());
        app.say(&said).await;
        let _ = app.rest().await;
        let waited = begun.elapsed();
        assert!(waited < head * 8 / 5, "{said:?}: {waited:?}");
        assert!(waited > head * 9 / 10, "{said:?}: {waited:?}");
    }
}

#[tokio::test]
async fn a_call_that_breaks_a_silence_has_another_after_it() {
    let head = Duration::from_secs(1);
    let mut app = App::silent(head).await;
    let begun = Instant::now();
    while begun.elapsed() < head * 3 / 2 {
        app.say(asks("/again")).await;
        assert_eq!(app.answer().await, "/again");
        app.reads.silence(true).await;
    }
}

#[tokio::test]
async fn a_connection_that_is_being_closed_is_not_silent() {
    let mut app = App::new(LONG);
    app.say("POST /first HTTP/1.1\r\nhost: payments\r\ncontent-length: 1\r\n\r\nx").await;
    assert_eq!(app.answer().await, "/first");
    app.say("no head\r\n\r\n").await;
    let told = app.rest().await;
    assert!(told.starts_with("HTTP/1.1 400 "), "{told}");
    // What comes now is still taken, so that the app gets to read what it was told.
    let begun = Instant::now();
    while begun.elapsed() < SHORT * 20 {
        app.say("more").await;
        app.reads.more(1).await;
    }
    tokio::time::timeout(SOON, app.drain.drain(LONG)).await.unwrap();
}

#[tokio::test]
async fn a_silent_connection_that_the_app_closes_leaves_its_place_to_another() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (reads, drain) = (Reads::default(), Drain::default());
    let (seen, served) = (reads.clone(), drain.clone());
    let serve = move |accepted: Accepted| {
        let (reads, drain) = (seen.clone(), served.clone());
        accepted.served(&served, |tcp, _| async move {
            let io = Heard::nothing(Watched { io: tcp, reads });
            let answer = |_: Request<Incoming>| async { Response::new(Body::ours("here")) };
            const WAITS: Waits = Waits { head: LONG, silence: Some(SHORT) };
            now_and_then(io, &WAITS, &drain, answer).await;
        });
    };
    drain.spawn(listen(listener, (Callers::Apps, 1), drain.clone(), serve));
    for _ in 0..3 {
        let mut app = TcpStream::connect(address).await.unwrap();
        app.write_all(asks("/").as_bytes()).await.unwrap();
        let told = tokio::time::timeout(SOON, answer(&mut app)).await.unwrap();
        assert_eq!(told, "here");
        reads.silence(true).await;
    }
    drain.drain(Duration::ZERO).await;
}

#[tokio::test]
async fn the_first_head_may_come_in_two_pieces_also_while_we_stop() {
    // Half of it is no silence, however often it is looked at: as where hyper has the connection.
    let mut app = App::new(LONG);
    let head = asks("/first");
    let (begin, end) = head.split_at(8);
    app.say(begin).await;
    app.reads.more(4).await;
    let drain = app.drain.clone();
    let said = async {
        app.reads.more(4).await; // it knows
        app.say(end).await;
        app.answer().await
    };
    let both = async { tokio::join!(drain.drain(LONG), said) };
    let ((), told) = tokio::time::timeout(SOON, both).await.unwrap();
    assert_eq!(told, "/first");
}

#[tokio::test]
async fn a_drain_closes_a_connection_with_half_a_head_behind_a_call() {
    // As hyper does where it has had the connection all the time.
    let mut app = App::new(LONG);
    app.say(asks("/first") + "GET /half HT").await;
    assert_eq!(app.answer().await, "/first");
    app.reads.more(4).await;
    tokio::time::timeout(SOON, app.drain.drain(LONG)).await.unwrap();
    assert_eq!(app.rest().await, "");
}

#[tokio::test]
async fn a_refusal_after_a_silence_is_read_by_an_app_that_goes_on_sending() {
    // HTTP-11, RFC 9112 §9.6: as `a_connection_that_is_being_closed_is_not_silent`, a silence between.
    let mut app = App::new(LONG);
    app.say("POST /first HTTP/1.1\r\nhost: payments\r\ncontent-length: 1\r\n\r\nx").await;
    assert_eq!(app.answer().await, "/first");
    app.reads.silence(true).await;
    app.say("no head\r\n\r\n").await;
    let told = app.rest().await;
    assert!(told.starts_with("HTTP/1.1 400 "), "{told}");
    for _ in 0..20 {
        app.say("more").await;
        app.reads.more(1).await;
    }
    tokio::time::timeout(SOON, app.drain.drain(LONG)).await.unwrap();
}
