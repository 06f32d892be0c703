//! gRPC over one HTTP/2 connection without TLS that is kept open.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::Mutex};

use super::{
    super::grpc::{MESSAGE, STATUS},
    Running, Watch,
};

/// One message: not compressed, 4 bytes long.
const REQUEST: &[u8] = b"\0\0\0\0\x04\x08\xb0\x09\0";

#[derive(Debug)]
pub(super) struct Channel {
    watch: Watch,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    running: Running,
    sender: SendRequest<Full<Bytes>>,
}

impl Channel {
    pub(super) fn new(watch: Watch) -> Self {
        Self { watch, open: Mutex::default() }
    }

    /// One unary call.
    pub(super) async fn call(&self, address: SocketAddr, path: &str) -> Result<(), String> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}{path}", self.watch.to))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(Full::from(REQUEST))
            .map_err(|error| error.to_string())?;
        let mut sender = self.sender(address).await?;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?;
        // A trailers-only answer has its status in the headers.
        judge(body.trailers().filter(|map| map.contains_key(STATUS)).unwrap_or(&head.headers))
    }

    async fn sender(&self, address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, String> {
        let mut open = self.open.lock().await;
        if let Some(open) = open.as_mut().filter(|open| open.running.leads_to(address))
            && open.sender.ready().await.is_ok()
        {
            return Ok(open.sender.clone());
        }
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let running = self.watch.run(address, async move { drop(connection.await) });
        *open = Some(Open { running, sender: sender.clone() });
        Ok(sender)
    }
}

fn judge(map: &HeaderMap) -> Result<(), String> {
    let text = |name| map.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    match text(STATUS).as_deref() {
        Some("0") => Ok(()),
        Some(status) => Err(format!("grpc-status {status}: {}", text(MESSAGE).unwrap_or_default())),
        None => Err("no grpc-status".to_owned()),
    }
}
