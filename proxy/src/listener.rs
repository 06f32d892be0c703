//! Listeners: what the policy declares them to be, and accepting: a bounded number of connections,
//! and a pause when the kernel has no descriptors.

use std::{io, net::SocketAddr, os::fd::AsFd, sync::Arc, time::Duration};

use cellwall_mtls::Alpn;
use cellwall_policy::{HttpVersion, ListensDocument, Protocol};
use http::Version;
use metrics::counter;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{unconstrained, yield_now},
};

use crate::{Drain, TcpSessions};

/// One of our inbound listeners, as the policy declares it at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Declared {
    /// Which one `--inbound` names; `None`: the only one.
    port: Option<u16>,
    listener: ListensDocument,
}

impl Declared {
    /// What `listens` says of our listener of `port`; `None`: our only one.
    pub(crate) fn find(port: Option<u16>, listens: &[ListensDocument]) -> Option<Self> {
        let listener = match (port, listens) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(port), _) => listens.iter().find(|listener| listener.port == port),
        };
        listener.map(|listener| Self { port, listener: *listener })
    }

    /// Whether `listens` says the same of it.
    pub(crate) fn is_in(self, listens: &[ListensDocument]) -> bool {
        Self::find(self.port, listens) == Some(self)
    }

    /// What is spoken there.
    pub(crate) const fn protocol(self) -> Protocol {
        self.listener.protocol
    }

    /// In which version we speak HTTP to our workload; `None`: not at all (AZ-03).
    pub(crate) const fn version(self) -> Option<Version> {
        match (self.listener.protocol, self.listener.version) {
            (Protocol::Http, HttpVersion::Http1) => Some(Version::HTTP_11),
            (Protocol::Http, HttpVersion::Http2) | (Protocol::Grpc, _) => Some(Version::HTTP_2),
            (Protocol::Tcp, _) => None,
        }
    }

    /// The declared port, whatever address it has.
    pub(crate) const fn port(self) -> u16 {
        self.listener.port
    }
}

/// Whose connections a listener accepts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Callers {
    /// Apps on this host, whose connections cost little.
    Apps,
    /// Anybody, each with a handshake.
    Others,
}

/// Connections of apps that are accepted in one turn. Nearly always all that wait: each turn is longer by
/// the calls of those that were accepted, so that of a thousand the last would wait ten times as long as
/// what a call takes then.
const APPS_IN_A_TURN: usize = 1024;

/// Connections of others that are accepted in one turn. A flood holds up nobody who is there already for
/// long.
const OTHERS_IN_A_TURN: usize = 64;

impl Callers {
    /// How many are accepted before all else that is ready has its turn.
    const fn in_a_turn(self) -> usize {
        match self {
            Self::Apps => APPS_IN_A_TURN,
            Self::Others => OTHERS_IN_A_TURN,
        }
    }
}

/// The pause after a failed accept: long enough not to spin, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a listener of `protocol` speaks inside TLS (TLS-06): over HTTP/2 TCP connections are streams of
/// one session, where we take them so.
pub(crate) fn offered(protocol: Protocol, tcp_sessions: TcpSessions) -> &'static [Alpn] {
    match (protocol, tcp_sessions) {
        (Protocol::Http, _) => &[Alpn::H2, Alpn::Http11, Alpn::Reproof],
        (Protocol::Grpc, _) => &[Alpn::H2, Alpn::Reproof],
        (Protocol::Tcp, TcpSessions::Shared) => &[Alpn::H2, Alpn::Tcp, Alpn::Reproof],
        (Protocol::Tcp, TcpSessions::Own) => &[Alpn::Tcp, Alpn::Reproof],
    }
}

/// A connection that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub tcp: TcpStream,
    /// Who opened it.
    pub from: SocketAddr,
    /// Its place among those that there may be at once: dropped when it is over.
    pub slot: OwnedSemaphorePermit,
}

impl Accepted {
    /// Serves it as a task of `drain` that has its place.
    pub(crate) fn served<F>(self, drain: &Drain, serve: impl FnOnce(TcpStream, SocketAddr) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { tcp, from, slot } = self;
        // In a box: the task would have room for it twice, here and where it is awaited.
        let connection = Box::pin(serve(tcp, from));
        drain.spawn(async move {
            connection.await;
            drop(slot);
        });
    }
}

