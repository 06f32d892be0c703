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
    sync::Semaphore,
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

/// Serves each connection of `listener` as a task of `drain`, `limit` at most at a time, until
/// `drain` stops it.
pub async fn listen<S, F>(listener: TcpListener, limit: usize, drain: Drain, serve: S)
where
    S: Fn(TcpStream, SocketAddr) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(limit));
    let watch = drain.watch();
    loop {
        let slot = tokio::select! {
            () = watch.stopping() => return,
            Ok(slot) = slots.clone().acquire_owned() => slot,
        };
        let accepted = tokio::select! {
            () = watch.stopping() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, from)) => {
                // In a box: the task would have room for it twice, here and where it is awaited.
                let connection = Box::pin(serve(tcp, from));
                drain.spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                // RES-02: without descriptors the listener pauses; it never ends and never spins.
                counter!("cellwall_accept_failures_total").increment(1);
                tracing::warn!(%error, "accept failed");
                tokio::select! {
                    () = watch.stopping() => return,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
}

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

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
    use socket2::SockRef;
    use tokio::{net::TcpStream, sync::mpsc};

    use super::{SILENCE, UNACKNOWLEDGED, bind, listen};
    use crate::Drain;

    #[tokio::test]
    async fn what_is_accepted_does_not_wait_with_small_writes_and_ends_when_the_host_is_gone() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, mut accepted) = mpsc::channel(1);
        let serve = move |tcp: TcpStream, _| {
            let tell = tell.clone();
            async move { tell.send(tcp).await.unwrap() }
        };
        let accepted = tokio::select! {
            () = listen(listener, 1, Drain::default(), serve) => panic!("nobody stopped it"),
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
