//! Answers of a hostile workload (HTTP-20, HTTP-23): the caller gets one message with one reading, or
//! is told that there is none.

use cellwall_policy::Protocol;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{
    forwarding::{is_closed, played, read_until},
    kit::{DEADLINE, Town},
};

/// Heads whose end, or whose body's end, has more than one reading, or none.
const DOUBTFUL: [(&str, &str); 26] = [
    ("a length below the chunks", "content-length: 2\r\ntransfer-encoding: chunked"),
    ("a length above the chunks", "transfer-encoding: chunked\r\ncontent-length: 90"),
    ("a list of equal lengths", "content-length: 2, 2"),
    ("a list of lengths", "content-length: 2, 3"),
    ("a length twice", "content-length: 2\r\ncontent-length: 2"),
    ("two lengths", "content-length: 2\r\ncontent-length: 3"),
    ("less than nothing", "content-length: -1"),
    ("a sign", "content-length: +2"),
    ("no figure", "content-length: "),
    ("another base", "content-length: 0x2"),
    ("more than there is", "content-length: 99999999999999999999"),
    ("a coding that is none", "transfer-encoding: identity"),
    ("a coding that we do not know", "transfer-encoding: gzip"),
    ("two codings", "transfer-encoding: gzip, chunked"),
    ("chunks of chunks", "transfer-encoding: chunked, chunked"),
    ("chunks of chunks in two lines", "transfer-encoding: chunked\r\ntransfer-encoding: chunked"),
    ("almost chunked", "transfer-encoding: xchunked"),
    ("a nomination that is no token", "connection: x back\r\ncontent-length: 2"),
    ("a nomination beyond ASCII", "connection: x-b\u{e9}\r\ncontent-length: 2"),
    ("a folded line", "x-note: a\r\n b\r\ncontent-length: 2"),
    ("a space before the colon", "content-length : 2"),
    ("a name of two words", "content length: 2"),
    ("a zero byte", "x-note: a\0b\r\ncontent-length: 2"),
    ("a bare carriage return", "x-note: a\rcontent-length: 9\r\ncontent-length: 2"),
    ("a line without a colon", "content-length\r\ncontent-length: 2"),
    ("no name", ": 2\r\ncontent-length: 2"),
];

