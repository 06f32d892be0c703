//! The workload as a gRPC server: any unary method, answered with the message that came.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::{Call, Saw, Shared, http::callers};

pub(super) const STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(super) const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// gRPC's `UNIMPLEMENTED`, `INTERNAL` and `UNAVAILABLE`.
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;

pub(super) async fn serve(stream: TcpStream, connection: u64, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(handle(request, connection, &shared).await) }
    });
    let server = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    // How a caller's connection ends is for the caller to judge.
    drop(server.await);
}

async fn handle(
    request: Request<Incoming>,
    connection: u64,
    shared: &Shared,
) -> Response<BoxBody<Bytes, Infallible>> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().trim_start_matches('/');
    let Some((service, method)) = path.split_once('/') else {
        return failure(UNIMPLEMENTED, "no service and method");
    };
    let (service, method) = (service.to_owned(), method.to_owned());
    let saw = Saw::Grpc { service: service.clone(), method: method.clone() };
    if shared.saw(connection, callers(&head.headers), saw).is_err() {
        return failure(INTERNAL, "log not writable");
    }
    let Ok(body) = body.collect().await else {
        return failure(INTERNAL, "body incomplete");
    };
    match shared.follow(&Call::Grpc { service, method }).await {
        Ok(()) => success(body.to_bytes()),
        Err(failed) => failure(UNAVAILABLE, &format!("{}: {}", failed.step, failed.reason)),
    }
}

/// The messages that came go back as they are, 5-byte prefixes included.
fn success(messages: Bytes) -> Response<BoxBody<Bytes, Infallible>> {
    let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))]);
    let body = Full::from(messages).with_trailers(async { Some(Ok(trailers)) });
    respond(body.boxed())
}

/// A trailers-only answer.
fn failure(status: u16, message: &str) -> Response<BoxBody<Bytes, Infallible>> {
    let mut response = respond(Full::default().boxed());
    response.headers_mut().insert(STATUS, HeaderValue::from(status));
    let message = message.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' });
    if let Ok(message) = HeaderValue::from_str(&message.collect::<String>()) {
        response.headers_mut().insert(MESSAGE, message);
    }
    response
}

fn respond(body: BoxBody<Bytes, Infallible>) -> Response<BoxBody<Bytes, Infallible>> {
    let mut response = Response::new(body);
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    response
}
