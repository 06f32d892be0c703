//! The backend's HTTP: one answer for all, over HTTP/1.1 or HTTP/2.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use memchr::memmem;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{BODY, DENIED, Strange};
use crate::{lean::PATH, streams::METHOD};

/// What an HTTP/2 connection begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// The largest head of a request.
const HEAD: usize = 64 * 1024;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Serves a connection by what it begins with.
pub(super) async fn serve(stream: TcpStream, strange: Arc<Strange>) {
    let mut begin = [0; PREFACE.len()];
    loop {
        if stream.readable().await.is_err() {
            return;
        }
        let Ok(length) = stream.peek(&mut begin).await else { return };
        let Some(begun) = begin.get(..length) else { return };
        if length == 0 {
            return;
        }
        if !PREFACE.starts_with(begun) {
            return first(stream, &strange).await;
        }
        if length == PREFACE.len() {
            return second(stream, strange).await;
        }
        // A few bytes of a preface come alone only if somebody writes them one by one.
        tokio::task::yield_now().await;
    }
}

/// HTTP/1.1 for requests without a body: the one thing that is read is where a head ends, and
/// whether it asks for the connection's end. A server that parses would cost what a proxy costs.
async fn first(mut stream: TcpStream, strange: &Strange) {
    let reader = Reader::new();
    let [kept, last] = ["", CLOSE].map(|header| answer(header, BODY.len()));
    let end = memmem::Finder::new(b"\r\n\r\n");
    let mut received = Vec::with_capacity(4096);
    let mut answers = Vec::new();
    while received.len() < HEAD && matches!(stream.read_buf(&mut received).await, Ok(1..)) {
        let mut begin = 0;
        let mut is_last = false;
        while let Some(rest) = received.get(begin..)
            && let Some(length) = end.find(rest)
            && !is_last
        {
            let head = rest.get(..length).unwrap_or_default();
            is_last = asks_to_close(head);
            let asked = reader.read(head);
            if asked == Asked::Strange {
                strange.add();
            }
            match asked {
                Asked::Bytes(bytes) if is_last => answers.extend(answer(CLOSE, bytes)),
                Asked::Bytes(bytes) => answers.extend(answer("", bytes)),
                Asked::Usual | Asked::Strange => {
                    answers.extend_from_slice(if is_last { &last } else { &kept });
                }
            }
            begin += length + 4;
        }
        received.drain(..begin);
        if stream.write_all(&answers).await.is_err() || is_last {
            return;
        }
        answers.clear();
    }
}

/// The header of a connection's last answer.
const CLOSE: &str = "connection: close\r\n";

/// The largest answer.
const LARGEST: usize = 16 * 1024 * 1024;

/// As many bytes as are asked for: those of the usual answer over and over.
fn answer(header: &str, bytes: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n{header}\r\n");
    let mut answer = head.into_bytes();
    let end = answer.len() + bytes;
    answer.extend(BODY.repeat(bytes.div_ceil(BODY.len())));
    answer.truncate(end);
    answer
}

/// What a head asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// The usual answer, by the call of the loads.
    Usual,
    /// As many bytes, by the same call.
    Bytes(usize),
    /// Another call; it gets the usual answer.
    Strange,
}

/// Knows the one call of the loads.
struct Reader {
    usual: String,
    bytes: String,
    denied: memmem::Finder<'static>,
}

impl Reader {
    fn new() -> Self {
        let denied = memmem::Finder::new(DENIED.as_bytes());
        Self {
            usual: format!("GET {PATH} HTTP/1.1\r\n"),
            bytes: format!("GET {PATH}?bytes="),
            denied,
        }
    }

    fn read(&self, head: &[u8]) -> Asked {
        if self.denied.find(head).is_some() {
            return Asked::Strange;
        }
        if head.starts_with(self.usual.as_bytes()) {
            return Asked::Usual;
        }
        let bytes = head.strip_prefix(self.bytes.as_bytes()).and_then(|rest| {
            let line = rest.split(|byte| *byte == b'\r').next()?;
            let number = line.strip_suffix(b" HTTP/1.1")?;
            str::from_utf8(number).ok()?.parse().ok().filter(|bytes| *bytes <= LARGEST)
        });
        bytes.map_or(Asked::Strange, Asked::Bytes)
    }
}

