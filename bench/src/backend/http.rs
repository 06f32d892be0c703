//! The backend's HTTP: one answer for all, over HTTP/1.1 or HTTP/2.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use memchr::memmem;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::BODY;

/// What an HTTP/2 connection begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// The largest head of a request.
const HEAD: usize = 64 * 1024;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Serves a connection by what it begins with.
pub(super) async fn serve(stream: TcpStream) {
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
            return first(stream).await;
        }
        if length == PREFACE.len() {
            return second(stream).await;
        }
        // A few bytes of a preface come alone only if somebody writes them one by one.
        tokio::task::yield_now().await;
    }
}

/// HTTP/1.1 for requests without a body: the one thing that is read is where a head ends, and
/// whether it asks for the connection's end. A server that parses would cost what a proxy costs.
async fn first(mut stream: TcpStream) {
    let kept = answer("");
    let last = answer("connection: close\r\n");
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
            answers.extend_from_slice(if is_last { &last } else { &kept });
            begin += length + 4;
        }
        received.drain(..begin);
        if stream.write_all(&answers).await.is_err() || is_last {
            return;
        }
        answers.clear();
    }
}

fn answer(header: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{header}\r\n", BODY.len());
    [head.as_bytes(), BODY].concat()
}

fn asks_to_close(head: &[u8]) -> bool {
    let mut lines = head.split(|byte| *byte == b'\n');
    lines.any(|line| line.trim_ascii_end().eq_ignore_ascii_case(b"connection: close"))
}

async fn second(stream: TcpStream) {
    let service = service_fn(|request| async move { Ok::<_, Infallible>(respond(request).await) });
    let server = http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(1024)
        .serve_connection(TokioIo::new(stream), service);
    // How a connection ends is for the client to judge.
    drop(server.await);
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
    fn only_a_line_of_its_own_asks_for_the_end() {
        assert!(asks_to_close(b"GET / HTTP/1.1\r\nConnection: close\r\nhost: a"));
        assert!(asks_to_close(b"GET / HTTP/1.1\r\nconnection: Close"));
        assert!(!asks_to_close(b"GET / HTTP/1.1\r\nx-connection: close\r\nhost: a"));
        assert!(!asks_to_close(b"GET /?connection: close HTTP/1.1"));
    }
}
