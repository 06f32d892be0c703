//! A sidecar's end of the distribution stream, over real mutual TLS.

use std::{collections::BTreeMap, net::SocketAddr};

use cellwall_api::distribution::{
    Ack, ControlMessage, Endpoints, FlowBatch, Hello, Nack, ProxyMessage, Serving, SignedSnapshot,
    control_message, distribution_client::DistributionClient, proxy_message::Message,
};
use cellwall_mtls::{Alpn, DenyList, MaterialInput, TlsMaterial, connect};
use cellwall_policy::{PolicyKey, Snapshot};
use rustls_pki_types::{PrivatePkcs8KeyDer, UnixTime};
use spiffe::{SpiffeId, TrustDomain};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use crate::{
    daemon::{DEADLINE, TRUST_DOMAIN},
    svid::Svid,
    workload::channel,
};

pub(crate) struct Sidecar {
    client: DistributionClient<Channel>,
    outgoing: mpsc::Sender<ProxyMessage>,
    incoming: Streaming<ControlMessage>,
}

/// What a sidecar is called here and whom it calls.
pub(crate) fn hello(instance: &str, destinations: &[&str]) -> Message {
    Message::Hello(Hello {
        version: "0.0.1".into(),
        instance: instance.into(),
        destinations: destinations.iter().map(ToString::to_string).collect(),
    })
}

fn material(svid: &Svid) -> TlsMaterial {
    let trust_domain = TrustDomain::new(TRUST_DOMAIN).unwrap();
    TlsMaterial::build(MaterialInput {
        chain: vec![svid.leaf.clone()],
        key: PrivatePkcs8KeyDer::from(svid.key.clone()).into(),
        bundles: BTreeMap::from([(trust_domain, vec![svid.anchor.clone()])]),
        deny: DenyList::default(),
        generation: 1,
        now: UnixTime::now(),
    })
    .unwrap()
}

impl Sidecar {
    /// Connects, insisting on the control plane's identity, and says something first.
    pub(crate) async fn attach(
        mesh: SocketAddr,
        svid: &Svid,
        first: Message,
    ) -> Result<Self, Status> {
        // On the heap: the futures of handshakes are large.
        Box::pin(Self::try_attach(mesh, svid, first)).await
    }

    async fn try_attach(mesh: SocketAddr, svid: &Svid, first: Message) -> Result<Self, Status> {
        let tcp = TcpStream::connect(mesh).await.unwrap();
        let control_plane = format!("spiffe://{TRUST_DOMAIN}/cellwall/control-plane");
        let expected = [SpiffeId::new(control_plane).unwrap()];
        let material = material(svid);
        let session = connect(&material, tcp, &expected, &[Alpn::H2], DEADLINE).await;
        let session = session.expect("handshake");
        let channel = channel(session.stream).await.expect("http/2");
        Self::over(DistributionClient::new(channel), first).await
    }

    /// Opens another stream on the same connection.
    pub(crate) async fn again(&self, first: Message) -> Result<Self, Status> {
        Self::over(self.client.clone(), first).await
    }

    async fn over(mut client: DistributionClient<Channel>, first: Message) -> Result<Self, Status> {
        let (outgoing, messages) = mpsc::channel(8);
        outgoing.send(ProxyMessage { message: Some(first) }).await.unwrap();
        let incoming = client.attach(ReceiverStream::new(messages)).await?.into_inner();
        Ok(Self { client, outgoing, incoming })
    }

    /// Reports decisions on the same connection: the number that is acknowledged.
    pub(crate) async fn report(&self, batch: FlowBatch) -> Result<u64, Status> {
        report(self.clone_client(), batch).await
    }

    /// The same connection, for others.
    pub(crate) fn clone_client(&self) -> DistributionClient<Channel> {
        self.client.clone()
    }

    pub(crate) async fn say(&self, message: Message) {
        self.outgoing.send(ProxyMessage { message: Some(message) }).await.unwrap();
    }

    pub(crate) async fn serve(&self, addresses: &[&str]) {
        let addresses = addresses.iter().map(ToString::to_string).collect();
        self.say(Message::Serving(Serving { addresses, streams: false })).await;
    }

    /// The same of a sidecar that takes TCP connections as streams there.
    pub(crate) async fn serve_streams(&self, addresses: &[&str]) {
        let addresses = addresses.iter().map(ToString::to_string).collect();
        self.say(Message::Serving(Serving { addresses, streams: true })).await;
    }

    pub(crate) async fn ack(&self, version: u64, hash: [u8; 32]) {
        self.say(Message::Ack(Ack { version, hash: hash.to_vec() })).await;
    }

    pub(crate) async fn nack(&self, version: u64, hash: [u8; 32], reason: &str) {
        let reason = reason.to_owned();
        self.say(Message::Nack(Nack { version, hash: hash.to_vec(), reason })).await;
    }

    /// The next message, which must come.
    pub(crate) async fn next(&mut self) -> Result<control_message::Message, Status> {
        let message = tokio::time::timeout(DEADLINE, self.incoming.message()).await;
        let message = message.expect("no message in time")?;
        let message = message.ok_or_else(|| Status::ok("the stream has ended"))?;
        Ok(message.message.unwrap())
    }

    /// The next message, a snapshot.
    pub(crate) async fn snapshot(&mut self) -> SignedSnapshot {
        match self.next().await.unwrap() {
            control_message::Message::Snapshot(snapshot) => snapshot,
            other => panic!("{other:?}"),
        }
    }

    /// The next message, addresses: the destination and where it is served.
    pub(crate) async fn endpoints(&mut self) -> (String, Vec<String>) {
        match self.next().await.unwrap() {
            control_message::Message::Endpoints(Endpoints { destination, addresses, .. }) => {
                (destination, addresses)
            }
            other => panic!("{other:?}"),
        }
    }

    /// The next message, addresses: where it is served, and where TCP connections are taken as streams.
    pub(crate) async fn places(&mut self) -> (Vec<String>, Vec<String>) {
        match self.next().await.unwrap() {
            control_message::Message::Endpoints(told) => (told.addresses, told.streams),
            other => panic!("{other:?}"),
        }
    }

    /// Why the stream ends, after whatever else was still to come.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.next().await {
                return status;
            }
        }
    }
}

/// Reports decisions: the number that is acknowledged.
pub(crate) async fn report(
    mut client: DistributionClient<Channel>,
    batch: FlowBatch,
) -> Result<u64, Status> {
    client.report(batch).await.map(|receipt| receipt.get_ref().sequence)
}

/// Opens a snapshot as a proxy does, and tells what an ack of it names.
pub(crate) fn open(
    key_file: &std::path::Path,
    sent: SignedSnapshot,
    callee: &str,
) -> (Snapshot, [u8; 32]) {
    let key = PolicyKey::from_pem(&std::fs::read(key_file).unwrap()).unwrap();
    let signed =
        cellwall_policy::SignedSnapshot { payload: sent.payload, signature: sent.signature };
    let callee = SpiffeId::new(callee).unwrap();
    (key.open(&signed, &callee).unwrap(), signed.hash())
}
