//! A minimal HTTP client: one connection, over TCP or a unix socket.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use crate::tasks::Tasks;

/// How long one request may take, the connection included.
const DEADLINE: Duration = Duration::from_secs(10);

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// At an address.
    Tcp(SocketAddr),
    /// Behind a unix socket.
    Unix(PathBuf),
}

impl From<SocketAddr> for Server {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// One HTTP/1.1 connection, kept open over requests.
#[derive(Debug)]
pub struct HttpConnection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Runs the connection.
    _tasks: Tasks,
}

impl HttpConnection {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn open(server: &Server) -> anyhow::Result<Self> {
        match server {
            Server::Tcp(address) => {
                let stream = TcpStream::connect(address).await;
                let stream = stream.with_context(|| format!("connect to {address}"))?;
                stream.set_nodelay(true)?;
                Self::over(stream).await
            }
            Server::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                Self::over(stream.with_context(|| format!("connect to {}", path.display()))?).await
            }
        }
    }

    /// Speaks HTTP/1.1 over any connection, a TLS one for example.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn over<IO>(stream: IO) -> anyhow::Result<Self>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let tasks = Tasks::new();
        tasks.spawner().spawn(async move { drop(connection.await) });
        Ok(Self { sender, _tasks: tasks })
    }

    /// One request and its whole answer.
    ///
    /// # Errors
    /// If the connection ends before the answer does, or nothing comes within 10 s.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Response<Bytes>> {
        let exchange = async {
            self.sender.ready().await?;
            let (head, body) = self.sender.send_request(request).await?.into_parts();
            anyhow::Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
        };
        tokio::time::timeout(DEADLINE, exchange).await.context("no answer in time")?
    }

    /// Whether the other end has closed it.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// One request without a body on a connection of its own: `GET /v1/status`, for example.
///
/// # Errors
/// If there is no answer.
pub async fn request(server: impl Into<Server>, call: &str) -> anyhow::Result<Response<Bytes>> {
    let request = build(call)?.body(Full::default())?;
    HttpConnection::open(&server.into()).await?.send(request).await
}

/// As [`request`], with a JSON body.
///
/// # Errors
/// If there is no answer.
pub async fn request_json(
    server: impl Into<Server>,
    call: &str,
    body: &Value,
) -> anyhow::Result<Response<Bytes>> {
    let request = build(call)?.header(header::CONTENT_TYPE, "application/json");
    let request = request.body(Full::from(body.to_string()))?;
    HttpConnection::open(&server.into()).await?.send(request).await
}

/// The head of a request from `METHOD /path`, to be added to.
///
/// # Errors
/// If `call` is not of that form.
pub fn build(call: &str) -> anyhow::Result<http::request::Builder> {
    let (method, path) = call.split_once(' ').with_context(|| format!("{call:?} has no path"))?;
    Ok(Request::builder().method(method).uri(path).header(header::HOST, "localhost"))
}

/// The answer to a gRPC call.
#[derive(Clone, Debug)]
pub struct GrpcAnswer {
    /// `grpc-status`; `None` if there was none.
    pub status: Option<u16>,
    /// The headers of the answer.
    pub headers: HeaderMap,
    /// The trailers of the answer, empty for a trailers-only one.
    pub trailers: HeaderMap,
    /// The messages with their 5-byte prefixes.
    pub body: Bytes,
}

/// One gRPC call over HTTP/2 without TLS, on a connection of its own, with one empty message.
///
/// # Errors
/// If there is no answer.
pub async fn grpc(address: SocketAddr, method: &str) -> anyhow::Result<GrpcAnswer> {
    grpc_with(address, method, HeaderMap::new()).await
}

/// The same, with more headers.
///
/// # Errors
/// If there is no answer.
pub async fn grpc_with(
    address: SocketAddr,
    method: &str,
    headers: HeaderMap,
) -> anyhow::Result<GrpcAnswer> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("{address}"))?;
    let io = TokioIo::new(stream);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
    let tasks = Tasks::new();
    tasks.spawner().spawn(async move { drop(connection.await) });
    let mut request = Request::post(format!("http://localhost/{method}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::<Bytes>::from(&[0; 5][..]))?;
    request.headers_mut().extend(headers);
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        anyhow::Ok((head.headers, body.collect().await?))
    };
    let (headers, body) =
        tokio::time::timeout(DEADLINE, exchange).await.context("no answer in time")??;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let status = trailers.get("grpc-status").or_else(|| headers.get("grpc-status"));
    let status = status.and_then(|value| value.to_str().ok()?.parse().ok());
    Ok(GrpcAnswer { status, headers, trailers, body: body.to_bytes() })
}
