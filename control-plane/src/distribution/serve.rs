//! Connections of sidecars: mutual TLS first, then HTTP/2.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use cellwall_agent::Calls;
use cellwall_api::distribution::distribution_server::DistributionServer;
use cellwall_mtls::{Alpn, Peer, accept};
use http::Request;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::counter;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tonic::service::Routes;
use tower_service::Service;

use super::Distribution;
use crate::{authority::Material, drain::Drain};

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 8192;
/// TLS-05
const HANDSHAKE: Duration = Duration::from_secs(5);
/// One is used; a second is a sidecar that reconnects.
const STREAMS: u32 = 4;
/// A hello is small; acks and addresses are smaller.
const MAX_MESSAGE_BYTES: usize = 128 * 1024;
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// A sidecar whose host went away is noticed after these two.
const PING: Duration = Duration::from_secs(15);
const PONG: Duration = Duration::from_secs(10);
/// A connection without a stream for so long is closed.
const IDLE: Duration = Duration::from_secs(10);
/// From the order to stop to the end of a connection, for last messages to leave.
const CLOSING: Duration = Duration::from_secs(2);
/// Pause after a failed `accept`, most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where sidecars connect.
#[derive(Debug)]
pub struct MeshListener {
    tcp: TcpListener,
    slots: Arc<Semaphore>,
}

impl MeshListener {
    /// Binds `address`.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        Ok(Self { tcp, slots: Arc::new(Semaphore::new(CONNECTIONS)) })
    }

    /// Where it is.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    async fn next(&self) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
        let slot = self.slots.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (tcp, _) = self.tcp.accept().await?;
        tcp.set_nodelay(true)?; // TLS-10
        Ok((tcp, slot))
    }
}

/// Serves sidecars until the process stops.
pub async fn serve(listener: MeshListener, distribution: Distribution, material: Material) {
    let drain = distribution.drain.clone();
    let service =
        DistributionServer::new(distribution).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let routes = Routes::new(service).prepare();
    loop {
        let accepted = tokio::select! {
            () = drain.stop().cancelled() => return,
            accepted = listener.next() => accepted,
        };
        match accepted {
            Ok((tcp, slot)) => {
                let connection = Connection {
                    material: material.clone(),
                    routes: routes.clone(),
                    drain: drain.clone(),
                    _slot: slot,
                };
                drain.spawn(connection.run(tcp));
            }
            Err(error) => {
                tracing::warn!(%error, "mesh listener: accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Connection {
    material: Material,
    routes: Routes,
    drain: Drain,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, tcp: TcpStream) {
        if let Some((stream, peer)) = self.handshake(tcp).await {
            self.speak(stream, peer).await;
        }
    }

    /// Nobody gets past here without an SVID of our trust domain.
    async fn handshake(
        &self,
        tcp: TcpStream,
    ) -> Option<(impl AsyncRead + AsyncWrite + Unpin + use<>, Peer)> {
        let material = self.material.borrow().clone();
        let session = tokio::select! {
            () = self.drain.stop().cancelled() => return None,
            session = accept(&material, tcp, &[Alpn::H2], HANDSHAKE) => session,
        };
        match session {
            Ok(session) => {
                count("ok", "ok");
                Some((session.stream, session.peer))
            }
            Err(error) => {
                count("refused", error.refusal.as_str()); // OBS-07
                tracing::warn!(reason = error.refusal.as_str(), "handshake refused");
                None
            }
        }
    }

    async fn speak(self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: Peer) {
        let routes = self.routes;
        let calls = Calls::default();
        let of_this = calls.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            request.extensions_mut().insert(of_this.clone());
            let mut routes = routes.clone();
            async move {
                match routes.call(request.map(tonic::body::Body::new)).await {
                    Ok(response) => Ok::<_, Infallible>(response),
                }
            }
        });
        let serving = http2::Builder::new(self.drain.clone())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(MAX_HEADER_BYTES)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .serve_connection(TokioIo::new(stream), service);
        let mut serving = pin!(serving);
        tokio::select! {
            _ended = serving.as_mut() => return,
            () = self.drain.stop().cancelled() => {}
            () = calls.idle(IDLE) => {}
        }
        serving.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(CLOSING, serving).await;
    }
}

fn count(result: &'static str, reason: &'static str) {
    counter!("cellwall_tls_handshakes_total",
        "direction" => "inbound", "result" => result, "reason" => reason)
    .increment(1);
}
