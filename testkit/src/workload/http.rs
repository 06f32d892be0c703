//! The workload as an HTTP/1.1 server.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpStream;

use super::{Call, Saw, Shared};

/// The header by which a sidecar tells who calls.
pub(super) const CALLER: &str = "x-spiffe-id";

/// The largest answer that `x-response-bytes` gets.
const MAX_RESPONSE: usize = 64 << 20;

pub(super) async fn serve(stream: TcpStream, connection: u64, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(handle(request, connection, &shared).await) }
    });
    let server = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    // How a caller's connection ends is for the caller to judge.
    drop(server.await);
}

async fn handle(
    request: Request<Incoming>,
    connection: u64,
    shared: &Shared,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let caller = callers(&head.headers);
    let (method, path) = (head.method.to_string(), head.uri.path().to_owned());
    let saw = Saw::Http { method: asked(&method, &head.headers), path: path.clone() };
    if shared.saw(connection, caller.clone(), saw).is_err() {
        return answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({"error": "log not writable"}));
    }
    let Ok(body) = body.collect().await else {
        return answer(StatusCode::BAD_REQUEST, &json!({"error": "body incomplete"}));
    };
    let knobs = Knobs::of(&head.headers);
    if let Some(delay) = knobs.delay {
        tokio::time::sleep(delay).await;
    }
    if let Err(failed) = shared.follow(&Call::Http { method, path }).await {
        return answer(StatusCode::BAD_GATEWAY, &json!(failed));
    }
    if let Some(length) = knobs.response_bytes {
        return Response::new(Full::from(vec![b'x'; length]));
    }
    let mut seen = json!({"workload": shared.name, "caller": caller});
    if let (true, Some(seen)) = (knobs.echo, seen.as_object_mut()) {
        seen.insert("headers".to_owned(), json!(pairs(&head.headers)));
        seen.insert("query".to_owned(), json!(head.uri.query()));
        seen.insert("body_bytes".to_owned(), json!(body.to_bytes().len()));
        seen.insert("connection".to_owned(), json!(connection));
    }
    answer(knobs.status.unwrap_or(StatusCode::OK), &seen)
}

/// The method, with what the request asks to go on in: `GET+websocket`.
fn asked(method: &str, headers: &HeaderMap) -> String {
    match headers.get(header::UPGRADE) {
        Some(protocol) => format!("{method}+{}", String::from_utf8_lossy(protocol.as_bytes())),
        None => method.to_owned(),
    }
}

/// Every value of `x-spiffe-id`; what is no text shows as such.
pub(super) fn callers(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(CALLER).iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

/// What a test may ask of the workload by request headers.
struct Knobs {
    /// `x-delay-ms`: wait so long before the answer.
    delay: Option<Duration>,
    /// `x-status`: answer with this status.
    status: Option<StatusCode>,
    /// `x-response-bytes`: answer with so many bytes.
    response_bytes: Option<usize>,
    /// `x-echo`: tell the headers, the query and the body's length.
    echo: bool,
}

impl Knobs {
    fn of(headers: &HeaderMap) -> Self {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u32>().ok();
        let status = number("x-status").and_then(|code| u16::try_from(code).ok());
        let bytes = number("x-response-bytes").and_then(|bytes| usize::try_from(bytes).ok());
        Self {
            delay: number("x-delay-ms").map(|delay| Duration::from_millis(delay.into())),
            status: status.and_then(|code| StatusCode::from_u16(code).ok()),
            response_bytes: bytes.map(|bytes| bytes.min(MAX_RESPONSE)),
            echo: headers.contains_key("x-echo"),
        }
    }
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
