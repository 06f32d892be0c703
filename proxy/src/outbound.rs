//! The other half of the hot path: what our workload sends to others. We make sure who answers;
//! the callee's sidecar decides.

use std::{net::SocketAddr, pin::Pin, sync::Arc};

use cellwall_policy::{Protocol, Tolerated};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpStream;

use crate::{
    CloseReason, Proxy,
    flow::{Direction, Kind, Progress},
    http::{self as web, Body, Canonical, Repeat, Reply, SendError, Sent, Told, Version},
    metrics,
    relay::{self, Plain},
    route::{Destination, Route},
    tunnels::{Own, Taken, Way},
};

impl Proxy {
    /// A connection from our workload to the workload that `destination` stands for.
    pub async fn outbound(
        self: Arc<Self>,
        app: TcpStream,
        from: SocketAddr,
        destination: Arc<Destination>,
    ) {
        let _open = metrics::Open::count(Direction::Outbound);
        let route = self.route(&destination);
        // In boxes: HTTP has more to remember than TCP, and this is there for as long as either.
        let connection: Pin<Box<dyn Future<Output = ()> + Send + '_>> = match &route {
            Ok(route) if route.protocol == Protocol::Tcp => {
                Box::pin(self.send(app, from, &destination, route))
            }
            Ok(route) => Box::pin(self.pass(app, &from, &destination, route.protocol)),
            Err(reason) => {
                let mut flow = self.flows.open(Kind::Connection, Direction::Outbound, from);
                let snapshot = self.authz.snapshot();
                flow.identify_callee(&destination.name, None, snapshot.as_deref());
                drop(Plain::new(app));
                return flow.close(*reason);
            }
        };
        connection.await;
    }

    fn route(&self, destination: &Destination) -> Result<Route, CloseReason> {
        destination.route(self.authz.snapshot().as_deref(), &self.directory)
    }

    /// TCP: a stream of a session that others share, or a session of its own.
    async fn send(
        &self,
        app: TcpStream,
        from: SocketAddr,
        destination: &Destination,
        route: &Route,
    ) {
        let mut app = Plain::new(app);
        let mut flow = self.flows.open(Kind::Connection, Direction::Outbound, from);
        flow.record.protocol = Some(Protocol::Tcp);
        let snapshot = self.authz.snapshot();
        flow.identify_callee(&destination.name, Some(&route.expected_text), snapshot.as_deref());
        flow.decided();
        let drain = self.drain.watch();
        let relayed = async {
            // In a box: the handshake takes more than all that comes after it.
            let way = Box::pin(self.peers.reach(destination, route)).await?;
            flow.leaves();
            match way {
                Way::Shared(mut taken) => {
                    let Taken { stream, authority, .. } = &mut *taken;
                    let ways = (&flow.progress.request, &flow.progress.response);
                    tokio::select! {
                        end = stream.relay(&mut app, ways) => {
                            end.map_err(|reason| authority.explains(reason))
                        }
                        reason = authority.ended() => Err(reason),
                    }
                }
                // In a box: two sessions to relay between take more than a stream.
                Way::Own(own) => Box::pin(alone(*own, &mut app, &flow.progress)).await,
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
        self: &Arc<Self>,
        app: TcpStream,
        from: &SocketAddr,
        destination: &Arc<Destination>,
        protocol: Protocol,
    ) {
        let drain = self.drain.watch();
        // In a box: hyper moves what it is given several times.
        let calls =
            |request| Box::pin(self.clone().request(destination.clone(), protocol, *from, request));
        let spoken = tokio::select! {
            spoken = web::spoken(app, protocol) => spoken,
            () = drain.stopping() => return,
        };
        match spoken {
            Ok((Version::Http1, app)) => web::serve_app(app, &self.drain, calls).await,
            Ok((Version::Http2, app)) => {
                Box::pin(web::serve(app, Version::Http2, (&self.drain, None), calls)).await;
            }
            Err(_) => {}
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
    use std::{net::SocketAddr, sync::Arc};

    use tokio::net::TcpStream;

    use crate::{
        Identity, Proxy,
        hot_path::{Arrival, Inbound},
        reproof::Renewal,
        route::{Destination, Route},
    };

    /// The memory of one call of it.
    fn of<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    type Destined = (&'static SocketAddr, &'static Arc<Destination>);

    #[test]
    fn a_connection_at_rest_takes_little_memory() {
        assert!(of(Proxy::outbound) <= 256, "{}", of(Proxy::outbound));
        assert!(of(Proxy::inbound) <= 512, "{}", of(Proxy::inbound));
        // Boxes beside it, one of them on each side.
        let pass = |proxy: &'static Arc<Proxy>, app, (from, to): Destined, protocol| {
            proxy.pass(app, from, to, protocol)
        };
        assert!(of(pass) <= 896, "{}", of(pass));
        type App = (TcpStream, SocketAddr);
        let send = |proxy: &'static Proxy, (app, from): App, to: &'static Destination, route| {
            let route: &'static Route = route;
            proxy.send(app, from, to, route)
        };
        assert!(of(send) <= 768, "{}", of(send));
        let receive = |proxy: &'static Proxy, session: Inbound, us: &'static Identity, at| {
            let at: Arrival = at;
            proxy.receive(session, us, at)
        };
        assert!(of(receive) <= 2752, "{}", of(receive));
        assert!(size_of::<Renewal>() <= 272, "{}", size_of::<Renewal>());
    }
}
