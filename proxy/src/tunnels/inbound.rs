//! TCP connections that come to us as streams of one session: each is a call, like one that has a session
//! of its own.

use std::{pin::pin, sync::Arc};

use cellwall_mtls::Session;
use cellwall_policy::Protocol;
use http::StatusCode;

use super::{Asked, Target, serve, stream::Stream};
use crate::{
    CloseReason, Identity, Proxy,
    authority::{Authority, Needs},
    authz::tls,
    flow::{Direction, Flow, Kind},
    hot_path::{Arrival, Caller, Inbound},
    metrics,
    relay::Plain,
};

impl Proxy {
    /// A session of many TCP connections, which ends with its listener.
    pub(crate) async fn share(
        self: Arc<Self>,
        Session { stream, peer, binding, group, .. }: Inbound,
        identity: &Identity,
        arrival: Arrival,
    ) {
        let Ok(reached) = stream.get_ref().0.get_ref().local_addr() else { return };
        let advertised = arrival.served.advertised;
        let target = Target { reached, advertised, declared: arrival.declared.port() };
        let connection = Authority::of_connection(&self.identities, identity, &peer, tls(group));
        let authority = connection.needing(&self.authz, Needs::Listener(arrival.declared));
        let _named = self.register.enter(binding, &authority);
        let caller = Arc::new((Caller { peer, authority: authority.clone(), arrival }, target));
        let streams = |asked| self.clone().stream(caller.clone(), Box::new(asked));
        Box::pin(serve(stream, (&self.drain, &authority), streams)).await;
    }

    /// One of them. Policy is asked anew for each.
    async fn stream(self: Arc<Self>, caller: Arc<(Caller, Target)>, asked: Box<Asked>) {
        let (Caller { peer, arrival, .. }, _) = &*caller;
        let Ok(_place) = arrival.served.streams.try_acquire() else { return asked.leave() };
        let _open = metrics::Open::count(Direction::Inbound);
        let mut flow = self.flows.open(Kind::Connection, Direction::Inbound, arrival.from);
        flow.record.protocol = Some(Protocol::Tcp);
        flow.identify_caller(peer, self.authz.snapshot().as_deref());
        let close = self.joined(&caller, asked, &mut flow).await;
        flow.close(close.err().unwrap_or(CloseReason::Done));
    }

    async fn joined(
        &self,
        caller: &(Caller, Target),
        asked: Box<Asked>,
        flow: &mut Flow,
    ) -> Result<(), CloseReason> {
        // In a box: to begin takes more than all that comes after it.
        let Begun { mut stream, mut workload, authority } =
            Box::pin(self.begun(caller, asked, flow)).await?;
        let ways = (&flow.progress.response, &flow.progress.request);
        let relayed = pin!(stream.relay(&mut workload, ways));
        self.lasts(&authority, relayed).await
    }

    async fn begun(
        &self,
        (Caller { peer, authority, arrival }, target): &(Caller, Target),
        mut asked: Box<Asked>,
        flow: &mut Flow,
    ) -> Result<Begun, CloseReason> {
        let at = arrival.declared;
        if !target.is_asked_for_by(&asked.request) {
            asked.refuse(StatusCode::BAD_REQUEST, None);
            return Err(CloseReason::RequestAmbiguous);
        }
        let permit = match self.permit(at, (peer, authority.tls()), flow) {
            Ok(permit) => permit,
            Err(denied) => {
                asked.refuse(StatusCode::FORBIDDEN, Some(denied.id));
                return Err(denied.reason);
            }
        };
        let place = asked.permitted().ok_or(CloseReason::Cancelled)?;
        let authority = authority.needing(&self.authz, Needs::Tcp(at));
        let connected = tokio::select! {
            biased; // a flood of streams that are reset at once is none of connections to the workload
            () = asked.reset() => return Err(CloseReason::Cancelled),
            connected = arrival.served.workload.connect(&permit) => connected,
        };
        let workload = match connected {
            Ok(workload) => workload,
            Err(reason) => {
                asked.refuse(StatusCode::SERVICE_UNAVAILABLE, None);
                return Err(reason);
            }
        };
        let stream = asked.take(place).map_err(|_| CloseReason::Cancelled)?;
        flow.leaves();
        Ok(Begun { stream, workload, authority })
    }
}

/// A stream that was taken, and the workload's connection that it goes on over.
struct Begun {
    stream: Stream,
    workload: Plain,
    authority: Authority,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Asked, Caller, Proxy, Target};

    /// The memory of one call of it.
    fn of<A, B, C, F: Future>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_stream_at_rest_takes_little_memory() {
        let stream = |proxy: Arc<Proxy>, caller: Arc<(Caller, Target)>, asked: Box<Asked>| {
            proxy.stream(caller, asked)
        };
        assert!(of(stream) <= 1024, "{}", of(stream));
    }
}
