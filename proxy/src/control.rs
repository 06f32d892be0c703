//! The connection to the control plane: as whoever we are, and to nobody else.

use std::{io, time::Duration};

use cellwall_mtls::Alpn;
use hyper_util::rt::TokioIo;
use spiffe::SpiffeId;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Error};

use crate::{Identities, Identity, listener::prepare, upstream::HANDSHAKE_DEADLINE};

/// Connects to the control plane at `address`.
///
/// # Errors
///
/// When it is not reached, is somebody else, or we have no identity.
pub(crate) async fn channel(address: &str, identities: &Identities) -> Result<Channel, Error> {
    let (address, identities) = (address.to_owned(), identities.clone());
    let connector = tower::service_fn(move |_| {
        let (address, identities) = (address.clone(), identities.clone());
        async move {
            let identity =
                identities.current().ok_or_else(|| io::Error::other("we have no identity"))?;
            connect(&address, &identity).await
        }
    });
    Endpoint::from_static("http://control-plane")
        .connect_timeout(HANDSHAKE_DEADLINE)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
}

/// Connects to the control plane, and to nobody else (CP-01).
async fn connect(
    control: &str,
    identity: &Identity,
) -> io::Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>> {
    let material = &identity.material;
    let expected = SpiffeId::from_segments(
        material.id().trust_domain().clone(),
        &["cellwall", "control-plane"],
    )
    .map_err(io::Error::other)?;
    let tcp = TcpStream::connect(control).await?;
    prepare(&tcp);
    let session =
        cellwall_mtls::connect(material, tcp, &[expected], &[Alpn::H2], HANDSHAKE_DEADLINE)
            .await
            .map_err(io::Error::other)?;
    Ok(TokioIo::new(session.stream))
}
