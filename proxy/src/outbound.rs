//! The other half of the hot path: what our workload sends to others. We make sure who answers;
//! the callee's sidecar decides.

use std::{net::SocketAddr, pin::Pin, sync::Arc};

use cellwall_policy::{Protocol, Tolerated};
use http::{Request, Response};
use hyper::body::Incoming;

use crate::{
    CloseReason, Proxy,
    flow::{Direction, Kind, Progress},
    http::{self as web, Body, Canonical, Repeat, Reply, SendError, Sent, Told, Version},
    listener::Accepted,
    metrics,
    relay::{self, Plain},
    route::{Destination, Route},
    tunnels::{Own, Taken, Way},
};

/// Room that nobody uses, beside what a connection of HTTP needs. Without it that has a size (513 to 640
/// bytes) of which two come and go with each call, heads of six fields: when a thousand apps rest, their
/// connections would hold three times as many pages.
const APART: usize = 256;

impl Proxy {
    /// Serves a connection from our workload to the workload that `destination` stands for, as a task: HTTP
    /// has more to remember than TCP, and a task has room for as long as either is there.
    pub fn outbound(self: Arc<Self>, accepted: Accepted, destination: Arc<Destination>) {
        let drain = self.drain.clone();
        match self.route(&destination) {
            Ok(route) if route.protocol == Protocol::Tcp => {
                drain.spawn(Box::pin(self.send(accepted, destination, route)));
            }
            Ok(route) => {
                drain.spawn(Box::pin(self.pass(accepted, destination, route.protocol)));
            }
            Err(reason) => accepted.served(&drain, |tcp, from| async move {
                let mut flow = self.flows.open(Kind::Connection, Direction::Outbound, from);
                let snapshot = self.authz.snapshot();
                flow.identify_callee(&destination.name, None, snapshot.as_deref());
                drop(Plain::new(tcp));
                flow.close(reason);
            }),
        }
    }

    fn route(&self, destination: &Destination) -> Result<Route, CloseReason> {
        destination.route(self.authz.snapshot().as_deref(), &self.directory)
    }

    /// TCP: a stream of a session that others share, or a session of its own.
    fn send(
        self: Arc<Self>,
        Accepted { tcp, from, slot }: Accepted,
        destination: Arc<Destination>,
        route: Route,
    ) -> impl Future<Output = ()> + Send {
        // What a tuple has is dropped in this order, when all of it is over.
        let mut held = (Plain::new(tcp), metrics::Open::count(Direction::Outbound), slot);
        // An `async fn` would have room twice for what it is given.
        async move {
            let (app, ..) = &mut held;
            let mut flow = self.flows.open(Kind::Connection, Direction::Outbound, from);
            flow.record.protocol = Some(Protocol::Tcp);
            let snapshot = self.authz.snapshot();
            let expected = Some(&route.expected_text);
            flow.identify_callee(&destination.name, expected, snapshot.as_deref());
            flow.decided();
            let relayed = async {
                // In a box: the handshake takes more than all that comes after it.
                let way = Box::pin(self.peers.reach(&destination, &route)).await?;
                flow.leaves();
                match way {
                    Way::Shared(mut taken) => {
                        let Taken { stream, authority, .. } = &mut *taken;
                        let ways = (&flow.progress.request, &flow.progress.response);
                        tokio::select! {
                            end = stream.relay(app, ways) => {
                                end.map_err(|reason| authority.explains(reason))
                            }
                            reason = authority.ended() => Err(reason),
                        }
                    }
                    // In a box: two sessions to relay between take more than a stream.
                    Way::Own(own) => Box::pin(alone(*own, app, &flow.progress)).await,
                }
            };
            let close = tokio::select! {
                end = relayed => end.err().unwrap_or(CloseReason::Done),
                () = self.drain.cut() => CloseReason::Drained,
            };
            flow.close(close);
        }
    }

    /// HTTP and gRPC: each request finds its own way.
    fn pass(
        self: Arc<Self>,
        Accepted { tcp, from, slot }: Accepted,
        destination: Arc<Destination>,
        protocol: Protocol,
    ) -> impl Future<Output = ()> + Send {
        let held = (metrics::Open::count(Direction::Outbound), slot, [0_u8; APART]);
        let calls = Calls { proxy: self, from, destination, protocol };
        // As above.
        async move {
            let _ = &held; // until all of it is over
            let (calls, drain) = (&calls, &calls.proxy.drain);
            let (version, app) = tokio::select! {
                spoken = web::spoken(tcp, protocol) => match spoken {
                    Ok(spoken) => spoken,
                    Err(_) => return,
                },
                () = drain.stopping() => return,
            };
            let answer = |request| calls.answer(request);
            match version {
                Version::Http1 => web::serve_app(app, drain, answer).await,
                Version::Http2 => {
                    Box::pin(web::serve(app, version, (drain, None), answer)).await;
                }
            }
        }
    }

