//! What proxies under test stand before: HTTP, an echo, and bytes without end, for little CPU.

mod http;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
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

/// What every message of a load begins with on the echo's port.
pub(crate) const ECHOED: u8 = b'e';

/// A header that no load sends; what has it was denied by whoever decides, or should have been.
pub(crate) const DENIED: &str = "x-denied";

/// Connections that wait to be accepted: with fewer of them, what thousands of clients wait for is the
/// backend, whose kernel lets a SYN be sent again after a second.
const WAITING: u32 = 4096;

/// How many requests came that no load of ours sends. It knows the calls of the loads and no policy.
#[derive(Debug, Default)]
pub(crate) struct Strange(AtomicU64);

impl Strange {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A backend on free ports. Dropping it ends everything.
#[derive(Debug)]
pub struct Backend {
    /// HTTP/1.1 and HTTP/2: 100 bytes for every request, gRPC if it asks so.
    pub http: SocketAddr,
    /// Sends back what comes.
    pub echo: SocketAddr,
    /// Sends or takes bytes, as the first byte says.
    pub bulk: SocketAddr,
    /// Says, to whoever connects, how many requests came that no load of ours sends: eight bytes,
    /// the largest first.
    pub strange: SocketAddr,
    stop: CancellationToken,
}

impl Backend {
    /// Listens on loopback.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn start() -> io::Result<Self> {
        Self::start_on(Ipv4Addr::LOCALHOST).await
    }

    /// Listens on this address.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn start_on(address: Ipv4Addr) -> io::Result<Self> {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let seen = Arc::new(Strange::default());
        let port = Port { address, stop: &stop, tasks: &tasks, strange: &seen };
        let http = port.serve(http::serve).await?;
        let echo = port.serve(echo).await?;
        let bulk = port.serve(bulk).await?;
        let strange = port.serve(tell).await?;
        Ok(Self { http, echo, bulk, strange, stop })
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What all ports have in common.
struct Port<'a> {
    address: Ipv4Addr,
    stop: &'a CancellationToken,
    tasks: &'a TaskTracker,
    strange: &'a Arc<Strange>,
}

impl Port<'_> {
    /// Serves each connection by `serve`, until it ends or the backend does.
    async fn serve<S>(&self, serve: fn(TcpStream, Arc<Strange>) -> S) -> io::Result<SocketAddr>
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((self.address, 0).into())?;
        let listener = socket.listen(WAITING)?;
        let address = listener.local_addr()?;
        let (stop, spawner, strange) =
            (self.stop.clone(), self.tasks.clone(), self.strange.clone());
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    // Out of files: connections that end make room.
                    tokio::time::sleep(AGAIN).await;
                    continue;
                };
                if stream.set_nodelay(true).is_ok() {
                    let served = serve(stream, strange.clone());
                    spawner.spawn(stop.clone().run_until_cancelled_owned(served));
                }
            }
        }));
        Ok(address)
    }
}

async fn tell(mut stream: TcpStream, strange: Arc<Strange>) {
    let count = strange.0.load(Ordering::Relaxed);
    // Whoever asked and went away does not miss it.
    drop(stream.write_u64(count).await);
}

async fn echo(mut stream: TcpStream, strange: Arc<Strange>) {
    let mut buffer = [0; 4096];
    loop {
        let Ok(length @ 1..) = stream.read(&mut buffer).await else { return };
        let Some(message) = buffer.get(..length) else { return };
        if message.iter().any(|byte| *byte != ECHOED) {
            strange.add();
        }
        if stream.write_all(message).await.is_err() {
            return;
        }
    }
}

async fn bulk(mut stream: TcpStream, strange: Arc<Strange>) {
    let asked = stream.read_u8().await;
    let mut buffer = vec![0; CHUNK];
    match asked {
        Ok(SEND) => while stream.write_all(&buffer).await.is_ok() {},
        Ok(RECEIVE) => while let Ok(1..) = stream.read(&mut buffer).await {},
        Ok(_) => strange.add(),
        Err(_) => {}
    }
}
