//! Closed loop over HTTP/2: so many connections, so many streams on each that never pause.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Control, LoadError, Loopback, Report,
    backend::{BODY, DENIED},
    crowd::{AGAIN, ANSWER, Crowd},
    line::connect,
    measure::{Outcome, Recorder},
};

/// The gRPC method that is called.
pub(crate) const METHOD: &str = "/bench.v1.Bench/Call";

/// A gRPC message of ten bytes: not compressed, its length, itself.
pub(crate) const MESSAGE: &[u8] = b"\0\0\0\0\x0abenchmark.";

const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// A `GET` and its answer.
    Get,
    /// A unary gRPC call.
    Grpc,
}

/// Streams that never pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// How many connections.
    pub connections: usize,
    /// How many streams on each.
    pub streams: usize,
    /// What they carry.
    pub exchange: Exchange,
    /// How long; until stopped if not given.
    pub duration: Option<Duration>,
}

/// Calls over HTTP/2, in plain text and with prior knowledge.
///
/// # Errors
/// If there is no connection or no stream.
pub async fn stream_loop(
    server: Loopback,
    load: Streams,
    control: Control,
) -> Result<Report, LoadError> {
    if load.connections == 0 || load.streams == 0 {
        return Err(LoadError::Setting("connections and streams must be above 0"));
    }
    let crowd = Crowd::new(control)?;
    for _ in 0..load.connections {
        crowd.add(connection(server, load, crowd.recorder(), crowd.stop()));
    }
    Ok(crowd.run(load.duration).await)
}

/// One call over a connection of its own.
pub(crate) async fn once(server: Loopback, exchange: Exchange) -> Outcome {
    match Kept::open(server, exchange).await {
        Some(mut kept) => kept.call().await,
        None => Outcome::Connect,
    }
}

/// A call of a method that no load calls, over a connection of its own.
pub(crate) async fn denied(server: Loopback, method: &str) -> Outcome {
    let Some(mut kept) = Kept::open(server, Exchange::Grpc).await else { return Outcome::Connect };
    let mut request = request(server, Exchange::Grpc);
    let uri = format!("http://{}{method}", server.address());
    *request.uri_mut() = uri.parse().unwrap_or_default();
    request.headers_mut().insert(DENIED, HeaderValue::from_static("1"));
    let call = kept.caller.call(request);
    tokio::time::timeout(ANSWER, call).await.unwrap_or(Outcome::Timeout)
}

/// A connection for one call after another.
pub(crate) struct Kept {
    caller: Caller,
    _driver: TaskTracker,
}

impl Kept {
    pub(crate) async fn open(server: Loopback, exchange: Exchange) -> Option<Self> {
        let driver = TaskTracker::new();
        let sender = open(server, &driver).await?;
        Some(Self { caller: Caller { server, exchange, sender }, _driver: driver })
    }

    pub(crate) async fn call(&mut self) -> Outcome {
        let Caller { server, exchange, .. } = self.caller;
        let call = self.caller.call(request(server, exchange));
        tokio::time::timeout(ANSWER, call).await.unwrap_or(Outcome::Timeout)
    }
}

/// One connection, opened again when it has ended.
async fn connection(server: Loopback, load: Streams, recorder: Recorder, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let driver = TaskTracker::new();
        let Some(sender) = open(server, &driver).await else {
            recorder.sent(Duration::ZERO);
            recorder.ended(&Outcome::Connect, Duration::ZERO);
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        recorder.opened();
        let streams = TaskTracker::new();
        for _ in 0..load.streams {
            let caller = Caller { server, exchange: load.exchange, sender: sender.clone() };
            streams.spawn(caller.run(recorder.clone(), stop.clone()));
        }
        streams.close();
        streams.wait().await;
        if !stop.is_cancelled() {
            recorder.closed();
        }
        // The last sender: without one the connection ends by itself.
        drop(sender);
        driver.close();
        drop(tokio::time::timeout(AGAIN, driver.wait()).await);
    }
}

async fn open(server: Loopback, driver: &TaskTracker) -> Option<SendRequest<Full<Bytes>>> {
    let stream = connect(server).await?;
    let (sender, connection) =
        Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await.ok()?;
    driver.spawn(async move {
        // How it ended shows in the calls that were on it.
        drop(connection.await);
    });
    Some(sender)
}

/// One stream after another.
struct Caller {
    server: Loopback,
    exchange: Exchange,
    sender: SendRequest<Full<Bytes>>,
}

impl Caller {
    async fn run(mut self, recorder: Recorder, stop: CancellationToken) {
        let request = request(self.server, self.exchange);
        while !stop.is_cancelled() {
            let start = Instant::now();
            recorder.sent(Duration::ZERO);
            let outcome = tokio::time::timeout(ANSWER, self.call(request.clone())).await;
            let outcome = outcome.unwrap_or(Outcome::Timeout);
            recorder.ended(&outcome, start.elapsed());
            if outcome == Outcome::Closed {
                return;
            }
        }
    }

    async fn call(&mut self, request: Request<Full<Bytes>>) -> Outcome {
        if self.sender.ready().await.is_err() {
            return Outcome::Closed;
        }
        let Ok(response) = self.sender.send_request(request).await else { return Outcome::Closed };
        let (head, body) = response.into_parts();
        let Ok(body) = body.collect().await else { return Outcome::Closed };
        let (status, trailers) = (head.status.as_u16(), body.trailers().cloned());
        let bytes = body.to_bytes();
        match self.exchange {
            _ if status != 200 => Outcome::Status(status),
            Exchange::Get if bytes.as_ref() == BODY => Outcome::Status(status),
            Exchange::Grpc => judge(&head.headers, trailers.as_ref(), &bytes),
            Exchange::Get => Outcome::Wrong,
        }
    }
}

/// A gRPC answer: the status is in the trailers, or in the head where there is no message.
fn judge(head: &HeaderMap, trailers: Option<&HeaderMap>, message: &[u8]) -> Outcome {
    let status = trailers.and_then(|trailers| trailers.get(STATUS)).or_else(|| head.get(STATUS));
    let status = status.and_then(|status| status.to_str().ok()?.parse().ok());
    // Five bytes before the message say how it is encoded and how long it is.
    if status == Some(0) && message.get(5..) != Some(BODY.as_slice()) {
        return Outcome::Wrong;
    }
    Outcome::Grpc(status)
}

fn request(server: Loopback, exchange: Exchange) -> Request<Full<Bytes>> {
    let (method, path, body) = match exchange {
        Exchange::Get => (Method::GET, crate::lean::PATH, Bytes::new()),
        Exchange::Grpc => (Method::POST, METHOD, Bytes::from_static(MESSAGE)),
    };
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    // An address and a constant always make a URI; if not, the call fails and is counted.
    *request.uri_mut() = format!("http://{}{path}", server.address()).parse().unwrap_or_default();
    if exchange == Exchange::Grpc {
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_answer_is_its_status_and_a_right_one_has_the_message() {
        let status = |text| HeaderMap::from_iter([(STATUS, HeaderValue::from_static(text))]);
        let nothing = HeaderMap::new();
        let message = [&[0, 0, 0, 0, 100], &BODY[..]].concat();

        let right = judge(&nothing, Some(&status("0")), &message);
        assert_eq!(right, Outcome::Grpc(Some(0)));
        assert_eq!(judge(&nothing, Some(&status("0")), b"\0\0\0\0\x01x"), Outcome::Wrong);
        assert_eq!(judge(&status("7"), None, b""), Outcome::Grpc(Some(7)));
        assert_eq!(judge(&nothing, None, &message), Outcome::Grpc(None));
    }
}
