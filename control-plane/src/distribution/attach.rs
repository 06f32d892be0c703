//! The two calls that sidecars make, and who may make them (CP-02).

use std::{sync::Arc, time::SystemTime};

use cellwall_agent::Calls;
use cellwall_api::distribution::{
    ControlMessage, FlowBatch, FlowReceipt, ProxyMessage,
    distribution_server::Distribution as Service,
};
use cellwall_mtls::Peer;
use cellwall_policy::PolicySigner;
use metrics::counter;
use rustls_pki_types::UnixTime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{Fleet, report::Reporter, stream::Stream};
use crate::{
    drain::Drain,
    ledger::{Ledger, LedgerError},
    policy_book::PolicyBook,
    store::Kept,
};

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
    /// Where what sidecars report goes.
    pub ledger: Ledger,
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
        let peer = authenticated(&request)?;
        let (workload, environment) = self.identify(&peer)?;
        let (sender, receiver) = mpsc::channel(OUTGOING);
        let call = request.extensions().get::<Calls>().map(Calls::open);
        let stream = Stream { shared: self.clone(), peer, outgoing: sender, call };
        let incoming = request.into_inner();
        self.drain.spawn(stream.run(incoming, workload, environment, SystemTime::now()));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn report(&self, request: Request<FlowBatch>) -> Result<Response<FlowReceipt>, Status> {
        let peer = authenticated(&request)?;
        let _open = request.extensions().get::<Calls>().map(Calls::open);
        let result = self.keep(&peer, request.into_inner()).await;
        let label = match &result {
            Ok((_, Kept::New)) => "kept",
            Ok((_, Kept::Known)) => "known",
            Err(status) if status.code() == Code::InvalidArgument => "malformed",
            Err(status) if status.code() == Code::PermissionDenied => "forbidden",
            Err(_) => "busy",
        };
        counter!("cellwall_ledger_batches_total", "result" => label).increment(1);
        if let Err(status) = &result {
            tracing::debug!(id = %peer.id(), reason = status.message(), "flow batch not kept");
        }
        result.map(|(sequence, _)| Response::new(FlowReceipt { sequence }))
    }
}

/// Who calls: the peer of the connection, for as long as its SVID goes on (ROT-05).
fn authenticated<T>(request: &Request<T>) -> Result<Peer, Status> {
    let peer = request.extensions().get::<Peer>().cloned();
    let peer = peer.ok_or_else(|| Status::unauthenticated("no svid"))?;
    if peer.authority_end().as_secs() <= UnixTime::now().as_secs() {
        return Err(svid_ended());
    }
    Ok(peer)
}

impl Distribution {
    /// Keeps what a sidecar decided, and nothing that it says of others.
    async fn keep(&self, peer: &Peer, batch: FlowBatch) -> Result<(u64, Kept), Status> {
        let (workload, environment) = self.identify(peer)?;
        let (id, sequence) = (peer.id().to_string(), batch.sequence);
        let reporter = Reporter { id, workload, environment, now: SystemTime::now() };
        let report = reporter.read(batch)?;
        match self.ledger.keep(report).await {
            Ok(kept) => Ok((sequence, kept)),
            Err(error @ LedgerError::Busy) => Err(Status::resource_exhausted(error.to_string())),
            Err(error @ LedgerError::Unwritten) => Err(Status::unavailable(error.to_string())),
        }
    }

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
