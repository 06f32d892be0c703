//! HTTP/1.1 with JSON: over cellwalld's 0600 unix socket, and to a sidecar's admin listener.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// The longest a request may take, from connecting to the last byte.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// The longest answer: 100,000 identities fit.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) document: Value,
}

impl Answer {
    /// The document of an answer that must be a success.
    pub(crate) fn success(self) -> anyhow::Result<Value> {
        if self.status.is_success() { Ok(self.document) } else { Err(self.refusal()) }
    }

    /// What a problem document says.
    pub(crate) fn refusal(&self) -> anyhow::Error {
        let text = |key| self.document.get(key).and_then(Value::as_str);
        match (text("title"), text("detail")) {
            (Some(title), Some(detail)) => anyhow!("{title}: {detail}"),
            (Some(title), None) => anyhow!("{title}"),
            (None, _) => anyhow!("cellwalld answered {}", self.status),
        }
    }
}

/// Asks for a document.
pub(crate) async fn get(socket: &Path, path: &str) -> anyhow::Result<Answer> {
    send(socket, request(Method::GET, path, Bytes::new())?).await
}

/// Asks a sidecar for a document.
pub(crate) async fn get_from(sidecar: SocketAddr, path: &str) -> anyhow::Result<Answer> {
    let request = request(Method::GET, path, Bytes::new())?;
    let asked = async {
        let stream = TcpStream::connect(sidecar).await;
        let stream = stream.with_context(|| {
            format!("cannot reach a sidecar's admin listener at {sidecar} (is it running?)")
        })?;
        exchange(stream, request).await
    };
    match timeout(DEADLINE, asked).await {
        Ok(answer) => answer,
        Err(_) => bail!("the sidecar at {sidecar} did not answer within 30 s"),
    }
}

/// Sends a document.
pub(crate) async fn post(socket: &Path, path: &str, document: &Value) -> anyhow::Result<Answer> {
    let body = serde_json::to_vec(document).context("cannot write JSON")?;
    send(socket, request(Method::POST, path, body.into())?).await
}

fn request(method: Method, path: &str, body: Bytes) -> anyhow::Result<Request<Full<Bytes>>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "cellwalld")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("cellwall/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(body))
        .context("cannot make the request")
}

async fn send(socket: &Path, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
    match timeout(DEADLINE, ask(socket, request)).await {
        Ok(answer) => answer,
        Err(_) => bail!("cellwalld at {} did not answer within 30 s", socket.display()),
    }
}

async fn ask(socket: &Path, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
    let stream = UnixStream::connect(socket).await.with_context(|| {
        format!(
            "cannot reach cellwalld at {} (is it running? --socket names another)",
            socket.display()
        )
    })?;
    exchange(stream, request).await
}

async fn exchange<IO>(stream: IO, request: Request<Full<Bytes>>) -> anyhow::Result<Answer>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.context("cannot speak to cellwalld")?;
    let answer = async {
        let response = sender.send_request(request).await.context("no answer from cellwalld")?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| anyhow!("the answer broke off: {error}"))?.to_bytes();
        let document = serde_json::from_slice(&body)
            .with_context(|| format!("cellwalld answered {status} without a JSON document"))?;
        Ok(Answer { status, document })
    };
    tokio::pin!(answer);
    // The connection may end right after the last byte; the answer is complete all the same.
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}