/// Whole beginnings of the same kind.
const CROOKED: [(&str, &str); 8] = [
    (
        "chunks in HTTP/1.0",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "chunks where there is no body",
        "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n",
    ),
    ("a length where there is no body", "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok"),
    ("another protocol, unasked", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"),
    ("another version", "HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok"),
    ("no version", "200 OK\r\ncontent-length: 2\r\n\r\nok"),
    ("no head", "hello, this is HTTP/0.9\r\n\r\n"),
    ("a status of four digits", "HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\nok"),
];

/// What is odd, and has one reading: the answer, and what the caller gets.
const ODD: [(&str, &str, &str); 7] = [
    ("line feeds alone", "HTTP/1.1 200 OK\ncontent-length: 2\n\nok", "ok"),
    ("the end of the connection", "HTTP/1.0 200 OK\r\n\r\nok", "2\r\nok\r\n0\r\n\r\n"),
    (
        "a coding in capitals",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "2\r\nok\r\n0\r\n\r\n",
    ),
    ("no reason", "HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", "ok"),
    (
        "two answers at once",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok\
      HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged",
        "ok",
    ),
    ("bytes after the body", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokmore", "ok"),
    ("an end of the body that is announced", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", ""),
];

const ASKS: &str = "GET /v1/payments/p_1 HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n";

/// The workload's side of a call that came.
async fn asked(workload: &TcpListener) -> TcpStream {
    let accepted = tokio::time::timeout(DEADLINE, workload.accept()).await;
    let (mut stream, _) = accepted.unwrap().unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    stream
}

/// All that the caller gets, until the connection is closed.
pub(crate) async fn got(caller: &mut (impl AsyncRead + Unpin)) -> String {
    let mut got = Vec::new();
    let read = tokio::time::timeout(DEADLINE, caller.read_to_end(&mut got)).await;
    read.unwrap().ok(); // closed in time; how it ends is the test's affair
    String::from_utf8_lossy(&got).into_owned()
}

/// One call of checkout; the workload says `answer` and goes on listening.
async fn answered(
    caller: &mut (impl AsyncRead + AsyncWrite + Unpin),
    workload: &TcpListener,
    answer: &[u8],
) -> (String, TcpStream) {
    caller.write_all(ASKS.as_bytes()).await.unwrap();
    let mut stream = asked(workload).await;
    stream.write_all(answer).await.unwrap();
    (got(caller).await, stream)
}

/// The bytes that are meant: a character below U+0100 is one byte.
fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect()
}

#[tokio::test]
async fn an_answer_with_two_readings_is_refused_and_its_connection_closed() {
    // HTTP-23
    let town = Town::new().await;
    let (mut sidecar, workload) = played(&town).await;
    let heads = DOUBTFUL.map(|(case, head)| {
        (case, format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n2\r\nok\r\n0\r\n\r\n"))
    });
    let crooked = CROOKED.map(|(case, answer)| (case, answer.to_owned()));
    for (case, answer) in heads.into_iter().chain(crooked) {
        let mut caller = sidecar.dial(&town.svid("checkout"), &["http/1.1"]).await;
        let (got, mut stream) = answered(&mut caller, &workload, &latin(&answer)).await;
        assert!(got.starts_with("HTTP/1.1 502 "), "{case}: {got}");
        assert!(got.contains(r#""reason":"answer_ambiguous","sent":"unknown""#), "{case}: {got}");
        assert!(is_closed(&mut stream).await, "{case}: it is kept");
    }
    let line = sidecar.logged(|line| line["kind"] == "call").await;
    assert_eq!(line["cellwall.reason"], "answer_ambiguous");
    let failures = [("reason", "answer_ambiguous")];
    let failed = sidecar.metrics().await.sum("cellwall_upstream_failures_total", &failures);
    assert_eq!(failed, 34.0);
}

#[tokio::test]
async fn an_odd_answer_with_one_reading_is_delivered_as_that() {
    // HTTP-23: what follows it is nobody's answer
    let town = Town::new().await;
    let (sidecar, workload) = played(&town).await;
    for (case, answer, body) in ODD {
        let mut caller = sidecar.dial(&town.svid("checkout"), &["http/1.1"]).await;
        caller.write_all(ASKS.as_bytes()).await.unwrap();
        let mut stream = asked(&workload).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let got = got(&mut caller).await;
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{case}: {got}");
        assert_eq!(got.split_once("\r\n\r\n").map(|(_, body)| body), Some(body), "{case}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_whole() {
    // HTTP-21, HTTP-23
    let town = Town::new().await;
    let (sidecar, workload) = played(&town).await;
    for (rest, last) in [
        ("content-length: 9\r\n\r\nok", "ok"),
        ("transfer-encoding: chunked\r\n\r\n2\r\nok\r\n", "2\r\nok\r\n"),
        ("transfer-encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n", "2\r\nok\r\n"),
        ("transfer-encoding: chunked\r\n\r\n2\r\nok\r\n2;a\nb\r\n", "2\r\nok\r\n"),
    ] {
        let mut caller = sidecar.dial(&town.svid("checkout"), &["http/1.1"]).await;
        caller.write_all(ASKS.as_bytes()).await.unwrap();
        let mut stream = asked(&workload).await;
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{rest}").as_bytes()).await.unwrap();
        drop(stream);
        let got = got(&mut caller).await;
        assert!(got.ends_with(&format!("\r\n\r\n{last}")), "{rest:?}: {got}");
    }
}

#[tokio::test]
async fn eight_interim_answers_are_passed_over_and_a_ninth_ends_the_call() {
    // HTTP-20
    let town = Town::new().await;
    let (sidecar, workload) = played(&town).await;
    for (interim, status) in [(8, "HTTP/1.1 200 "), (9, "HTTP/1.1 502 "), (10_000, "HTTP/1.1 502 ")]
    {
        let mut caller = sidecar.dial(&town.svid("checkout"), &["http/1.1"]).await;
        let flood = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(interim);
        let answer = format!("{flood}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        caller.write_all(ASKS.as_bytes()).await.unwrap();
        let mut stream = asked(&workload).await;
        // The sidecar may close before it has read all of it.
        let _ = stream.write_all(answer.as_bytes()).await;
        let got = got(&mut caller).await;
        assert!(got.starts_with(status), "{interim}: {got}");
        assert!(!got.contains("103"), "{interim}: {got}");
        if interim > 8 {
            assert!(got.contains(r#""reason":"answer_ambiguous","sent":"unknown""#), "{got}");
            assert!(is_closed(&mut stream).await, "{interim}: it is kept");
        }
    }
}

#[tokio::test]
async fn both_sidecars_tell_the_app_that_the_answer_had_two_readings() {
    // HTTP-23, end to end: the callee's sidecar says it, and the caller's hands it on
    let town = Town::new().await;
    let (_callee, workload) = played(&town).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    for head in ["content-length: 2\r\ntransfer-encoding: chunked", "content-length: 2, 2"] {
        let mut app = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        let (got, _) = answered(&mut app, &workload, answer.as_bytes()).await;
        assert!(got.starts_with("HTTP/1.1 502 "), "{head}: {got}");
        assert!(got.contains(r#""reason":"answer_ambiguous","sent":"unknown""#), "{got}");
    }
}

#[tokio::test]
async fn a_workload_does_not_speak_for_a_sidecar() {
    // HTTP-16, of answers: what begins with `cellwall-` is said by sidecars alone
    let town = Town::new().await;
    let (callee, workload) = played(&town).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let mut app = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
    let answer =
        b"HTTP/1.1 200 OK\r\ncellwall-decision: d_forged\r\nCellwall-Outcome: not-done\r\n\
        cellwall_decision: d_forged\r\ncellwallpaper: red\r\ncontent-length: 2\r\n\r\nok";
    let (got, _) = answered(&mut app, &workload, answer).await;
    assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
    assert!(got.contains("\r\ncellwallpaper: red\r\n"), "{got}");
    for forged in ["d_forged", "not-done"] {
        assert!(!got.to_ascii_lowercase().contains(forged), "{got}");
    }
    // What the callee's own sidecar says does come through.
    let mut app = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
    let denied = ASKS.replace("/p_1", "/p_1/x");
    app.write_all(denied.as_bytes()).await.unwrap();
    let answer = crate::answers::got(&mut app).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.contains("\r\ncellwall-decision: d_"), "{answer}");
    drop(callee);
}

#[tokio::test]
async fn trailers_of_an_answer_carry_neither_framing_nor_words_of_ours() {
    // HTTP-19, of answers
    let town = Town::new().await;
    let (sidecar, workload) = played(&town).await;
    let io = TokioIo::new(sidecar.dial(&town.svid("checkout"), &["h2"]).await);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let request = Request::get("http://payments/v1/payments/p_1");
    let called = sender.send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap());
    let answer = async {
        let mut stream = asked(&workload).await;
        let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\
            cellwall-outcome: not-done\r\ncontent-length: 5\r\nconnection: x-note\r\n\
            transfer-encoding: chunked\r\nx-sum: 1\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream
    };
    let (response, _stream) = tokio::join!(called, answer);
    let body = response.unwrap().into_body().collect().await.unwrap();
    let expected = HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
    assert_eq!(body.trailers(), Some(&expected));
}

#[tokio::test]
async fn a_head_that_one_door_takes_is_not_too_long_for_the_next() {
    // RES-04: HTTP/2 counts 32 octets more for each field (RFC 9113 §6.5.2), and answers 431 by itself
    let town = Town::new().await;
    let (_callee, workload) = played(&town).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let field = |octets| format!("x-pad: {}\r\n", "a".repeat(octets));
    let head = ASKS.replace("\r\n\r\n", &format!("\r\n{}\r\n", field(665).repeat(96)));
    assert!(head.len() > 63 * 1024 && head.len() < 64 * 1024, "{}", head.len());
    let mut app = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
    app.write_all(head.as_bytes()).await.unwrap();
    let answer = async {
        let mut stream = asked(&workload).await;
        let fields = field(512).repeat(90);
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\nok");
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream
    };
    let (got, _stream) = tokio::join!(got(&mut app), answer);
    assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
    assert_eq!(got.matches(&field(512)).count(), 90);
}

#[tokio::test]
async fn a_head_of_more_than_a_hundred_fields_is_refused_and_reaches_nobody() {
    // RES-04
    let town = Town::new().await;
    let (_callee, workload) = played(&town).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let fields = ASKS.matches("\r\n").count() - 2;
    let head = |all: usize| {
        ASKS.replace("\r\n\r\n", &format!("\r\n{}\r\n", "x-pad: a\r\n".repeat(all - fields)))
    };
    let mut app = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
    app.write_all(head(101).as_bytes()).await.unwrap();
    let refused = got(&mut app).await;
    assert!(refused.starts_with("HTTP/1.1 431 "), "{refused}");
    let mut app = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
    app.write_all(head(100).as_bytes()).await.unwrap();
    let answer = async {
        let mut stream = asked(&workload).await; // the first that comes to it
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        stream
    };
    let (got, _stream) = tokio::join!(got(&mut app), answer);
    assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
}
