//! Servers that the test plays: another sidecar behind TLS, or a gRPC workload, which answers 200 to
//! everything and says what came over which connection; and workloads of a few lines.

use std::{net::SocketAddr, time::SystemTime};

use cellwall_testkit::{ca::Svid, tls::DangerousParty};
use http::{HeaderMap, Request, Response, request::Parts};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};

use crate::kit::DEADLINE;

/// Serves until the test ends.
pub(crate) struct Played {
    pub(crate) address: SocketAddr,
    arrived: mpsc::Receiver<Arrived>,
    _tasks: JoinSet<()>,
}

/// A request, as it came.
#[derive(Debug)]
pub(crate) struct Arrived {
    /// Counted from 0.
    pub(crate) connection: usize,
    pub(crate) at: SystemTime,
    pub(crate) head: Parts,
    pub(crate) body: bytes::Bytes,
    pub(crate) trailers: HeaderMap,
}

/// A workload that does so with each connection, until the test ends.
pub(crate) async fn accepting<F>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> (SocketAddr, JoinSet<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            connections.spawn(serve(tcp));
        }
    });
    (address, tasks)
}

/// A workload that sends every octet back.
pub(crate) async fn echo() -> (SocketAddr, JoinSet<()>) {
    accepting(|mut tcp| async move {
        let (mut read, mut write) = tcp.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await
}

impl Played {
    /// The sidecar of `svid`'s holder. Unlike ours it never says that a connection is about to end.
    pub(crate) async fn sidecar(svid: &Svid) -> Self {
        Self::start(Some(DangerousParty::presenting(svid).alpn(&["h2"]))).await
    }

    /// The same; says GOAWAY as soon as a request is there, and then never answers it.
    pub(crate) async fn silent_sidecar(svid: &Svid) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let party = DangerousParty::presenting(svid).alpn(&["h2"]);
        let (say, arrived) = mpsc::channel(64);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let Ok(stream) = party.accept(tcp).await else { continue };
                connections.spawn(leave_unanswered(stream, say.clone()));
            }
        });
        Self { address, arrived, _tasks: tasks }
    }

    /// A workload that speaks HTTP/2 without TLS.
    pub(crate) async fn workload() -> Self {
        Self::start(None).await
    }

    async fn start(party: Option<DangerousParty>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (say, arrived) = mpsc::channel(64);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            for number in 0.. {
                let (tcp, _) = listener.accept().await.unwrap();
                let (party, say) = (party.clone(), say.clone());
                connections.spawn(async move {
                    match party {
                        Some(party) => {
                            // A handshake that fails is the caller's affair.
                            if let Ok(stream) = party.accept(tcp).await {
                                serve(stream, number, say).await;
                            }
                        }
                        None => serve(tcp, number, say).await,
                    }
                });
            }
        });
        Self { address, arrived, _tasks: tasks }
    }

    /// A request that has come, if any.
    pub(crate) fn arrived(&mut self) -> Option<Arrived> {
        self.arrived.try_recv().ok()
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> Arrived {
        tokio::time::timeout(DEADLINE, self.arrived.recv()).await.unwrap().unwrap()
    }
}

async fn serve<IO>(io: IO, connection: usize, say: mpsc::Sender<Arrived>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let say = say.clone();
        async move {
            let at = SystemTime::now();
            let (head, body) = request.into_parts();
            let body = body.collect().await?;
            let trailers = body.trailers().cloned().unwrap_or_default();
            let body = body.to_bytes();
            let _ = say.send(Arrived { connection, at, head, body, trailers }).await;
            let response = Response::builder().header("grpc-status", "0");
            Ok::<_, hyper::Error>(response.body(Full::<bytes::Bytes>::default()).unwrap())
        }
    });
    let _ =
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(io), service).await;
}

async fn leave_unanswered<IO>(io: IO, say: mpsc::Sender<Arrived>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let come = std::sync::Arc::new(tokio::sync::Notify::new());
    let service = service_fn(|request: Request<Incoming>| {
        let (say, come) = (say.clone(), come.clone());
        async move {
            let (at, (head, _body)) = (SystemTime::now(), request.into_parts());
            let (body, trailers) = (bytes::Bytes::new(), HeaderMap::new());
            let _ = say.send(Arrived { connection: 0, at, head, body, trailers }).await;
            come.notify_one();
            std::future::pending::<Result<Response<Full<bytes::Bytes>>, hyper::Error>>().await
        }
    });
    let connection =
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = come.notified() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
