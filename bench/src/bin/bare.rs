//! A pair of proxies that is only the libraries of ours: HTTP/1.1 by hyper, HTTP/2 by h2 and hyper,
//! mutual TLS by rustls. It knows no policy, keeps no record, has no limits and passes requests without a
//! body: what it costs is the least that ours can.

use std::{
    future::poll_fn,
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
use http::{HeaderValue, Request, Response, Uri, Version, header, uri::Scheme};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::{body::Incoming, client::conn::http1, rt::Executor, server::conn, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, client::Resumption, server::WebPkiClientVerifier,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::net::{TcpListener, TcpStream};
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

    /// A folder with `ca.pem`, and `client.pem` or `server.pem` with its key.
    #[arg(long, value_name = "FOLDER")]
    certs: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Side {
    Client,
    Server,
}

// One thread, as ours have one.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match args.side {
        Side::Client => client(&args).await,
        Side::Server => server(&args).await,
    }
}

/// HTTP/1.1 in, HTTP/2 out.
async fn client(args: &Args) -> anyhow::Result<()> {
    let connector = TlsConnector::from(Arc::new(client_tls(&args.certs)?));
    let tcp = tokio::time::timeout(READY, connected(args.to)).await.context("the other side")?;
    let name = ServerName::try_from("server.bench.example").context("a name")?;
    let stream = connector.connect(name, tcp).await.context("TLS")?;
    let (sender, connection) = h2::client::handshake(stream).await.context("HTTP/2")?;
    let tasks = TaskTracker::new();
    tasks.spawn(connection);
    let listener = TcpListener::bind(args.listen).await.context("--listen")?;
    loop {
        let (tcp, _) = listener.accept().await.context("accept")?;
        tcp.set_nodelay(true).context("TCP_NODELAY")?;
        let sender = sender.clone();
        let service = service_fn(move |request| over_http2(sender.clone(), request));
        let http1 = conn::http1::Builder::new();
        tasks.spawn(http1.serve_connection(TokioIo::new(tcp), service));
    }
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
    sender: h2::client::SendRequest<Bytes>,
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

/// HTTP/2 in, HTTP/1.1 out.
async fn server(args: &Args) -> anyhow::Result<()> {
    let acceptor = TlsAcceptor::from(Arc::new(server_tls(&args.certs)?));
    let listener = TcpListener::bind(args.listen).await.context("--listen")?;
    let (tasks, to) = (Tasks::default(), args.to);
    let idle = Arc::<Mutex<Vec<Line>>>::default();
    loop {
        let (tcp, _) = listener.accept().await.context("accept")?;
        tcp.set_nodelay(true).context("TCP_NODELAY")?;
        let (acceptor, executor, idle) = (acceptor.clone(), tasks.clone(), idle.clone());
        tasks.0.spawn(async move {
            let Ok(stream) = acceptor.accept(tcp).await else { return };
            let service = service_fn(move |request| over_http1(idle.clone(), to, request));
            let mut http2 = conn::http2::Builder::new(executor);
            http2.max_concurrent_streams(STREAMS);
            // How it ends is for the client to judge.
            drop(http2.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

type Connection = http1::Connection<TokioIo<TcpStream>, Empty<Bytes>>;

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
    idle: Arc<Mutex<Vec<Line>>>,
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
