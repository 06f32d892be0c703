//! The hot path: what happens to every connection and every call, in order.
//!
//! Read this file first. Each step is one line here and one module elsewhere, which says why.
//! Nothing here takes a lock, waits for the control plane or reads a policy document: a step reads
//! what a [`crate::Live`] holds, and a [`Peer`] or a [`Permit`] in hand is the proof that the step
//! before it was taken.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use cellwall_mtls::{Alpn, Peer, Refusal, Session};
use cellwall_policy::{Call, ListensDocument, Protocol};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::{
    Authz, CloseReason, Directory, Drain, Flows, Identities, Identity, Permit,
    authority::{Authority, StandingCall},
    flow::{Direction, Flow, Kind},
    http::{self as web, Body, Canonical, Reply, SendError, Version},
    listener, metrics, relay,
    reproof::{self, Register},
    route::{Destination, Route},
    upstream::{HANDSHAKE_DEADLINE, Peers, Workload},
};

/// What every connection shares: one room per field.
#[derive(Debug)]
pub struct Proxy {
    /// Our SVID and whom we trust.
    pub identities: Identities,
    /// The policy in force for our workload.
    pub authz: Authz,
    /// Where other workloads are.
    pub directory: Arc<Directory>,
    /// Where flow records go.
    pub flows: Flows,
    /// Our workload.
    pub workload: Workload,
    /// Other workloads' sidecars.
    pub peers: Peers,
    /// The connections that other sidecars opened, and may prove anew.
    pub register: Register,
    /// Ends all of it.
    pub drain: Drain,
}

/// A session with another sidecar that called us.
type Inbound = Session<TlsStream<TcpStream>>;

impl Proxy {
    /// A connection from another workload's sidecar to our workload.
    pub async fn inbound(self: Arc<Self>, tcp: TcpStream, from: SocketAddr) {
        let _open = metrics::Open::count(Direction::Inbound);
        let drain = self.drain.watch();
        let accepted = tokio::select! {
            accepted = self.accept(tcp) => accepted,
            () = drain.cut() => Err(CloseReason::Drained),
        };
        let (session, identity, listener) = match accepted {
            Ok(accepted) => accepted,
            Err(reason) => {
                return self.flows.open(Kind::Connection, Direction::Inbound, from).close(reason);
            }
        };
        match (session.alpn, listener.protocol) {
            (Alpn::Reproof, _) => {
                let answer = reproof::answer(session, &identity, &self.register);
                tokio::select! {
                    () = Box::pin(answer) => {}
                    () = drain.cut() => {}
                }
            }
            (_, Protocol::Tcp) => {
                Box::pin(self.receive(session, &identity, (listener.port, from))).await
            }
            (_, protocol) => Box::pin(self.answer(session, &identity, (protocol, from))).await,
        }
    }

    /// Who is it? Without an identity or a policy of our own we do not even ask (ID-21, AZ-01).
    async fn accept(
        &self,
        tcp: TcpStream,
    ) -> Result<(Inbound, Arc<Identity>, ListensDocument), CloseReason> {
        let identity =
            self.identities.current().ok_or(CloseReason::TlsRefused(Refusal::NoOwnIdentity))?;
        let snapshot = self.authz.snapshot().ok_or(CloseReason::NoPolicy)?;
        let listener = snapshot.listens().first().copied().ok_or(CloseReason::NoPolicy)?;
        let started = Instant::now();
        let alpn = listener::offered(listener.protocol);
        let session =
            cellwall_mtls::accept(&identity.material, tcp, alpn, HANDSHAKE_DEADLINE).await;
        let result = session.as_ref().map(drop).map_err(|error| error.refusal);
        metrics::handshake(Direction::Inbound, started.elapsed(), result);
        let session = session.map_err(|error| CloseReason::from(&error))?;
        Ok((session, identity, listener))
    }

    /// TCP: one connection is one call.
    async fn receive(
        &self,
        session: Inbound,
        identity: &Identity,
        (port, from): (u16, SocketAddr),
    ) {
        let mut flow = self.flows.open(Kind::Connection, Direction::Inbound, from);
        flow.record.protocol = Some(Protocol::Tcp);
        flow.identify_caller(&session.peer, self.authz.snapshot().as_deref());
        let close = self.permitted(session, identity, port, &mut flow).await;
        flow.close(close.err().unwrap_or(CloseReason::Done));
    }