fn asks_to_close(head: &[u8]) -> bool {
    let mut lines = head.split(|byte| *byte == b'\n');
    lines.any(|line| line.trim_ascii_end().eq_ignore_ascii_case(b"connection: close"))
}

async fn second(stream: TcpStream, strange: Arc<Strange>) {
    let service = service_fn(|request| {
        if is_strange(&request) {
            strange.add();
        }
        async move { Ok::<_, Infallible>(respond(request).await) }
    });
    let server = http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(1024)
        .serve_connection(TokioIo::new(stream), service);
    // How a connection ends is for the client to judge.
    drop(server.await);
}

fn is_strange<B>(request: &Request<B>) -> bool {
    let call = (request.method(), request.uri().path());
    let is_known = call == (&Method::GET, PATH) || call == (&Method::POST, METHOD);
    !is_known || request.headers().contains_key(DENIED)
}

async fn respond(request: Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
    let grpc = HeaderValue::from_static("application/grpc");
    let is_grpc = request.headers().get(header::CONTENT_TYPE) == Some(&grpc);
    // An answer before the message is there would be an early one, which resets the stream: no
    // server of gRPC does that. A message that breaks off has nobody left to answer to.
    drop(request.into_body().collect().await);
    if !is_grpc {
        return Response::new(Full::new(Bytes::from_static(BODY)).boxed());
    }
    let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))]);
    let message = Full::new(message()).with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(message.boxed());
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    response
}

/// The body as a gRPC message: not compressed, its length, itself.
fn message() -> Bytes {
    let length = u32::try_from(BODY.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0], &length[..], BODY].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_the_call_of_the_loads_or_a_strange_one() {
        let reader = Reader::new();
        for (head, asked) in [
            ("GET /v1/bench/call HTTP/1.1\r\nhost: a", Asked::Usual),
            ("GET /v1/bench/call?bytes=0 HTTP/1.1\r\nhost: a", Asked::Bytes(0)),
            ("GET /v1/bench/call?bytes=1048576 HTTP/1.1\r\n", Asked::Bytes(1_048_576)),
            ("GET /v1/bench/call?bytes=99999999 HTTP/1.1\r\n", Asked::Strange),
            ("GET /v1/bench/call?bytes=1 HTTP/1.0\r\n", Asked::Strange),
            ("DELETE /v1/bench/call HTTP/1.1\r\n", Asked::Strange),
            ("GET /v1/bench/other HTTP/1.1\r\n", Asked::Strange),
            ("GET /v1/bench/call HTTP/1.1\r\nhost: a\r\nx-denied: 1", Asked::Strange),
        ] {
            assert_eq!(reader.read(head.as_bytes()), asked, "{head}");
        }
    }

    #[test]
    fn over_http2_a_call_is_strange_by_its_method_its_path_or_its_mark() {
        let request = |method: &str, path: &str| {
            Request::builder().method(method).uri(format!("http://a{path}"))
        };
        let known = [request("GET", PATH), request("POST", METHOD)];
        assert!(!known.into_iter().any(|request| is_strange(&request.body(()).unwrap())));
        let strange = [
            request("POST", PATH),
            request("GET", METHOD),
            request("POST", "/bench.v1.Bench/Other"),
            request("POST", METHOD).header(DENIED, "1"),
        ];
        assert!(strange.into_iter().all(|request| is_strange(&request.body(()).unwrap())));
    }

    #[test]
    fn only_a_line_of_its_own_asks_for_the_end() {
        assert!(asks_to_close(b"GET / HTTP/1.1\r\nConnection: close\r\nhost: a"));
        assert!(asks_to_close(b"GET / HTTP/1.1\r\nconnection: Close"));
        assert!(!asks_to_close(b"GET / HTTP/1.1\r\nx-connection: close\r\nhost: a"));
        assert!(!asks_to_close(b"GET /?connection: close HTTP/1.1"));
    }
}