    /// One request of our workload. The callee's sidecar decides; we make sure who it is.
    async fn request(
        self: Arc<Self>,
        destination: Arc<Destination>,
        protocol: Protocol,
        from: SocketAddr,
        mut request: Request<Incoming>,
    ) -> Response<Body> {
        let mut flow = self.flows.open(Kind::Call, Direction::Outbound, from);
        let (snapshot, route) = (self.authz.snapshot(), self.route(&destination));
        let expected = route.as_ref().ok().map(|route| &route.expected_text);
        flow.identify_callee(&destination.name, expected, snapshot.as_deref());
        let tolerated = match (&route, protocol) {
            (Ok(route), Protocol::Http) => route.tolerates,
            (Err(_), _) | (_, Protocol::Grpc | Protocol::Tcp) => Tolerated::Nothing,
        };
        let asking = hyper::upgrade::on(&mut request);
        let canonical = match web::read(&mut flow, (protocol, tolerated), &request) {
            Ok(canonical) => canonical,
            Err(reason) => return web::refused(flow, Reply(protocol).ambiguous(reason), reason),
        };
        let call = || canonical.call(protocol);
        let idempotent = route.as_ref().ok().and_then(|route| route.idempotent(call));
        let (mut request, kept) = web::outgoing(request, &flow, idempotent);
        let sent = flow.decided();
        flow.leaves();
        let is_taken = web::to_peer(&mut request, &canonical);
        let told = match (route, is_taken) {
            (Ok(route), Ok(())) => {
                flow.stamp(&mut request);
                let progress = flow.progress.clone();
                let twice =
                    kept.and_then(|kept| Repeat::of(kept, &request, progress, &destination.budget));
                let first = Sent(self.peers.send(&destination, &route, request).await);
                match twice {
                    None => first.alone(),
                    Some(twice) => {
                        let to = (&*destination, &route, &canonical);
                        Box::pin(self.repeated(to, twice, first)).await
                    }
                }
            }
            (Err(reason), _) => Sent(Err(SendError::not_done(reason))).alone(),
            (_, Err(refused)) => Sent(Err(refused)).alone(),
        };
        flow.answered(sent);
        let mut response = match told.sent.0 {
            Ok(response) => web::delivered(flow, response, asking),
            Err(error) => web::unanswered(flow, protocol, error),
        };
        if told.is_of_one {
            web::of_second_attempt(response.headers_mut());
        }
        response
    }

    /// The one place in the mesh that makes a call twice of which bytes have left (decision 20): what
    /// the policy declares, where the first attempt came to nothing.
    async fn repeated(
        &self,
        (destination, before, canonical): (&Destination, &Route, &Canonical),
        twice: Repeat,
        first: Sent,
    ) -> Told {
        let Destination { name, budget, .. } = destination;
        let Some(twice) = twice.after(&first).await else { return first.alone() };
        // Not by what was in force before: to the same callee, of which the same is still declared.
        let declared = |route: &Route| route.idempotent(|| canonical.call(route.protocol));
        let route = match self.route(destination) {
            Ok(route) if route.is_to(before) && declared(&route) == Some(twice.by()) => route,
            Ok(_) | Err(_) => return first.alone(),
        };
        let Some(again) = twice.again(budget, name) else { return first.alone() };
        let second = again.by(|request| self.peers.send(destination, &route, request)).await;
        first.and(second, name)
    }
}

/// A connection of our workload on which there are calls: what each of them begins with.
struct Calls {
    proxy: Arc<Proxy>,
    from: SocketAddr,
    destination: Arc<Destination>,
    protocol: Protocol,
}

impl Calls {
    /// In a box: hyper moves what it is given several times.
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Pin<Box<impl Future<Output = Response<Body>> + Send + use<>>> {
        let Self { proxy, from, destination, protocol } = self;
        Box::pin(proxy.clone().request(destination.clone(), *protocol, *from, request))
    }
}

/// TCP in a session of its own.
async fn alone(
    (mut stream, mut renewal): Own,
    app: &mut Plain,
    progress: &Progress,
) -> Result<(), CloseReason> {
    let authority = renewal.authority.clone();
    let relayed = relay::both_ways(app, &mut stream, progress);
    tokio::select! {
        end = relayed => end.map_err(|reason| authority.explains(reason)),
        never = renewal.keep() => match never {},
        reason = authority.ended() => Err(reason),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        Identity, Proxy,
        hot_path::{Arrival, Inbound},
        reproof::Renewal,
    };

    /// The memory of one call of it.
    fn of<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_at_rest_takes_little_memory() {
        let pass = |proxy, accepted, to, protocol| Proxy::pass(proxy, accepted, to, protocol);
        assert!((769..=896).contains(&of(pass)), "{}", of(pass)); // a size of its own
        let send = |proxy, accepted, to, route| Proxy::send(proxy, accepted, to, route);
        assert!(of(send) <= 768, "{}", of(send));
        assert!(of(Proxy::inbound) <= 512, "{}", of(Proxy::inbound));
        // In a box beside it.
        let receive = |proxy: &'static Proxy, session: Inbound, us: &'static Identity, at| {
            let at: Arrival = at;
            proxy.receive(session, us, at)
        };
        assert!(of(receive) <= 2752, "{}", of(receive));
        assert!(size_of::<Renewal>() <= 272, "{}", size_of::<Renewal>());
    }
}
