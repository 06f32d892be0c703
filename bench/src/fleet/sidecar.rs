//! A sidecar that is simulated: its connection to the control plane, and nothing behind it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use cellwall_api::distribution::{
    Ack, Hello, ProxyMessage, Serving, SignedSnapshot, control_message,
    distribution_client::DistributionClient, proxy_message::Message,
};
use cellwall_mtls::{Alpn, TlsMaterial, connect};
use cellwall_policy::PolicyKey;
use serde::Deserialize;
use spiffe::SpiffeId;
use tokio::{net::TcpStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::{agent::channel, board::Board};

/// How long a handshake may take: as long as a real one's.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The pause before the second attempt; it doubles, up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What it says and has not been read. Full: the sidecar waits.
const OUTGOING: usize = 4;

/// What one has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The version that it was told last.
    pub(super) version: u64,
    /// When it was told.
    pub(super) told: Option<Instant>,
    /// Attempts to connect that failed, or were cut.
    pub(super) failed: u64,
    /// Why the last one did.
    pub(super) why: String,
    /// When it was turned away for good.
    pub(super) refused: Option<Instant>,
}

impl Seen {
    /// What is said of one that is waited for.
    pub(super) fn told(&self) -> String {
        format!("version {}, {} attempts failed: {}", self.version, self.failed, self.why)
    }
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Sidecar {
    pub(super) seat: usize,
    pub(super) board: Board<Seen>,
    pub(super) material: Arc<TlsMaterial>,
    pub(super) control: SocketAddr,
    /// Who must answer there.
    pub(super) expected: SpiffeId,
    pub(super) destinations: Vec<String>,
    /// Opens the first snapshot as a real one does. The others count on it, so that the load is not
    /// what is measured; what they acknowledge is the hash of what came.
    pub(super) opens: Option<Arc<PolicyKey>>,
}

/// The one field of a snapshot that an ack needs.
#[derive(Deserialize)]
struct Header {
    version: u64,
}

impl Sidecar {
    /// Stays connected until it is turned away.
    pub(super) async fn live(self) {
        let mut pause = PAUSE;
        loop {
            let Err(status) = Box::pin(self.attach()).await else { return };
            let now = Instant::now();
            let is_refused = status.code() == Code::PermissionDenied;
            self.board.note(self.seat, |seen| {
                seen.why = format!("{:?}: {}", status.code(), status.message());
                if is_refused {
                    seen.refused = Some(now);
                } else {
                    seen.failed += 1;
                }
            });
            if is_refused {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attach(&self) -> Result<(), Status> {
        let unavailable = |error: &dyn std::error::Error| Status::unavailable(error.to_string());
        let tcp = TcpStream::connect(self.control).await.map_err(|error| unavailable(&error))?;
        tcp.set_nodelay(true).map_err(|error| unavailable(&error))?;
        let expected = std::slice::from_ref(&self.expected);
        let session = connect(&self.material, tcp, expected, &[Alpn::H2], HANDSHAKE).await;
        let session = session.map_err(|error| unavailable(&error))?;
        let channel = channel(session.stream).await.map_err(|error| unavailable(&error))?;
        let (outgoing, messages) = mpsc::channel(OUTGOING);
        say(&outgoing, Message::Hello(self.hello())).await?;
        let mut client = DistributionClient::new(channel);
        let mut incoming = client.attach(ReceiverStream::new(messages)).await?.into_inner();
        say(&outgoing, Message::Serving(self.serving())).await?;
        while let Some(message) = incoming.message().await? {
            if let Some(control_message::Message::Snapshot(snapshot)) = message.message {
                let ack = self.take(snapshot)?;
                let version = ack.version;
                say(&outgoing, Message::Ack(ack)).await?;
                let now = Instant::now();
                self.board.note(self.seat, |seen| {
                    seen.version = version;
                    seen.told = Some(now);
                });
            }
        }
        Err(Status::unavailable("the stream has ended"))
    }

    fn hello(&self) -> Hello {
        Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: format!("fleet-{}", self.seat),
            destinations: self.destinations.clone(),
        }
    }

    /// An address of its own, at which nobody listens: nobody calls it.
    fn serving(&self) -> Serving {
        let [_, _, high, low] = u32::try_from(self.seat).unwrap_or_default().to_be_bytes();
        Serving { addresses: vec![format!("127.1.{high}.{low}:8443")], streams: true }
    }

    fn take(&self, sent: SignedSnapshot) -> Result<Ack, Status> {
        let signed =
            cellwall_policy::SignedSnapshot { payload: sent.payload, signature: sent.signature };
        let wrong = |why: String| Status::data_loss(format!("snapshot: {why}"));
        if let Some(key) = &self.opens {
            let opened = key.open(&signed, self.material.id());
            drop(opened.map_err(|error| wrong(error.to_string()))?);
        }
        let header = serde_json::from_slice::<Header>(&signed.payload);
        let Header { version } = header.map_err(|error| wrong(error.to_string()))?;
        Ok(Ack { version, hash: signed.hash().to_vec() })
    }
}

async fn say(outgoing: &mpsc::Sender<ProxyMessage>, message: Message) -> Result<(), Status> {
    let sent = outgoing.send(ProxyMessage { message: Some(message) }).await;
    sent.map_err(|_| Status::unavailable("the stream has ended"))
}
