//! Mutual TLS connections for the scripted distribution server.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::{tasks::Spawner, tls::DangerousParty};

const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// A connection, and who its other end says it is.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    caller: Caller,
}

/// The SPIFFE ID in the caller's certificate.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) String);

pub(super) async fn accept(
    listener: TcpListener,
    party: DangerousParty,
    accepted: mpsc::Sender<io::Result<Connection>>,
    tasks: Spawner,
) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (party, accepted) = (party.clone(), accepted.clone());
        tasks.spawn(async move {
            if tcp.set_nodelay(true).is_err() {
                return;
            }
            let handshake = tokio::time::timeout(HANDSHAKE_DEADLINE, party.accept(tcp)).await;
            let Ok(Ok(stream)) = handshake else { return };
            let Some(id) = stream.get_ref().1.peer_certificates().and_then(caller) else { return };
            // Nobody takes it any more once the server has stopped.
            drop(accepted.send(Ok(Connection { stream, caller: Caller(id) })).await);
        });
    }
}

/// The first URI of the leaf.
fn caller(chain: &[CertificateDer<'_>]) -> Option<String> {
    let (_, leaf) = X509Certificate::from_der(chain.first()?).ok()?;
    let names = leaf.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    })
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