    async fn permitted(
        &self,
        Session { mut stream, peer, binding, .. }: Inbound,
        identity: &Identity,
        port: u16,
        flow: &mut Flow,
    ) -> Result<(), CloseReason> {
        let permit = self.authz.decide(&peer, &Call::Tcp { port }).map_err(|denied| {
            flow.denied(&denied);
            CloseReason::PolicyDenied
        })?;
        flow.permitted(&permit);
        let connection = Authority::of_connection(&self.identities, identity, &peer);
        let authority = connection.of_call(&self.authz, StandingCall::Tcp { port });
        let _named = self.register.enter(binding, &authority);
        let mut workload = self.workload.connect(&permit).await?;
        let drain = self.drain.watch();
        tokio::select! {
            biased; // it may have ended while we connected
            reason = authority.ended() => Err(reason),
            () = drain.cut() => Err(CloseReason::Drained),
            end = relay::both_ways(&mut stream, &mut workload, &flow.bytes) => end,
        }
    }

    /// HTTP and gRPC: each request is a call (AZ-09).
    async fn answer(
        self: Arc<Self>,
        Session { stream, peer, alpn, binding }: Inbound,
        identity: &Identity,
        (protocol, from): (Protocol, SocketAddr),
    ) {
        let authority = Authority::of_connection(&self.identities, identity, &peer);
        let _named = self.register.enter(binding, &authority);
        let caller = Caller { peer, authority: authority.clone(), from };
        let version = if alpn == Alpn::H2 { Version::Http2 } else { Version::Http1 };
        let calls = |request| self.clone().call(caller.clone(), protocol, request);
        web::serve(stream, version, (&self.drain, Some(&authority)), calls).await;
    }

    /// One call on such a connection. Policy is asked anew for each.
    async fn call(
        self: Arc<Self>,
        caller: Caller,
        protocol: Protocol,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let started = Instant::now();
        let mut flow = self.flows.open(Kind::Call, Direction::Inbound, caller.from);
        flow.identify_caller(&caller.peer, self.authz.snapshot().as_deref());
        let canonical = match web::read(&mut flow, protocol, &request) {
            Ok(canonical) => Arc::new(canonical),
            Err(reason) => return web::refused(flow, Reply(protocol).ambiguous(reason), reason),
        };
        let Some(call) = canonical.call(protocol) else {
            let reason = CloseReason::RequestAmbiguous;
            return web::refused(flow, Reply(protocol).ambiguous(reason), reason);
        };
        let permit = match self.authz.decide(&caller.peer, &call) {
            Ok(permit) => permit,
            Err(denied) => {
                flow.denied(&denied);
                let reason = CloseReason::PolicyDenied;
                return web::refused(flow, Reply(protocol).denied(denied.id), reason);
            }
        };
        flow.permitted(&permit);
        let standing = StandingCall::Request(canonical.clone(), protocol);
        let authority = caller.authority.of_call(&self.authz, standing);
        let what = (protocol, &*canonical);
        let forwarded = self.forward(&permit, &authority, what, (request, &mut flow));
        let response = tokio::select! {
            response = forwarded => response,
            reason = authority.ended() => Err(SendError(reason)),
        };
        match response {
            Ok(response) => web::delivered(flow, started, (response, authority)),
            Err(SendError(reason)) => {
                web::refused(flow, Reply(protocol).unavailable(reason), reason)
            }
        }
    }

    /// What was authorised is what is sent (HTTP-10), with the caller's ID and nobody else's.
    async fn forward(
        &self,
        permit: &Permit,
        authority: &Authority,
        (protocol, canonical): (Protocol, &Canonical),
        (request, flow): (Request<Incoming>, &mut Flow),
    ) -> Result<Response<Incoming>, SendError> {
        let bytes = flow.bytes.clone();
        let request = request.map(|body| Body::request(body, bytes, Some(authority)));
        let caller = authority.peer();
        let request = web::to_callee(request, (protocol, canonical), caller.id_text())?;
        let sent = Instant::now();
        let response = self.workload.send(permit, protocol, request).await;
        flow.record.upstream = Some(sent.elapsed());
        response
    }

