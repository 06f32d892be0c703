//! The other end of a handshake: raw rustls that presents what it is told to and trusts anybody.

mod anybody;
mod seen;
#[cfg(test)]
mod tests;

use std::{io, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, ServerConfig,
    crypto::{SupportedKxGroup, aws_lc_rs},
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use self::anybody::{Anybody, Nobody};
pub use self::seen::{After, Seen, alert_in};
use crate::ca::Svid;

/// One end of a TLS connection. It accepts whatever certificate the other end shows: what it
/// tests is the other end.
#[derive(Clone, Debug)]
pub struct DangerousParty {
    certified: Option<Arc<CertifiedKey>>,
    alpn: Vec<Vec<u8>>,
    asks: ClientCertificate,
    /// The one group of its key exchange; `None`: its provider's.
    group: Option<&'static dyn SupportedKxGroup>,
}

/// What a party does about the client's certificate when it is the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// Asks, and refuses a client without one.
    Demanded,
    /// Asks, and takes none as well.
    Welcome,
    /// Does not ask.
    NotAsked,
}

impl DangerousParty {
    /// Presents no certificate. As a server it cannot complete a handshake.
    pub fn anonymous() -> Self {
        let asks = ClientCertificate::Demanded;
        Self { certified: None, alpn: Vec::new(), asks, group: None }
    }

    /// Presents this SVID.
    pub fn presenting(svid: &Svid) -> Self {
        Self::presenting_chain(svid.chain.clone(), &svid.key)
    }

    /// Presents any bytes as certificates, also none at all, and signs with `key`, whether it
    /// belongs to them or not.
    pub fn presenting_chain(
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'static>,
    ) -> Self {
        let key = aws_lc_rs::sign::any_supported_type(key).expect("a key that rustls supports");
        let certified = Some(Arc::new(CertifiedKey::new(chain, key)));
        Self { certified, ..Self::anonymous() }
    }

    /// Offers, or accepts, these protocols; none by default.
    #[must_use]
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        self
    }

    /// Chooses what to do about the client's certificate; demanded by default.
    #[must_use]
    pub const fn asking(mut self, asks: ClientCertificate) -> Self {
        self.asks = asks;
        self
    }

    /// Exchanges keys on X25519 alone, without the post-quantum half.
    #[must_use]
    pub fn on_x25519(mut self) -> Self {
        self.group = Some(aws_lc_rs::kx_group::X25519);
        self
    }

    /// Its configuration as a client.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        let mut provider = aws_lc_rs::default_provider();
        if let Some(group) = self.group {
            provider.kx_groups = vec![group];
        }
        let builder = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .expect("aws-lc-rs has TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(self.asks)));
        let mut config = match &self.certified {
            Some(certified) => {
                let resolver = SingleCertAndKey::from(certified.clone());
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.clone();
        config.enable_sni = false;
        Arc::new(config)
    }

    /// Its configuration as a server.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("aws-lc-rs has TLS 1.3")
            .with_client_cert_verifier(Arc::new(Anybody(self.asks)));
        let mut config = match &self.certified {
            Some(certified) => {
                let resolver = SingleCertAndKey::from(certified.clone());
                builder.with_cert_resolver(Arc::new(resolver))
            }
            None => builder.with_cert_resolver(Arc::new(Nobody)),
        };
        config.alpn_protocols = self.alpn.clone();
        Arc::new(config)
    }

    /// Shakes hands as the client. With TLS 1.3 a client is done before the server has judged its
    /// certificate: a refusal shows at the first read.
    ///
    /// # Errors
    /// What the handshake ended with.
    pub async fn connect<IO>(&self, io: IO) -> io::Result<client::TlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        TlsConnector::from(self.client_config()).connect(name, io).await
    }

    /// Shakes hands as the server.
    ///
    /// # Errors
    /// What the handshake ended with.
    pub async fn accept<IO>(&self, io: IO) -> io::Result<server::TlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(self.server_config()).accept(io).await
    }

    /// Connects as a client, says `hello`, reads once and tells what it saw, all within `deadline`.
    pub async fn probe_server<IO>(&self, io: IO, hello: &[u8], deadline: Duration) -> Seen
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let Ok(handshake) = tokio::time::timeout(deadline, self.connect(io)).await else {
            return Seen::nothing("no handshake within the deadline");
        };
        let mut stream = match handshake {
            Ok(stream) => stream,
            Err(error) => return Seen::failed(&error),
        };
        let after = exchange(&mut stream, hello, deadline).await;
        let (_, connection) = stream.get_ref();
        let tickets = connection.tls13_tickets_received();
        Seen { tickets, ..Seen::established(connection, after) }
    }

    /// Accepts as a server, says `hello`, reads once and tells what it saw, all within `deadline`.
    pub async fn probe_client<IO>(&self, io: IO, hello: &[u8], deadline: Duration) -> Seen
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let Ok(handshake) = tokio::time::timeout(deadline, self.accept(io)).await else {
            return Seen::nothing("no handshake within the deadline");
        };
        let mut stream = match handshake {
            Ok(stream) => stream,
            Err(error) => return Seen::failed(&error),
        };
        let after = exchange(&mut stream, hello, deadline).await;
        Seen::established(stream.get_ref().1, after)
    }
}

async fn exchange<S>(stream: &mut S, hello: &[u8], deadline: Duration) -> io::Result<After>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let talk = async {
        // A write may fail because of the very alert that the read then tells of.
        let written = match stream.write_all(hello).await {
            Ok(()) => stream.flush().await,
            Err(error) => Err(error),
        };
        let mut buffer = vec![0; 16 * 1024];
        match stream.read(&mut buffer).await {
            Ok(0) => written.map(|()| After::Closed),
            Ok(length) => {
                buffer.truncate(length);
                Ok(After::Data(buffer))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(After::Closed),
            Err(error) => Err(error),
        }
    };
    tokio::time::timeout(deadline, talk).await.unwrap_or(Ok(After::Silence))
}
