//! Reaching the other end: our own workload with a permit, another sidecar with its expected ID.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use cellwall_mtls::{Alpn, HandshakeError, Refusal, Session};
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::Body as _;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::{
    Authz, CloseReason, Drain, Permit,
    ahead::Ahead,
    authority::Authority,
    authz::{Probe, tls},
    flow::Direction,
    heard::Heard,
    http::{
        Body, Conn, Line, Multiplexed, Received, Recycled, SendError, Upgrade, alone,
        alone_at_workload, handshake_h2,
    },
    identity::{Identities, Identity},
    listener::prepare,
    metrics,
    relay::Plain,
    reproof::Renewal,
    route::{Destination, Endpoint, PoolKey, Route},
    tunnels::TcpSessions,
};

/// How long a TCP connection may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// How long a handshake may take (TLS-05).
pub(crate) const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// Our own workload, on loopback.
#[derive(Debug)]
pub struct Workload {
    address: SocketAddr,
    http1: Recycled,
    http2: Multiplexed<()>,
    drain: Drain,
}

impl Workload {
    /// The workload that listens at `address`.
    pub fn new(address: SocketAddr, drain: Drain) -> Self {
        let http1 = Recycled::new(drain.clone());
        Self { address, http1, http2: Multiplexed::default(), drain }
    }

    /// Connects for a permitted TCP connection.
    pub(crate) async fn connect(&self, _permit: &Permit) -> Result<Plain, CloseReason> {
        tcp(self.address).await.map(Plain::new)
    }

    /// Sends a permitted call.
    pub(crate) fn send(
        &self,
        _permit: &Permit,
        version: Version,
        request: Box<Request<Body>>,
    ) -> impl Future<Output = Result<Response<Received>, SendError>> {
        self.pass(version, request)
    }

    async fn pass(
        &self,
        version: Version,
        mut request: Box<Request<Body>>,
    ) -> Result<Response<Received>, SendError> {
        if version == Version::HTTP_2 {
            let open = || async {
                let opened = handshake_h2(tcp(self.address).await?, &self.drain, None).await?;
                Ok(Conn::new(opened, ()))
            };
            return Box::pin(self.http2.send(request, &(), open)).await;
        }
        request.headers_mut().remove(header::TE); // one hop's, in HTTP/1.1
        frame(&mut request);
        if Upgrade::of(request.headers()).is_some() {
            let tcp = tcp(self.address).await.map_err(SendError::not_done)?;
            return Box::pin(alone_at_workload(tcp, &self.drain, *request)).await;
        }
        let open = || async { Line::new(tcp(self.address).await?).await };
        self.http1.send(request, open).await
    }

    /// Asks for a health check in our own words.
    pub(crate) async fn probe(
        &self,
        probe: &Probe,
        version: Version,
    ) -> Result<StatusCode, SendError> {
        let mut request = Box::new(Request::new(Body::ours("")));
        *request.method_mut() = probe.method().clone();
        let agent = HeaderValue::from_static("cellwall-probe");
        request.headers_mut().insert(header::USER_AGENT, agent);
        let target = if version == Version::HTTP_2 {
            format!("http://localhost{}", probe.path())
        } else {
            let host = HeaderValue::from_static("localhost");
            request.headers_mut().insert(header::HOST, host);
            probe.path().to_owned()
        };
        let target = target.parse();
        *request.uri_mut() = target.map_err(|_| SendError::not_done(CloseReason::PathAmbiguous))?;
        *request.version_mut() = version;
        Ok(self.pass(version, request).await?.status())
    }
}

/// Says how a body of unknown length is framed: hyper would leave out the body of such a GET, and
/// send another message than the one that was judged (HTTP-10, HTTP-21).
fn frame(request: &mut Request<Body>) {
    let known = request.body().size_hint().exact().is_some();
    if !known && !request.headers().contains_key(header::CONTENT_LENGTH) {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(header::TRANSFER_ENCODING, chunked);
    }
}

/// Other workloads' sidecars.
#[derive(Clone, Debug)]
pub struct Peers {
    identities: Identities,
    authz: Authz,
    pub(crate) drain: Drain,
    pub(crate) tcp_sessions: TcpSessions,
}

impl Peers {
    /// Connects as whoever `identities` says we are, to those that the policy calls destinations.
    pub fn new(identities: Identities, authz: Authz, drain: Drain) -> Self {
        Self { identities, authz, drain, tcp_sessions: TcpSessions::Own }
    }

    /// Sends a call to `destination`, over a connection that many calls share. The answer comes with
    /// the authority of that connection.
    pub(crate) async fn send(
        &self,
        destination: &Destination,
        route: &Route,
        mut request: Box<Request<Body>>,
    ) -> Result<(Response<Received>, Authority), SendError> {
        if Upgrade::of(request.headers()).is_some() {
            return Box::pin(self.switch(destination, route, request)).await;
        }
        let mut last = SendError::not_done(CloseReason::NoEndpoint);
        let endpoints = destination.endpoints(route).map_err(SendError::not_done)?;
        let mut first = None;
        let once = endpoints.total();
        for (attempt, endpoint) in endpoints.clone().chain(endpoints).enumerate() {
            let identity = self.identity().map_err(SendError::not_done)?;
            let generation = identity.material.generation();
            // Again only for what a rotation in the middle of a handshake may have made fail.
            if attempt >= once && first == Some(generation) {
                break;
            }
            first.get_or_insert(generation);
            let key = PoolKey::of(&identity, route);
            let open = || self.open(&identity, (destination, &endpoint), &key);
            match endpoint.pool.try_send(request, &key, open).await {
                Ok((response, conn)) => {
                    let gone = SendError::unknown(CloseReason::SvidWithdrawn);
                    let authority = conn.authority.clone().ok_or(gone)?;
                    return Ok((response, authority));
                }
                Err((error, Some(back))) => {
                    destination.shun(&endpoint);
                    (last, request) = (error, back);
                }
                Err((error, None)) => return Err(error),
            }
        }
        Err(last)
    }

