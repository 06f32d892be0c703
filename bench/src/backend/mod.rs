//! What proxies under test stand before: HTTP, an echo, and bytes without end, for little CPU.

mod http;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::crowd::AGAIN;

/// What is answered to every request: 100 bytes.
pub(crate) const BODY: &[u8; 100] =
    b"A hundred bytes: about what a small answer of a payment service \
                                      has, and no more than one TLS record";

/// What a client asks the port of bytes for: to send, or to take.
pub(crate) const SEND: u8 = b's';
pub(crate) const RECEIVE: u8 = b'r';

/// How much is written or read at once.
pub(crate) const CHUNK: usize = 256 * 1024;

/// A backend on three free ports of loopback. Dropping it ends everything.
#[derive(Debug)]
pub struct Backend {
    /// HTTP/1.1 and HTTP/2: 100 bytes for every request, gRPC if it asks so.
    pub http: SocketAddr,
    /// Sends back what comes.
    pub echo: SocketAddr,
    /// Sends or takes bytes, as the first byte says.
    pub bulk: SocketAddr,
    stop: CancellationToken,
}

impl Backend {
    /// Listens.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn start() -> io::Result<Self> {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let http = listen(&stop, &tasks, http::serve).await?;
        let echo = listen(&stop, &tasks, echo).await?;
        let bulk = listen(&stop, &tasks, bulk).await?;
        Ok(Self { http, echo, bulk, stop })
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Serves each connection by `serve`, until it ends or the backend does.
async fn listen<S>(
    stop: &CancellationToken,
    tasks: &TaskTracker,
    serve: fn(TcpStream) -> S,
) -> io::Result<SocketAddr>
where
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let (stop, spawner) = (stop.clone(), tasks.clone());
    tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of files: connections that end make room.
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            if stream.set_nodelay(true).is_ok() {
                spawner.spawn(stop.clone().run_until_cancelled_owned(serve(stream)));
            }
        }
    }));
    Ok(address)
}

async fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    loop {
        let Ok(length @ 1..) = stream.read(&mut buffer).await else { return };
        let Some(message) = buffer.get(..length) else { return };
        if stream.write_all(message).await.is_err() {
            return;
        }
    }
}

async fn bulk(mut stream: TcpStream) {
    let asked = stream.read_u8().await;
    let mut buffer = vec![0; CHUNK];
    match asked {
        Ok(SEND) => while stream.write_all(&buffer).await.is_ok() {},
        Ok(RECEIVE) => while let Ok(1..) = stream.read(&mut buffer).await {},
        Ok(_) | Err(_) => {}
    }
}
