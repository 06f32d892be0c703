//! The hot path: what happens to every connection and every call, in order.
//!
//! Read this file first. Each step is one line here and one module elsewhere, which says why.
//! Nothing here waits for a lock or for the control plane, or reads a policy document: a step reads
//! what a [`crate::Live`] holds, and a [`Peer`] or a [`Permit`] in hand is the proof that the step
//! before it was taken.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Instant};

use cellwall_mtls::{Alpn, Peer, Refusal, Session};
use cellwall_policy::{Call, Protocol, Snapshot, Tls, Tolerated};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::{net::TcpStream, sync::Semaphore};
use tokio_rustls::server::TlsStream;

use crate::{
    Authz, CloseReason, Denied, Directory, Drain, Flows, Identities, Identity, Permit,
    ahead::Ahead,
    authority::{Authority, Needs},
    authz::tls,
    flow::{Direction, Flow, Kind},
    http::{self as web, Body, Canonical, Introduced, Received, Reply, SendError, Version},
    listener::{Declared, offered},
    metrics, relay,
    reproof::{self, Register},
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
    /// Other workloads' sidecars.
    pub peers: Peers,
    /// The connections that other sidecars opened, and may prove anew.
    pub register: Register,
    /// Ends all of it.
    pub drain: Drain,
}

/// What one inbound listener stands for.
#[derive(Debug)]
pub struct Served {
    /// The port that the policy declares for it; `None`: the only one.
    pub port: Option<u16>,
    /// What others are told to connect to, if that is another address than the listener's.
    pub advertised: Option<SocketAddr>,
    /// How many TCP connections there may be at once as streams; those beyond have to come by
    /// themselves.
    pub streams: Semaphore,
    /// Our workload there.
    pub workload: Workload,
}

/// A session with another sidecar that called us. In a box: it is handed on several times.
pub(crate) type Inbound = Session<Box<TlsStream<Ahead<TcpStream>>>>;

impl Proxy {
    /// A connection from another workload's sidecar to our workload.
    pub async fn inbound(self: Arc<Self>, tcp: TcpStream, from: SocketAddr, served: Arc<Served>) {
        let _open = metrics::Open::count(Direction::Inbound);
        // In a box: the handshake takes more than all that comes after it.
        let accepted = tokio::select! {
            accepted = Box::pin(self.accept(tcp, &served)) => accepted,
            () = self.drain.cut() => Err(CloseReason::Drained),
        };
        let (session, identity, declared) = match accepted {
            Ok(accepted) => accepted,
            Err(reason) => {
                return self.flows.open(Kind::Connection, Direction::Inbound, from).close(reason);
            }
        };
        let arrival = Arrival { served, declared, from };
        match (session.alpn, declared.protocol()) {
            (Alpn::Reproof, _) => {
                let answer = reproof::answer(session, &identity, &self.register);
                tokio::select! {
                    () = Box::pin(answer) => {}
                    () = self.drain.cut() => {}
                }
            }
            (Alpn::H2, Protocol::Tcp) => Box::pin(self.share(session, &identity, arrival)).await,
            (_, Protocol::Tcp) => Box::pin(self.receive(session, &identity, arrival)).await,
            _ => Box::pin(self.answer(session, &identity, arrival)).await,
        }
    }

    /// Who is it? Without an identity, or a policy that says what is spoken here, we do not even ask
    /// (ID-21, AZ-01, AZ-03).
    async fn accept(
        &self,
        tcp: TcpStream,
        served: &Served,
    ) -> Result<(Inbound, Arc<Identity>, Declared), CloseReason> {
        let identity =
            self.identities.current().ok_or(CloseReason::TlsRefused(Refusal::NoOwnIdentity))?;
        let declared = self.authz.declared(served.port)?;
        let started = Instant::now();
        let alpn = offered(declared.protocol(), self.peers.tcp_sessions);
        let tcp = Ahead::of(tcp);
        let session =
            cellwall_mtls::accept(&identity.material, tcp, alpn, HANDSHAKE_DEADLINE).await;
        let result = session.as_ref().map(drop).map_err(|error| error.refusal);
        metrics::handshake(Direction::Inbound, started.elapsed(), result);
        let Session { stream, peer, alpn, binding, group } =
            session.map_err(|error| CloseReason::from(&error))?;
        let session = Session { stream: Box::new(stream), peer, alpn, binding, group };
        Ok((session, identity, declared))
    }

