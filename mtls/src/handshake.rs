//! The handshake, both sides: from a byte stream to a [`Session`] with a proved [`Peer`].

use std::{io, net::Ipv4Addr, time::Duration};

use rustls::{CertificateError, OtherError, pki_types::ServerName};
use spiffe::SpiffeId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::{
    Binding, Peer, Refusal, TlsMaterial, material::Handshake, provider::group_name,
    verifier::PeerVerifier,
};

/// What two sidecars speak inside TLS: agreed in the handshake, never guessed (TLS-06).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Alpn {
    /// HTTP/2 (RFC 9113 §3.2).
    H2,
    /// HTTP/1.1 (RFC 7301 §6).
    Http11,
    /// One TCP connection, byte for byte.
    Tcp,
    /// A proof that the certificates of an older session were renewed ([`Binding`]).
    Reproof,
}

/// A TLS session whose other side is known.
#[derive(Debug)]
pub struct Session<S> {
    /// The bytes inside TLS.
    pub stream: S,
    /// Who is on the other side.
    pub peer: Peer,
    /// What both sides speak.
    pub alpn: Alpn,
    /// What only the two ends know of it.
    pub binding: Binding,
    /// The group of its key exchange: one of [`GROUPS`](crate::GROUPS).
    pub group: &'static str,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
#[error("handshake refused: {refusal}")]
pub struct HandshakeError {
    /// The reason, for the metric and the log.
    pub refusal: Refusal,
    /// What TLS or the socket said, if that is where it failed.
    #[source]
    pub source: Option<io::Error>,
}

/// The server's side: shows our SVID and insists on one from the client.
///
/// # Errors
///
/// [`HandshakeError`] with the reason when the client's SVID is not acceptable, the client does not
/// speak one of `alpn`, or the whole takes longer than `deadline` (TLS-05).
pub async fn accept<IO>(
    material: &TlsMaterial,
    io: IO,
    alpn: &[Alpn],
    deadline: Duration,
) -> Result<Session<server::TlsStream<IO>>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let Handshake { config, verifier } =
        material.server(alpn).map_err(|error| tls_error(&error))?;
    let stream = within(deadline, TlsAcceptor::from(config).accept(io)).await?;
    let tls = stream.get_ref().1;
    let (peer, alpn) = proof(&verifier, tls.alpn_protocol(), alpn)?;
    let export = |out: &mut _, label: &_| tls.export_keying_material(out, label, None).map(drop);
    let binding = Binding::export(export).map_err(|error| tls_error(&error))?;
    let group = group_name(tls.negotiated_key_exchange_group());
    Ok(Session { stream, peer, alpn, binding, group })
}

/// The client's side: shows our SVID and insists that one of `expected` answers (AZ-12).
///
/// # Errors
///
/// [`HandshakeError`] with the reason when the server is not one of `expected`, its SVID is not
/// acceptable, it does not speak one of `alpn`, or the whole takes longer than `deadline`.
pub async fn connect<IO>(
    material: &TlsMaterial,
    io: IO,
    expected: &[SpiffeId],
    alpn: &[Alpn],
    deadline: Duration,
) -> Result<Session<client::TlsStream<IO>>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let Handshake { config, verifier } =
        material.client(expected, alpn).map_err(|error| tls_error(&error))?;
    let unused = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
    let stream = within(deadline, TlsConnector::from(config).connect(unused, io)).await?;
    let tls = stream.get_ref().1;
    let (peer, alpn) = proof(&verifier, tls.alpn_protocol(), alpn)?;
    let export = |out: &mut _, label: &_| tls.export_keying_material(out, label, None).map(drop);
    let binding = Binding::export(export).map_err(|error| tls_error(&error))?;
    let group = group_name(tls.negotiated_key_exchange_group());
    Ok(Session { stream, peer, alpn, binding, group })
}

impl Alpn {
    const ALL: [Self; 4] = [Self::H2, Self::Http11, Self::Tcp, Self::Reproof];

    /// The identifier on the wire (RFC 7301 §3.1).
    pub fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::H2 => b"h2",
            Self::Http11 => b"http/1.1",
            Self::Tcp => b"cellwall-tcp/1",
            Self::Reproof => b"cellwall-reproof/1",
        }
    }

    pub(crate) fn wire(offered: &[Self]) -> Vec<Vec<u8>> {
        offered.iter().map(|alpn| alpn.as_bytes().to_vec()).collect()
    }
}

impl HandshakeError {
    /// A refusal that needs no further explanation.
    pub fn because(refusal: Refusal) -> Self {
        Self { refusal, source: None }
    }
}

fn proof(
    verifier: &PeerVerifier,
    agreed: Option<&[u8]>,
    offered: &[Alpn],
) -> Result<(Peer, Alpn), HandshakeError> {
    let alpn = Alpn::ALL.into_iter().find(|alpn| agreed == Some(alpn.as_bytes()));
    // TLS-06: rustls lets a peer offer nothing; we do not.
    let Some(alpn) = alpn.filter(|alpn| offered.contains(alpn)) else {
        return Err(HandshakeError::because(Refusal::AlpnMismatch));
    };
    let peer = verifier.peer().ok_or_else(|| HandshakeError::because(Refusal::NoCertificate))?;
    Ok((peer, alpn))
}

async fn within<S>(
    deadline: Duration,
    handshake: impl Future<Output = io::Result<S>>,
) -> Result<S, HandshakeError> {
    match tokio::time::timeout(deadline, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(HandshakeError { refusal: classify(&error), source: Some(error) }),
        Err(_) => Err(HandshakeError::because(Refusal::HandshakeTimeout)),
    }
}

fn tls_error(error: &rustls::Error) -> HandshakeError {
    HandshakeError { refusal: Refusal::TlsProtocol, source: Some(io::Error::other(error.clone())) }
}

/// Finds our own reason inside what rustls reports, or names rustls' own.
fn classify(error: &io::Error) -> Refusal {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
    else {
        return Refusal::Io;
    };
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(reason))) => {
            reason.downcast_ref::<Refusal>().copied().unwrap_or(Refusal::Malformed)
        }
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => Refusal::BadSignature,
        rustls::Error::InvalidCertificate(_) => Refusal::Malformed,
        rustls::Error::NoCertificatesPresented => Refusal::NoCertificate,
        rustls::Error::NoApplicationProtocol => Refusal::AlpnMismatch,
        rustls::Error::AlertReceived(_) => Refusal::RefusedByPeer,
        _ => Refusal::TlsProtocol,
    }
}
