//! The other end of a handshake: raw rustls that presents what it is told to and trusts anybody.

use std::{io, sync::Arc, time::Duration};

use rustls::{
    AlertDescription, ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName,
    NamedGroup, ServerConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    server::{
        ClientHello, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::ca::Svid;

/// One end of a TLS connection. It accepts whatever certificate the other end shows: what it
/// tests is the other end.
#[derive(Clone, Debug)]
pub struct DangerousParty {
    certified: Option<Arc<CertifiedKey>>,
    alpn: Vec<Vec<u8>>,
    asks: ClientCertificate,
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
        Self { certified: None, alpn: Vec::new(), asks: ClientCertificate::Demanded }
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

    /// Its configuration as a client.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("aws-lc-rs has TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody { asks: self.asks }));
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
            .with_client_cert_verifier(Arc::new(Anybody { asks: self.asks }));
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

/// What one end saw of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Why there was no handshake; `None` when it completed from this side's view.
    pub failure: Option<String>,
    /// The alert that the other end sent, in or after the handshake.
    pub alert: Option<AlertDescription>,
    /// The other end's certificates, leaf first.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The protocol that was agreed.
    pub alpn: Option<String>,
    /// The group of the key exchange.
    pub group: Option<NamedGroup>,
    /// Session tickets received; a client's view only.
    pub tickets: u32,
    /// What the first read after the handshake gave.
    pub after: After,
}

/// What the first read after a handshake gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// These bytes.
    Data(Vec<u8>),
    /// The other end closed, with or without a `close_notify`.
    Closed,
    /// The other end sent an alert, or the transport failed.
    Failed(String),
    /// Nothing within the deadline.
    Silence,
    /// There was no handshake.
    NotReached,
}

impl Seen {
    fn nothing(failure: &str) -> Self {
        Self {
            failure: Some(failure.to_owned()),
            alert: None,
            certificates: Vec::new(),
            alpn: None,
            group: None,
            tickets: 0,
            after: After::NotReached,
        }
    }

    fn failed(error: &io::Error) -> Self {
        Self { alert: alert_in(error), ..Self::nothing(&error.to_string()) }
    }

    fn established(connection: &CommonState, after: Result<After, io::Error>) -> Self {
        let certificates = connection.peer_certificates().unwrap_or_default();
        let text = |alpn| String::from_utf8_lossy(alpn).into_owned();
        let (alert, after) = match after {
            Ok(after) => (None, after),
            Err(error) => (alert_in(&error), After::Failed(error.to_string())),
        };
        Self {
            failure: None,
            alert,
            certificates: certificates.iter().map(|der| der.clone().into_owned()).collect(),
            alpn: connection.alpn_protocol().map(text),
            group: connection.negotiated_key_exchange_group().map(|group| group.name()),
            tickets: 0,
            after,
        }
    }

    /// Whether the other end let this end in: a handshake, and no alert or failure after it.
    pub fn is_let_in(&self) -> bool {
        match self.after {
            After::Data(_) | After::Closed | After::Silence => self.failure.is_none(),
            After::Failed(_) | After::NotReached => false,
        }
    }
}

/// The alert that an I/O error of rustls stands for.
pub fn alert_in(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
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

/// Trusts everybody, and does not even look at the signature.
#[derive(Debug)]
struct Anybody {
    asks: ClientCertificate,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        supported_schemes()
    }
}

impl ClientCertVerifier for Anybody {
    fn offer_client_auth(&self) -> bool {
        self.asks != ClientCertificate::NotAsked
    }

    fn client_auth_mandatory(&self) -> bool {
        self.asks == ClientCertificate::Demanded
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        supported_schemes()
    }
}

fn supported_schemes() -> Vec<SignatureScheme> {
    aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
}

/// A server without a certificate.
#[derive(Debug)]
struct Nobody;

impl ResolvesServerCert for Nobody {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::TestCa;

    const SOON: Duration = Duration::from_secs(2);

    fn svids() -> (Svid, Svid) {
        let ca = TestCa::new("pay.example");
        (ca.svid("spiffe://pay.example/prod/a"), ca.svid("spiffe://pay.example/prod/b"))
    }

    #[tokio::test]
    async fn each_end_reports_the_other_ends_certificate_protocol_and_words() {
        let (client, server) = svids();
        let (left, right) = tokio::io::duplex(64 * 1024);
        let (one, other) =
            (DangerousParty::presenting(&client), DangerousParty::presenting(&server));
        let (one, other) = (one.alpn(&["h2", "cellwall-tcp/1"]), other.alpn(&["cellwall-tcp/1"]));

        let (by_client, by_server) = tokio::join!(
            one.probe_server(left, b"ping", SOON),
            other.probe_client(right, b"pong", SOON)
        );

        assert_eq!(by_client.certificates, server.chain);
        assert_eq!(by_client.after, After::Data(b"pong".to_vec()));
        assert_eq!(by_server.certificates, client.chain);
        assert_eq!(by_server.after, After::Data(b"ping".to_vec()));
        assert_eq!(by_server.alpn.as_deref(), Some("cellwall-tcp/1"));
        assert_eq!(by_client.group, Some(NamedGroup::X25519MLKEM768));
    }

    #[tokio::test]
    async fn a_refusal_shows_as_the_alert_that_was_sent() {
        let (_, server) = svids();
        let (left, right) = tokio::io::duplex(64 * 1024);
        let (one, other) = (DangerousParty::anonymous(), DangerousParty::presenting(&server));

        let (by_client, by_server) = tokio::join!(
            one.probe_server(left, b"ping", SOON),
            other.probe_client(right, b"", SOON)
        );

        assert_eq!(by_client.alert, Some(AlertDescription::CertificateRequired));
        assert!(!by_client.is_let_in());
        assert_eq!(by_server.after, After::NotReached);
    }

    #[tokio::test]
    async fn bytes_that_are_no_certificate_reach_the_other_end_in_both_directions() {
        let (client, server) = svids();
        let garbage = vec![CertificateDer::from(b"garbage".to_vec())];
        let (left, right) = tokio::io::duplex(64 * 1024);
        let one = DangerousParty::presenting_chain(garbage.clone(), &client.key);
        let other = DangerousParty::presenting_chain(garbage.clone(), &server.key);

        let (by_client, by_server) =
            tokio::join!(one.probe_server(left, b"a", SOON), other.probe_client(right, b"b", SOON));

        assert_eq!((by_client.certificates, by_server.certificates), (garbage.clone(), garbage));
    }
}