    /// TCP: one connection is one call.
    pub(crate) async fn receive(&self, session: Inbound, identity: &Identity, arrival: Arrival) {
        let mut flow = self.flows.open(Kind::Connection, Direction::Inbound, arrival.from);
        flow.record.protocol = Some(Protocol::Tcp);
        flow.identify_caller(&session.peer, self.authz.snapshot().as_deref());
        let close = self.permitted(session, identity, &arrival, &mut flow).await;
        flow.close(close.err().unwrap_or(CloseReason::Done));
    }

    async fn permitted(
        &self,
        Session { mut stream, peer, binding, group, .. }: Inbound,
        identity: &Identity,
        arrival: &Arrival,
        flow: &mut Flow,
    ) -> Result<(), CloseReason> {
        let at = arrival.declared;
        let permit = self.permit(at, (&peer, &tls(group)), flow).map_err(|denied| denied.reason)?;
        let connection = Authority::of_connection(&self.identities, identity, &peer, tls(group));
        let authority = connection.needing(&self.authz, Needs::Tcp(at));
        let _named = self.register.enter(binding, &authority);
        let mut workload = arrival.served.workload.connect(&permit).await?;
        flow.leaves();
        let relayed = pin!(relay::both_ways(&mut stream, &mut workload, &flow.progress));
        self.lasts(&authority, relayed).await
    }

    /// May it connect?
    pub(crate) fn permit(
        &self,
        at: Declared,
        (peer, tls): (&Peer, &Tls),
        flow: &mut Flow,
    ) -> Result<Permit, Denied> {
        let decided = self.authz.decide(at, peer, tls, &Call::Tcp { port: at.port() });
        match &decided {
            Ok(permit) => flow.permitted(permit),
            Err(denied) => flow.denied(denied),
        }
        decided
    }

    /// Bytes both ways, for as long as the connection has its authority.
    pub(crate) async fn lasts(
        &self,
        authority: &Authority,
        relayed: impl Future<Output = Result<(), CloseReason>>,
    ) -> Result<(), CloseReason> {
        tokio::select! {
            biased; // it may have ended while we connected
            reason = authority.ended() => Err(reason),
            () = self.drain.cut() => Err(CloseReason::Drained),
            end = relayed => end.map_err(|reason| authority.explains(reason)),
        }
    }

    /// HTTP and gRPC: each request is a call (AZ-09), on a connection that ends with its listener.
    async fn answer(
        self: Arc<Self>,
        Session { stream, peer, alpn, binding, group }: Inbound,
        identity: &Identity,
        arrival: Arrival,
    ) {
        let connection = Authority::of_connection(&self.identities, identity, &peer, tls(group));
        let authority = connection.needing(&self.authz, Needs::Listener(arrival.declared));
        let _named = self.register.enter(binding, &authority);
        let caller = Caller { peer, authority: authority.clone(), arrival };
        let version = if alpn == Alpn::H2 { Version::Http2 } else { Version::Http1 };
        // In a box: hyper moves what it is given several times.
        let calls = |request| Box::pin(self.clone().call(caller.clone(), request));
        Box::pin(web::serve(stream, version, (&self.drain, Some(&authority)), calls)).await;
    }

