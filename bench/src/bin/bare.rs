//! A pair of proxies that is only the libraries of ours: HTTP/1.1 by hyper, HTTP/2 by h2 and hyper,
//! mutual TLS by rustls. It knows no policy, keeps no record, has no limits, passes requests of HTTP/1.1
//! without a body and bytes in a session for each connection: what it costs is the least that ours can.

use std::{
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use clap::{Parser, ValueEnum};
use http::{HeaderMap, HeaderValue, Request, Response, Uri, Version, header, uri::Scheme};
use http_body_util::{BodyExt as _, Empty, Full, combinators::WithTrailers};
use hyper::{body::Incoming, client::conn::http1, rt::Executor, server::conn, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, client::Resumption, server::WebPkiClientVerifier,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::task::TaskTracker;

/// As ours have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the other side may take to be there, and how often it is looked for.
const READY: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

/// Streams at once: as many as a load has connections.
const STREAMS: u32 = 2048;

/// h2 ends a connection with too much in small frames that nobody has read yet. It goes by the window,
/// or by what it is told.
const WINDOW: u32 = 16 * 1024 * 1024;
const FRAMING: usize = 64 * 1024 * 1024;

/// One of a pair of proxies that is only libraries.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Which one.
    side: Side,

    /// Where.
    #[arg(long, value_name = "IP:PORT")]
    listen: SocketAddr,

    /// Whereto.
    #[arg(long, value_name = "IP:PORT")]
    to: SocketAddr,

    /// What it passes.
    #[arg(long, value_name = "PROTOCOL")]
    protocol: Protocol,

    /// A folder with `ca.pem`, and `client.pem` or `server.pem` with its key.
    #[arg(long, value_name = "FOLDER")]
    certs: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Side {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Protocol {
    Http1,
    Http2,
    Tcp,
}

/// What a relay reads at once, each way.
const CHUNK: usize = 256 * 1024;

// One thread, as ours have one.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match args.side {
        Side::Client => client(&args).await,
        Side::Server => server(&args).await,
    }
}

/// HTTP/1.1 in, HTTP/2 out; or gRPC in and out; or bytes in a session for each connection.
async fn client(args: &Args) -> anyhow::Result<()> {
    let connector = TlsConnector::from(Arc::new(client_tls(&args.certs)?));
    let tcp = tokio::time::timeout(READY, connected(args.to)).await.context("the other side")?;
    let name = ServerName::try_from("server.bench.example").context("a name")?;
    let tasks = Tasks::default();
    let sender = match args.protocol {
        Protocol::Tcp => None,
        _ => {
            Some(called(&tasks, connector.connect(name.clone(), tcp).await.context("TLS")?).await?)
        }
    };
    let (protocol, to) = (args.protocol, args.to);
    let listener = TcpListener::bind(args.listen).await.context("--listen")?;
    loop {
        let (tcp, _) = listener.accept().await.context("accept")?;
        tcp.set_nodelay(true).context("TCP_NODELAY")?;
        match (protocol, sender.clone()) {
            (Protocol::Http1, Some(sender)) => {
                let service = service_fn(move |request| over_http2(sender.clone(), request));
                let http1 = conn::http1::Builder::new();
                tasks.0.spawn(http1.serve_connection(TokioIo::new(tcp), service));
            }
            (Protocol::Http2, Some(sender)) => {
                tasks.0.spawn(serve_grpc(tasks.clone(), tcp, sender));
            }
            _ => {
                let (connector, name) = (connector.clone(), name.clone());
                tasks.0.spawn(async move {
                    let far = connected(to).await;
                    if let Ok(far) = connector.connect(name, far).await {
                        passed(tcp, far).await;
                    }
                });
            }
        }
    }
}

type Sender = h2::client::SendRequest<Bytes>;

async fn called(
    tasks: &Tasks,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> anyhow::Result<Sender> {
    let http2 = h2::client::Builder::new()
        .initial_max_send_streams(STREAMS as usize)
        .initial_connection_window_size(WINDOW)
        .data_frame_budget(FRAMING)
        .handshake(io);
    let (sender, connection) = http2.await.context("HTTP/2")?;
    tasks.0.spawn(connection);
    Ok(sender)
}

async fn passed(
    mut near: impl AsyncRead + AsyncWrite + Unpin,
    mut far: impl AsyncRead + AsyncWrite + Unpin,
) {
    // How it ends is for both ends to judge.
    drop(tokio::io::copy_bidirectional_with_sizes(&mut near, &mut far, CHUNK, CHUNK).await);
}

/// gRPC on one connection, each call as a stream of `sender`.
async fn serve_grpc(
    tasks: Tasks,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    sender: Sender,
) {
    let service = service_fn(move |request| unary(sender.clone(), request));
    let mut http2 = conn::http2::Builder::new(tasks);
    http2.max_concurrent_streams(STREAMS).initial_connection_window_size(WINDOW);
    // How it ends is for the client to judge.
    drop(http2.serve_connection(TokioIo::new(io), service).await);
}

type Trailers = Ready<Option<Result<HeaderMap, Infallible>>>;

async fn unary(
    sender: Sender,
    request: Request<Incoming>,
) -> anyhow::Result<Response<WithTrailers<Full<Bytes>, Trailers>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut sender = sender.ready().await?;
    let (answer, mut stream) = sender.send_request(Request::from_parts(head, ()), false)?;
    stream.send_data(body, true)?;
    let (head, mut body) = answer.await?.into_parts();
    let data = body.data().await.transpose()?.unwrap_or_default();
    body.flow_control().release_capacity(data.len())?;
    let trailers = body.trailers().await?.map(Ok);
    Ok(Response::from_parts(head, Full::new(data).with_trailers(ready(trailers))))
}

async fn connected(to: SocketAddr) -> TcpStream {
    loop {
        if let Ok(tcp) = TcpStream::connect(to).await
            && tcp.set_nodelay(true).is_ok()
        {
            return tcp;
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn over_http2(
    sender: Sender,
    request: Request<Incoming>,
) -> anyhow::Result<Response<Full<Bytes>>> {
    let (mut head, _) = request.into_parts();
    let host = head.headers.remove(header::HOST).context("no host")?;
    head.headers.remove(header::CONNECTION);
    let target = head.uri.path_and_query().context("no path")?.clone();
    let uri = Uri::builder().scheme(Scheme::HTTP).authority(host.as_bytes());
    (head.uri, head.version) = (uri.path_and_query(target).build()?, Version::HTTP_2);
    let mut sender = sender.ready().await?;
    let (answer, _) = sender.send_request(Request::from_parts(head, ()), true)?;
    let (head, mut body) = answer.await?.into_parts();
    let mut whole = BytesMut::new();
    while let Some(data) = body.data().await.transpose()? {
        body.flow_control().release_capacity(data.len())?;
        if body.is_end_stream() && whole.is_empty() {
            return Ok(answered(head, data));
        }
        whole.extend_from_slice(&data);
    }
    Ok(answered(head, whole.freeze()))
}

fn answered(mut head: http::response::Parts, body: Bytes) -> Response<Full<Bytes>> {
    head.version = Version::HTTP_11;
    Response::from_parts(head, Full::new(body))
}

/// HTTP/2 in, HTTP/1.1 out; or gRPC in and out; or a session for each connection.
async fn server(args: &Args) -> anyhow::Result<()> {
    let acceptor = TlsAcceptor::from(Arc::new(server_tls(&args.certs)?));
    let listener = TcpListener::bind(args.listen).await.context("--listen")?;
    let (tasks, to, protocol) = (Tasks::default(), args.to, args.protocol);
    let idle = Idle::default();
    let sender = match protocol {
        Protocol::Http2 => Some(called(&tasks, connected(to).await).await?),
        _ => None,
    };
    loop {
        let (tcp, _) = listener.accept().await.context("accept")?;
        tcp.set_nodelay(true).context("TCP_NODELAY")?;
        let (acceptor, executor, idle) = (acceptor.clone(), tasks.clone(), idle.clone());
        let sender = sender.clone();
        tasks.0.spawn(async move {
            let Ok(stream) = acceptor.accept(tcp).await else { return };
            match (protocol, sender) {
                (Protocol::Tcp, _) => passed(stream, connected(to).await).await,
                (_, Some(sender)) => serve_grpc(executor, stream, sender).await,
                (_, None) => serve_http1(executor, stream, (idle, to)).await,
            }
        });
    }
}

/// Calls on one connection, each handed on over HTTP/1.1.
async fn serve_http1(
    tasks: Tasks,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    (idle, to): (Idle, SocketAddr),
) {
    let service = service_fn(move |request| over_http1(idle.clone(), to, request));
    let mut http2 = conn::http2::Builder::new(tasks);
    http2.max_concurrent_streams(STREAMS).initial_connection_window_size(WINDOW);
    // How it ends is for the client to judge.
    drop(http2.serve_connection(TokioIo::new(io), service).await);
}

type Connection = http1::Connection<TokioIo<TcpStream>, Empty<Bytes>>;

type Idle = Arc<Mutex<Vec<Line>>>;

/// A connection of HTTP/1.1, driven by whoever has it.
struct Line {
    sender: http1::SendRequest<Empty<Bytes>>,
    /// Nothing when it is over.
    connection: Option<Box<Connection>>,
}

impl Line {
    async fn to(address: SocketAddr) -> anyhow::Result<Self> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(tcp)).await?;
        Ok(Self { sender, connection: Some(Box::new(connection)) })
    }

    /// Waits for `answer`, and lets the connection work meanwhile.
    async fn meanwhile<T>(
        connection: &mut Option<Box<Connection>>,
        answer: impl Future<Output = T>,
    ) -> T {
        let mut answer = pin!(answer);
        poll_fn(|cx: &mut Context<'_>| {
            if let Some(open) = connection
                && let Poll::Ready(_over) = Pin::new(&mut **open).poll(cx)
            {
                *connection = None;
            }
            answer.as_mut().poll(cx)
        })
        .await
    }
}

async fn over_http1(
    idle: Idle,
    to: SocketAddr,
    request: Request<Incoming>,
) -> anyhow::Result<Response<Full<Bytes>>> {
    let (mut head, _) = request.into_parts();
    let host = head.uri.authority().context("no authority")?.as_str();
    head.headers.insert(header::HOST, HeaderValue::from_str(host)?);
    head.uri = Uri::from(head.uri.path_and_query().context("no path")?.clone());
    head.version = Version::HTTP_11;
    let free = idle.lock().map_err(|_| io::Error::other("a panic"))?.pop();
    let mut line = match free {
        Some(line) => line,
        None => Line::to(to).await?,
    };
    let sent = line.sender.send_request(Request::from_parts(head, Empty::new()));
    let answer = Line::meanwhile(&mut line.connection, sent).await?;
    let (mut head, body) = answer.into_parts();
    let body = Line::meanwhile(&mut line.connection, body.collect()).await?.to_bytes();
    head.version = Version::HTTP_2;
    if line.connection.is_some() && line.sender.is_ready() {
        idle.lock().map_err(|_| io::Error::other("a panic"))?.push(line);
    }
    Ok(Response::from_parts(head, Full::new(body)))
}

/// Where hyper's tasks run.
#[derive(Clone, Default)]
struct Tasks(TaskTracker);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

type Presented = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn presented(certs: &Path, name: &str) -> anyhow::Result<Presented> {
    let chain = CertificateDer::pem_file_iter(certs.join(format!("{name}.pem")))?;
    let key = PrivateKeyDer::from_pem_file(certs.join(format!("{name}.key")))?;
    Ok((chain.collect::<Result<_, _>>()?, key))
}

fn roots(certs: &Path) -> anyhow::Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certs.join("ca.pem"))?)?;
    Ok(Arc::new(roots))
}

fn client_tls(certs: &Path) -> anyhow::Result<ClientConfig> {
    let (chain, key) = presented(certs, "client")?;
    let tls = ClientConfig::builder().with_root_certificates(roots(certs)?);
    let mut tls = tls.with_client_auth_cert(chain, key)?;
    tls.resumption = Resumption::disabled();
    Ok(tls)
}

fn server_tls(certs: &Path) -> anyhow::Result<ServerConfig> {
    let (chain, key) = presented(certs, "server")?;
    let verifier = WebPkiClientVerifier::builder(roots(certs)?).build()?;
    let tls = ServerConfig::builder().with_client_cert_verifier(verifier);
    let mut tls = tls.with_single_cert(chain, key)?;
    tls.send_tls13_tickets = 0;
    Ok(tls)
}