    /// Sends a call that asks to go on in another protocol, over a connection of its own.
    async fn switch(
        &self,
        destination: &Destination,
        route: &Route,
        request: Box<Request<Body>>,
    ) -> Result<(Response<Received>, Authority), SendError> {
        let opened = self.connect(destination, route, Alpn::Http11).await;
        let (stream, renewal) = opened.map_err(SendError::not_done)?;
        let (authority, address) = (renewal.authority.clone(), renewal.address);
        let answer = alone(stream, (&self.drain, Some(renewal)), *request).await;
        // Nothing was heard of it before: it may not have let us in, and the next call goes elsewhere.
        if answer.as_ref().is_err_and(|error| error.is_of_connection()) {
            destination.shun_at(address);
        }
        Ok((answer?, authority))
    }

    /// Connects to `destination` for one call. It comes with what keeps it open.
    async fn connect(
        &self,
        destination: &Destination,
        route: &Route,
        alpn: Alpn,
    ) -> Result<(TlsStream<Ahead<TcpStream>>, Renewal), CloseReason> {
        let mut last = CloseReason::NoEndpoint;
        for endpoint in destination.endpoints(route)? {
            let identity = self.identity()?;
            match session(&identity, endpoint.address, &route.expected, &[alpn]).await {
                Ok(session) => {
                    return Ok(self.renewal(session, &identity, (destination, endpoint.address)));
                }
                Err(reason) => {
                    destination.shun(&endpoint);
                    last = reason;
                }
            }
        }
        Err(last)
    }

    /// What keeps `session` with the sidecar at an address of `destination` open.
    pub(crate) fn renewal<IO>(
        &self,
        Session { stream, peer, binding, group, .. }: Session<IO>,
        identity: &Identity,
        (destination, address): (&Destination, SocketAddr),
    ) -> (IO, Renewal) {
        let authority = Authority::of_connection(&self.identities, identity, &peer, tls(group));
        let generation = identity.material.generation();
        let (identities, authz) = (self.identities.clone(), self.authz.clone());
        let destination = destination.name.clone();
        let renewal =
            Renewal { identities, authz, destination, address, binding, authority, generation };
        (stream, renewal)
    }

    pub(crate) fn identity(&self) -> Result<Arc<Identity>, CloseReason> {
        self.identities.current().ok_or(CloseReason::TlsRefused(Refusal::NoOwnIdentity)) // ID-21
    }

    async fn open(
        &self,
        identity: &Identity,
        (destination, endpoint): (&Destination, &Endpoint),
        key: &PoolKey,
    ) -> Result<Conn<PoolKey>, CloseReason> {
        let session = session(identity, endpoint.address, &key.expected, &[Alpn::H2]).await?;
        let (stream, renewal) = self.renewal(session, identity, (destination, endpoint.address));
        let authority = renewal.authority.clone();
        let heard = tokio::time::timeout(HANDSHAKE_DEADLINE, Heard::from(stream)).await;
        let Ok(Ok(stream)) = heard else {
            // Nothing was sent: the call may try elsewhere.
            return Err(CloseReason::TlsRefused(Refusal::RefusedByPeer));
        };
        let opened = Box::pin(handshake_h2(stream, &self.drain, Some(renewal))).await?;
        let mut conn = Conn::new(opened, key.clone());
        conn.authority = Some(authority);
        Ok(conn)
    }
}

/// Connects, and insists that `expected` answers (AZ-12). Never anything but TLS (AZ-14).
pub(crate) async fn session(
    identity: &Identity,
    address: SocketAddr,
    expected: &spiffe::SpiffeId,
    alpn: &[Alpn],
) -> Result<Session<TlsStream<Ahead<TcpStream>>>, CloseReason> {
    let tcp = Ahead::of(tcp(address).await?);
    let started = Instant::now();
    let expected = std::slice::from_ref(expected);
    let session =
        cellwall_mtls::connect(&identity.material, tcp, expected, alpn, HANDSHAKE_DEADLINE).await;
    let result = session.as_ref().map(drop).map_err(|error: &HandshakeError| error.refusal);
    metrics::handshake(Direction::Outbound, started.elapsed(), result);
    session.map_err(|error| {
        tracing::warn!(%address, refusal = %error.refusal, "outbound handshake refused");
        CloseReason::from(&error)
    })
}

async fn tcp(address: SocketAddr) -> Result<TcpStream, CloseReason> {
    match tokio::time::timeout(CONNECT_DEADLINE, TcpStream::connect(address)).await {
        Ok(Ok(tcp)) => {
            prepare(&tcp);
            Ok(tcp)
        }
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "connect failed");
            Err(CloseReason::ConnectFailed)
        }
        Err(_) => Err(CloseReason::ConnectFailed),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::{Body, frame};

    #[test]
    fn a_body_whose_length_is_known_goes_in_no_chunks() {
        for text in ["", "money"] {
            let mut request = Request::new(Body::ours(text));
            frame(&mut request);
            assert!(request.headers().is_empty(), "{text}");
        }
    }
}