    /// One call on such a connection. Policy is asked anew for each.
    async fn call(
        self: Arc<Self>,
        caller: Caller,
        mut request: Request<Incoming>,
    ) -> Response<Body> {
        let Arrival { ref served, declared, from } = caller.arrival;
        let protocol = declared.protocol();
        let mut flow = self.flows.open(Kind::Call, Direction::Inbound, from);
        let snapshot = self.authz.snapshot();
        flow.identify_caller(&caller.peer, snapshot.as_deref());
        let tolerated = tolerated(protocol, snapshot.as_deref());
        let asking = hyper::upgrade::on(&mut request);
        let canonical = match web::read(&mut flow, (protocol, tolerated), &request) {
            Ok(canonical) => canonical,
            Err(reason) => return web::refused(flow, Reply(protocol).ambiguous(reason), reason),
        };
        let tls = caller.authority.tls();
        // HTTP-12: where nothing grants what it asks to go on in, it is an ordinary request.
        let grants = |call: &Call<'_>| self.authz.grants(declared, &caller.peer, tls, call);
        let canonical = Arc::new(canonical.granted(grants));
        flow.record.upgrade = canonical.upgrade().cloned();
        let Some(call) = canonical.call(protocol) else {
            let reason = CloseReason::RequestAmbiguous;
            return web::refused(flow, Reply(protocol).ambiguous(reason), reason);
        };
        let permit = match self.authz.decide(declared, &caller.peer, tls, &call) {
            Ok(permit) => permit,
            Err(denied) => {
                flow.denied(&denied);
                return web::refused(flow, Reply(protocol).denied(denied.id), denied.reason);
            }
        };
        flow.permitted(&permit);
        let needs = Needs::Request(declared, canonical.clone(), permit.said());
        let authority = caller.authority.needing(&self.authz, needs);
        let what = (declared, &*canonical);
        let forwarded = served.forward(&permit, &authority, what, (request, &mut flow));
        let response = tokio::select! {
            biased; // it may cut the request as well, and says why
            reason = authority.ended() => Err(SendError::unknown(reason)),
            response = forwarded => response,
        };
        match response {
            Ok(response) => web::delivered(flow, (response, authority), asking),
            Err(error) => web::unanswered(flow, protocol, error),
        }
    }
}

/// AZ-03: what is declared to be bytes is not read as a request.
const NOT_HTTP: SendError = SendError::not_done(CloseReason::RequestAmbiguous);

/// What our workload tolerates in a path, by the policy of this moment. Should the next one not, no
/// template of it matches what was read.
fn tolerated(protocol: Protocol, snapshot: Option<&Snapshot>) -> Tolerated {
    match protocol {
        Protocol::Http => snapshot.map_or(Tolerated::Nothing, Snapshot::tolerates),
        Protocol::Grpc | Protocol::Tcp => Tolerated::Nothing,
    }
}

impl Served {
    /// What was authorised is what is sent (HTTP-10), with the caller's ID and nobody else's.
    async fn forward(
        &self,
        permit: &Permit,
        authority: &Authority,
        (declared, canonical): (Declared, &Canonical),
        (request, flow): (Request<Incoming>, &mut Flow),
    ) -> Result<Response<Received>, SendError> {
        let version = declared.version().ok_or(NOT_HTTP)?;
        let mut request = web::carried(request, flow.progress.clone(), Some(authority));
        let peer = authority.peer();
        let caller = Introduced::by(permit.introduction(), &peer);
        web::to_callee(&mut request, (version, canonical), &caller)?;
        flow.stamp(&mut request);
        if version == http::Version::HTTP_11 {
            // Calls that are ready are written together. What has ended meanwhile is not sent (AZ-10).
            authority.in_turn().await.map_err(SendError::not_done)?;
        }
        flow.leaves();
        let sent = Instant::now();
        let response = self.workload.send(permit, version, request).await;
        flow.answered(sent);
        response
    }
}

/// Who calls on an HTTP connection, and what the connection stands on.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) peer: Peer,
    pub(crate) authority: Authority,
    pub(crate) arrival: Arrival,
}

/// Where a connection came to, and from where.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) served: Arc<Served>,
    /// What the policy said of the listener when it came.
    pub(crate) declared: Declared,
    pub(crate) from: SocketAddr,
}

#[cfg(fuzzing)]
mod fuzzing;