/// Hands each connection of `listener` to `serve`, which starts a task for it, `limit` at most at a time,
/// until `drain` stops it.
pub async fn listen(
    listener: TcpListener,
    (callers, limit): (Callers, usize),
    drain: Drain,
    serve: impl Fn(Accepted),
) {
    let slots = Arc::new(Semaphore::new(limit));
    let mut in_this_turn = 0;
    loop {
        if in_this_turn == callers.in_a_turn() {
            yield_now().await;
            in_this_turn = 0;
        }
        in_this_turn += 1;
        // It is counted here how many have their turn, and not by tokio as well.
        let next = unconstrained(next(&listener, &slots, &drain));
        let Some((slot, accepted)) = next.await else { return };
        match accepted {
            Ok((tcp, from)) => serve(Accepted { tcp, from, slot }),
            Err(error) => {
                // RES-02: without descriptors the listener pauses; it never ends and never spins.
                counter!("cellwall_accept_failures_total").increment(1);
                tracing::warn!(%error, "accept failed");
                tokio::select! {
                    () = drain.stopping() => return,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
}

/// The next connection, and its slot; nothing when there is to be none.
async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    drain: &Drain,
) -> Option<(OwnedSemaphorePermit, io::Result<(TcpStream, SocketAddr)>)> {
    let slot = tokio::select! {
        () = drain.stopping() => return None,
        slot = slots.clone().acquire_owned() => slot.ok()?,
    };
    tokio::select! {
        () = drain.stopping() => None,
        accepted = listener.accept() => Some((slot, accepted)),
    }
}

/// Connections that wait to be accepted; the kernel takes `net.core.somaxconn` where that is less. One
/// for which there is no room sends its SYN again, after a second and then after two.
const BACKLOG: u32 = 4096;

/// Listens at `address`. What is accepted there inherits what every socket of ours has (tcp(7)),
/// without a system call for each.
///
/// # Errors
///
/// When the address is taken, or not ours.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    prepare(&socket);
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How long the kernel waits for an answer to what we sent before it gives a connection up.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// The pause before the kernel asks a silent peer whether it is still there.
const SILENCE: Duration = Duration::from_secs(60);

/// What every socket of ours has: no delay for small writes (TLS-10), and an end when the other
/// host is gone (RES-03).
pub(crate) fn prepare(tcp: &impl AsFd) {
    let socket = SockRef::from(tcp);
    let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(UNACKNOWLEDGED / 3);
    let set = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&keepalive))
        .and_then(|()| socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED)));
    if let Err(error) = set {
        tracing::debug!(%error, "socket options");
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin, sync::Mutex, task::Poll};

    use socket2::SockRef;
    use tokio::{net::TcpStream, sync::mpsc};

    use super::{Accepted, Callers, SILENCE, UNACKNOWLEDGED, bind, listen};
    use crate::Drain;

    /// How many of the connections that wait have been accepted, after one turn and after two.
    async fn accepted_in_turns(callers: Callers, waiting: usize) -> [usize; 2] {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut apps = Vec::new();
        for _ in 0..waiting {
            apps.push(TcpStream::connect(address).await.unwrap());
        }
        let accepted = Mutex::new(Vec::new());
        let serve = |connection| accepted.lock().unwrap().push(connection);
        let mut listening = pin!(listen(listener, (callers, 1000), Drain::default(), serve));
        let mut all = [0; 2];
        for turn in &mut all {
            assert!(poll_fn(|cx| Poll::Ready(listening.as_mut().poll(cx).is_pending())).await);
            *turn = accepted.lock().unwrap().len();
        }
        all
    }

    #[tokio::test]
    async fn all_apps_that_wait_are_accepted_at_once_and_of_a_flood_of_others_few() {
        assert_eq!(accepted_in_turns(Callers::Apps, 200).await, [200, 200]);
        assert_eq!(accepted_in_turns(Callers::Others, 200).await, [64, 128]);
    }

    #[tokio::test]
    async fn what_is_accepted_does_not_wait_with_small_writes_and_ends_when_the_host_is_gone() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, mut accepted) = mpsc::channel(1);
        let serve = |connection: Accepted| tell.try_send(connection.tcp).unwrap();
        let accepted = tokio::select! {
            () = listen(listener, (Callers::Others, 1), Drain::default(), serve) => panic!("nobody stopped it"),
            accepted = async {
                let _caller = TcpStream::connect(address).await.unwrap();
                accepted.recv().await.unwrap()
            } => accepted,
        };
        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap()); // TLS-10
        assert!(socket.keepalive().unwrap()); // RES-03
        assert_eq!(socket.tcp_keepalive_time().unwrap(), SILENCE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), UNACKNOWLEDGED / 3);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
    }
}
