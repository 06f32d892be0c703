//! The way of a TCP connection to another sidecar: a stream of a session that others share, or a
//! session of its own.

use cellwall_mtls::{Alpn, Refusal};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{
    TcpSessions,
    pool::{Found, Opened},
    session::{NoStream, Taken, Tunnel},
};
use crate::{
    CloseReason, Identity,
    ahead::Ahead,
    heard::Heard,
    reproof::Renewal,
    route::{Destination, Endpoint, PoolKey, Route},
    upstream::{HANDSHAKE_DEADLINE, Peers, session},
};

/// A session of its own, with what keeps it open.
pub(crate) type Own = (TlsStream<Ahead<TcpStream>>, Renewal);

/// How a TCP connection goes on to the callee's sidecar.
#[derive(Debug)]
pub(crate) enum Way {
    /// As a stream.
    Shared(Box<Taken>),
    /// In a session of its own.
    Own(Box<Own>),
}

impl Peers {
    /// The same, with TCP connections that travel so.
    #[must_use]
    pub fn over(mut self, tcp_sessions: TcpSessions) -> Self {
        self.tcp_sessions = tcp_sessions;
        self
    }

    /// Finds a way to `destination` for one TCP connection.
    pub(crate) async fn reach(
        &self,
        destination: &Destination,
        route: &Route,
    ) -> Result<Way, CloseReason> {
        let mut last = CloseReason::NoEndpoint;
        for endpoint in destination.endpoints(route)? {
            let is_shared =
                self.tcp_sessions == TcpSessions::Shared && route.takes_streams(endpoint.address);
            let to = (destination, route);
            let found = if is_shared {
                Box::pin(self.stream(to, &endpoint)).await
            } else {
                Ok(Found::Full)
            };
            let failed = match found {
                Ok(Found::Stream(taken)) => return Ok(Way::Shared(taken)),
                Ok(Found::Own(own)) => return Ok(Way::Own(own)),
                Ok(Found::Full) => match self.own(to, &endpoint).await {
                    Ok(own) => return Ok(Way::Own(own)),
                    Err(reason) => reason,
                },
                Err(NoStream::Refused(reason)) => return Err(reason),
                Err(NoStream::Failed(reason)) => reason,
            };
            destination.shun(&endpoint);
            last = failed;
        }
        Err(last)
    }

    async fn own(
        &self,
        to: (&Destination, &Route),
        at: &Endpoint,
    ) -> Result<Box<Own>, CloseReason> {
        let identity = self.identity()?;
        let (_, stream, renewal) = self.session(&identity, to, (at, &[Alpn::Tcp])).await?;
        Ok(Box::new((stream, renewal)))
    }

    async fn stream(&self, to: (&Destination, &Route), at: &Endpoint) -> Result<Found, NoStream> {
        let identity = self.identity().map_err(NoStream::Failed)?;
        let key = PoolKey::of(&identity, to.1);
        let open = || async {
            let offered = (at, &[Alpn::H2, Alpn::Tcp][..]);
            let (alpn, stream, renewal) = self.session(&identity, to, offered).await?;
            if alpn != Alpn::H2 {
                // The directory was wrong, or is not up to date.
                return Ok(Opened::Own(Box::new((stream, renewal))));
            }
            let heard = tokio::time::timeout(HANDSHAKE_DEADLINE, Heard::from(stream)).await;
            let Ok(Ok(stream)) = heard else {
                // It has not let us in; nothing was sent.
                return Err(CloseReason::TlsRefused(Refusal::RefusedByPeer));
            };
            let kept = (&self.drain, renewal);
            let opened = Tunnel::over(stream, kept, &key, at.tunnels.open());
            Ok(Opened::Shared(Box::pin(opened).await?))
        };
        at.tunnels.stream(&key, open).await
    }

    async fn session(
        &self,
        identity: &Identity,
        (destination, route): (&Destination, &Route),
        (at, offered): (&Endpoint, &[Alpn]),
    ) -> Result<(Alpn, TlsStream<Ahead<TcpStream>>, Renewal), CloseReason> {
        let opened = session(identity, at.address, &route.expected, offered).await?;
        let alpn = opened.alpn;
        let (stream, renewal) = self.renewal(opened, identity, (destination, at.address));
        Ok((alpn, stream, renewal))
    }
}
