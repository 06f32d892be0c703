//! Streams of HTTP/2 that a side breaks off or makes too long: none looks whole, and none is told
//! otherwise than it went.

use std::error::Error as _;

use cellwall_policy::Protocol;
use h2::Reason;
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
    forwarding::{ledger_beside, played, read_until},
    kit::{DEADLINE, Sidecar, Town},
    raw_h2::{
        DATA, END_HEADERS, END_STREAM, HEADERS, Leaver, Leaves, RST_STREAM, STATUS_200, frame,
        literal,
    },
};

const CONTINUATION: u8 = 9;

/// A whole answer.
#[derive(Debug)]
struct Answer {
    head: HeaderMap,
    body: bytes::Bytes,
    trailers: Option<HeaderMap>,
}

/// A head and half of a body.
fn half(stream: u32) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, &[STATUS_200]);
    [head, frame(DATA, 0, stream, b"half")].concat()
}

fn reset(stream: u32, code: Reason) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &u32::from(code).to_be_bytes())
}

/// A HEADERS frame with as many CONTINUATION frames as `block` needs (RFC 9113 §6.10).
fn headers(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    let pieces: Vec<&[u8]> = block.chunks(16_000).collect();
    let last = pieces.len() - 1;
    let one = |(number, piece): (usize, &&[u8])| {
        let (kind, flags) = if number == 0 { (HEADERS, flags) } else { (CONTINUATION, 0) };
        frame(kind, flags | if number == last { END_HEADERS } else { 0 }, stream, piece)
    };
    pieces.iter().enumerate().flat_map(one).collect()
}

/// Calls ledger: what checkout gets, or the code of the reset.
async fn answered(town: &Town, callee: &Sidecar) -> Result<Answer, Option<Reason>> {
    let io = TokioIo::new(callee.dial(&town.svid("checkout"), &["h2"]).await);
    let client = http2::Builder::new(TokioExecutor::new()).max_header_list_size(1 << 20).clone();
    let (mut sender, connection) = client.handshake(io).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let request = Request::post("http://ledger/ledger.v1/Post").header("te", "trailers");
    let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
    let whole = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned();
        Ok(Answer { head: head.headers, body: body.to_bytes(), trailers })
    };
    let whole = tokio::time::timeout(DEADLINE, whole).await.unwrap();
    whole.map_err(|error: hyper::Error| {
        error.source().and_then(|cause| cause.downcast_ref::<h2::Error>()?.reason())
    })
}

#[tokio::test]
async fn an_answer_that_is_reset_never_looks_whole_and_is_not_told_refused() {
    // HTTP-21: hyper takes NO_ERROR for an end, and hands other codes on
    let town = Town::new().await;
    let workload = Leaver::workload().await;
    for (code, way) in [
        (Reason::NO_ERROR, Leaves::Says(|it| [half(it), reset(it, Reason::NO_ERROR)].concat())),
        (Reason::CANCEL, Leaves::Says(|it| [half(it), reset(it, Reason::CANCEL)].concat())),
        (
            Reason::REFUSED_STREAM,
            Leaves::Says(|it| [half(it), reset(it, Reason::REFUSED_STREAM)].concat()),
        ),
    ] {
        let mut callee = ledger_beside(&town, workload.address).await;
        workload.next(way).await;
        let answer = answered(&town, &callee).await;
        assert_eq!(answer.err(), Some(Some(Reason::INTERNAL_ERROR)), "{code}");
        let line = callee.logged(|line| line["kind"] == "call").await;
        assert_eq!(line["cellwall.reason"], "io", "{code}");
    }
}

#[tokio::test]
async fn a_whole_answer_is_whole_although_a_reset_follows() {
    // RFC 9113 §8.1: so a server says that it wants no more of the request
    let town = Town::new().await;
    let workload = Leaver::workload().await;
    let callee = ledger_beside(&town, workload.address).await;
    let whole = |stream| {
        let last = frame(DATA, END_STREAM, stream, b" whole");
        [half(stream), last, reset(stream, Reason::NO_ERROR)].concat()
    };
    workload.next(Leaves::Says(whole)).await;
    let answer = answered(&town, &callee).await.unwrap();
    assert_eq!((answer.body, answer.trailers), ("half whole".into(), None));
}

#[tokio::test]
async fn trailers_that_lost_the_status_of_a_call_are_not_handed_on() {
    // h2 leaves out in silence what is beyond 64 KiB of them
    let town = Town::new().await;
    let workload = Leaver::workload().await;
    let callee = ledger_beside(&town, workload.address).await;
    let long = |stream| {
        let pad = (0..500).flat_map(|number| {
            literal(format!("x-pad-{number}").as_bytes(), "a".repeat(110).as_bytes())
        });
        let block: Vec<u8> = pad.chain(literal(b"grpc-status", b"13")).collect();
        [half(stream), headers(stream, END_STREAM, &block)].concat()
    };
    workload.next(Leaves::Says(long)).await;
    let answer = answered(&town, &callee).await;
    assert_eq!(answer.err(), Some(Some(Reason::INTERNAL_ERROR)));
}

#[tokio::test]
async fn a_connection_that_we_end_ourselves_says_nothing_of_its_calls() {
    // RES-09: DATA on stream 0 is a connection error of our own (RFC 9113 §6.1)
    let town = Town::new().await;
    let workload = Leaver::workload().await;
    let callee = ledger_beside(&town, workload.address).await;
    workload.next(Leaves::Says(|_| frame(DATA, 0, 0, b"x"))).await;
    let answer = answered(&town, &callee).await.unwrap();
    assert_eq!(answer.head["cellwall-outcome"], "unknown");
}

/// Half a request over `io`, whose answer has begun, is reset; what the workload sees after that.
async fn half_a_request(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    workload: &TcpListener,
) -> String {
    let (mut sender, connection) = h2::client::handshake(io).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let request = Request::post("http://payments/v1/payments").body(()).unwrap();
    let (answer, mut body) = sender.send_request(request, false).unwrap();
    body.send_data("half".into(), false).unwrap();
    let (mut stream, _) = workload.accept().await.unwrap();
    read_until(&mut stream, "4\r\nhalf\r\n").await;
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let _begun = tokio::time::timeout(DEADLINE, answer).await.unwrap().unwrap();
    body.send_reset(Reason::NO_ERROR);
    let mut rest = Vec::new();
    let end = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
    end.unwrap().ok(); // closed in time; how is the connection's affair
    String::from_utf8(rest).unwrap()
}

#[tokio::test]
async fn half_a_request_that_is_reset_never_looks_whole_to_the_workload() {
    // HTTP-21: from another sidecar, and from an app
    let town = Town::new().await;
    let (callee, workload) = played(&town).await;
    let io = callee.dial(&town.svid("checkout"), &["h2"]).await;
    assert_eq!(half_a_request(io, &workload).await, "");
    let caller = town.caller_of("payments", Protocol::Http).await;
    let io = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
    assert_eq!(half_a_request(io, &workload).await, "");
}