    /// A connection from our workload to the workload that `destination` stands for.
    pub async fn outbound(
        self: Arc<Self>,
        app: TcpStream,
        from: SocketAddr,
        destination: Arc<Destination>,
    ) {
        let _open = metrics::Open::count(Direction::Outbound);
        match self.route(&destination) {
            Ok(route) if route.protocol == Protocol::Tcp => {
                Box::pin(self.send(app, from, &destination, &route)).await;
            }
            Ok(route) => self.pass((app, from), destination, route.protocol).await,
            Err(reason) => {
                let mut flow = self.flows.open(Kind::Connection, Direction::Outbound, from);
                let snapshot = self.authz.snapshot();
                flow.identify_callee(&destination.name, None, snapshot.as_deref());
                flow.close(reason);
            }
        }
    }

    fn route(&self, destination: &Destination) -> Result<Route, CloseReason> {
        destination.route(self.authz.snapshot().as_deref(), &self.directory)
    }

    /// TCP: a session of its own.
    async fn send(
        &self,
        mut app: TcpStream,
        from: SocketAddr,
        destination: &Destination,
        route: &Route,
    ) {
        let mut flow = self.flows.open(Kind::Connection, Direction::Outbound, from);
        flow.record.protocol = Some(Protocol::Tcp);
        let snapshot = self.authz.snapshot();
        flow.identify_callee(&destination.name, Some(&route.expected), snapshot.as_deref());
        let drain = self.drain.watch();
        let relayed = async {
            let (mut stream, mut renewal) = self.peers.connect(destination, route).await?;
            let authority = renewal.authority.clone();
            tokio::select! {
                end = relay::both_ways(&mut app, &mut stream, &flow.bytes) => end,
                never = renewal.keep() => match never {},
                reason = authority.ended() => Err(reason),
            }
        };
        let close = tokio::select! {
            end = relayed => end.err().unwrap_or(CloseReason::Done),
            () = drain.cut() => CloseReason::Drained,
        };
        flow.close(close);
    }

    /// HTTP and gRPC: each request finds its own way.
    async fn pass(
        self: Arc<Self>,
        (app, from): (TcpStream, SocketAddr),
        destination: Arc<Destination>,
        protocol: Protocol,
    ) {
        let version = if protocol == Protocol::Grpc { Version::Http2 } else { Version::Http1 };
        let calls = |request| self.clone().request(destination.clone(), protocol, from, request);
        web::serve(app, version, (&self.drain, None), calls).await;
    }

    /// One request of our workload. The callee's sidecar decides; we make sure who it is.
    async fn request(
        self: Arc<Self>,
        destination: Arc<Destination>,
        protocol: Protocol,
        from: SocketAddr,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let started = Instant::now();
        let mut flow = self.flows.open(Kind::Call, Direction::Outbound, from);
        let (snapshot, route) = (self.authz.snapshot(), self.route(&destination));
        let expected = route.as_ref().ok().map(|route| &route.expected);
        flow.identify_callee(&destination.name, expected, snapshot.as_deref());
        let canonical = match web::read(&mut flow, protocol, &request) {
            Ok(canonical) => canonical,
            Err(reason) => return web::refused(flow, Reply(protocol).ambiguous(reason), reason),
        };
        let request = request.map(|body| Body::request(body, flow.bytes.clone(), None));
        let sent = Instant::now();
        let response = match (route, web::to_peer(request, &canonical)) {
            (Ok(route), Ok(request)) => self.peers.send(&destination, &route, request).await,
            (Err(reason), _) => Err(SendError(reason)),
            (_, Err(ambiguous)) => Err(ambiguous),
        };
        flow.record.upstream = Some(sent.elapsed());
        match response {
            Ok(response) => web::delivered(flow, started, response),
            Err(SendError(reason)) => {
                web::refused(flow, Reply(protocol).unavailable(reason), reason)
            }
        }
    }
}

/// Who calls on an HTTP connection, and what the connection stands on.
#[derive(Clone, Debug)]
struct Caller {
    peer: Peer,
    authority: Authority,
    from: SocketAddr,
}
