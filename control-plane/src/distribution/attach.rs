//! The one call that sidecars make, and who may make it (CP-02).

use std::{sync::Arc, time::SystemTime};

use cellwall_agent::Calls;
use cellwall_api::distribution::{
    ControlMessage, ProxyMessage, distribution_server::Distribution as Service,
};
use cellwall_mtls::Peer;
use cellwall_policy::PolicySigner;
use rustls_pki_types::UnixTime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Fleet, stream::Stream};
use crate::{drain::Drain, policy_book::PolicyBook};

/// Messages that wait for a sidecar to read. Full: the stream waits, and ends if it waits long.
const OUTGOING: usize = 4;

/// What every stream shares.
#[derive(Clone, Debug)]
pub struct Distribution {
    /// The policy in force.
    pub book: Arc<PolicyBook>,
    /// Signs what each sidecar gets.
    pub signer: Arc<PolicySigner>,
    /// Who is connected.
    pub fleet: Fleet,
    /// Runs the streams.
    pub drain: Drain,
}

#[tonic::async_trait]
impl Service for Distribution {
    type AttachStream = ReceiverStream<Result<ControlMessage, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<ProxyMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let peer = peer.ok_or_else(|| Status::unauthenticated("no svid"))?;
        if peer.authority_end().as_secs() <= UnixTime::now().as_secs() {
            return Err(svid_ended());
        }
        let (workload, environment) = self.identify(&peer)?;
        let (sender, receiver) = mpsc::channel(OUTGOING);
        let call = request.extensions().get::<Calls>().map(Calls::open);
        let stream = Stream { shared: self.clone(), peer, outgoing: sender, call };
        let incoming = request.into_inner();
        self.drain.spawn(stream.run(incoming, workload, environment, SystemTime::now()));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

impl Distribution {
    /// The names of the workload that a peer is. Whoever is no workload of the policy in force
    /// gets nothing (CP-03): not a stranger's SVID, not cellwalld's own.
    pub(super) fn identify(&self, peer: &Peer) -> Result<(String, String), Status> {
        let edition = self.book.edition();
        let names = edition.policy.as_ref().and_then(|policy| policy.set.identify(peer.id()));
        match names {
            Some((workload, environment)) => Ok((workload.to_owned(), environment)),
            None => Err(Status::permission_denied("not a workload of the policy in force")),
        }
    }
}

pub(super) fn svid_ended() -> Status {
    Status::unauthenticated("the svid of this connection has ended, connect with the new one")
}
