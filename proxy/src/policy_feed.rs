//! The stream to the control plane: policy comes down, acks and our address go up.
//!
//! The next stream is opened before the last one is given up when our SVID was renewed, so that
//! the control plane never stops knowing where our workload is served.

use std::{future::Future, io, pin::Pin, sync::Arc, time::Duration};

use cellwall_api::distribution::{
    Ack, ControlMessage, Endpoints, Hello, Nack, ProxyMessage, Serving,
    SignedSnapshot as WireSnapshot, control_message, distribution_client::DistributionClient,
    proxy_message,
};
use cellwall_mtls::Alpn;
use cellwall_policy::{OpenError, PolicyKey, PolicyVersion, SignedSnapshot, Snapshot};
use hyper_util::rt::TokioIo;
use metrics::{counter, gauge};
use rand::Rng as _;
use spiffe::SpiffeId;
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::{
    Directory, DrainWatch, Identities, Live,
    identity::{Identity, chain},
    listener::prepare,
    upstream::HANDSHAKE_DEADLINE,
};

/// The pause before the control plane is asked again: doubled up to the ceiling, with jitter, so
/// that a fleet does not come back all at once (ROT-11).
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long a new stream may take until its first message.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);

/// A stream is not replaced more often than this, however often our SVID is renewed.
const SHORTEST_STREAM: Duration = Duration::from_secs(1);

/// Messages of ours that wait to be sent. There are never more than acks to answer.
const QUEUE: usize = 16;

/// The longest reason of a nack, in bytes.
const MAX_REASON: usize = 512;

/// Follows the control plane. The only task that publishes policy.
#[derive(Debug)]
pub struct PolicyFeed {
    /// Where the control plane listens, `HOST:PORT`.
    pub control: String,
    /// Whose signature makes a policy.
    pub key: PolicyKey,
    /// Who we are.
    pub identities: Identities,
    /// What it publishes to.
    pub policy: Arc<Live<Snapshot>>,
    /// Where addresses go.
    pub directory: Arc<Directory>,
    /// What we say first.
    pub hello: Hello,
    /// Where our workload is served.
    pub serving: Vec<String>,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("connecting to the control plane")]
    Connect(#[source] tonic::transport::Error),
    #[error("the control plane refused or ended the stream")]
    Status(#[source] Box<tonic::Status>),
    #[error("the control plane closed the stream")]
    Closed,
    #[error("no message within {FIRST_MESSAGE:?}")]
    Silent,
}

/// Why a snapshot is not taken. The one before stays in force.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("version {offered} is older than {ours}, which is in force")]
    Older { offered: u64, ours: u64 },
    #[error("it is for us under another SPIFFE ID, or we have none")]
    NoIdentity,
}

impl Refused {
    /// The version of what is refused; 0 when it could not be read.
    fn version(&self) -> u64 {
        match self {
            Self::Older { offered, .. } => *offered,
            Self::Open(_) | Self::NoIdentity => 0,
        }
    }
}

/// One stream in progress.
struct Stream<'a> {
    run: Pin<Box<dyn Future<Output = Ended> + Send + 'a>>,
    ready: oneshot::Receiver<()>,
    opened: Instant,
    is_open: bool,
}

impl PolicyFeed {
    /// Keeps a stream open until `drain` stops it; then says that we serve no more.
    pub async fn follow(self, drain: DrainWatch) {
        tokio::select! {
            () = self.keep_open(&drain) => {}
            () = drain.cut() => {}
        }
    }

    async fn keep_open(&self, drain: &DrainWatch) {
        let mut rotated = self.identities.watch();
        let mut pause = FIRST_PAUSE;
        while self.identities.current().is_none() {
            rotated.changed().await;
        }
        let mut current = self.stream(drain);
        let mut retiring: Option<Stream<'_>> = None;
        loop {
            let renewed = async {
                tokio::time::sleep_until(current.opened + SHORTEST_STREAM).await;
                rotated.changed().await;
            };
            tokio::select! {
                () = renewed => {
                    let next = self.stream(drain);
                    // One that is not open yet is no loss; one that is stays until the next is.
                    let last = std::mem::replace(&mut current, next);
                    retiring = if last.is_open { Some(last) } else { retiring };
                }
                Ok(()) = &mut current.ready, if !current.is_open => {
                    gauge!("cellwall_control_connected").set(1.0);
                    tracing::debug!("control stream open");
                    current.is_open = true;
                    pause = FIRST_PAUSE;
                    retiring = None;
                }
                ended = &mut current.run => {
                    tracing::warn!(error = %chain(&ended), "control stream ended");
                    gauge!("cellwall_control_connected").set(0.0);
                    jittered(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    current = self.stream(drain);
                }
                () = ended(&mut retiring) => retiring = None,
            }
        }
    }

    fn stream<'a>(&'a self, drain: &'a DrainWatch) -> Stream<'a> {
        let (announce, ready) = oneshot::channel();
        let run = Box::pin(async move {
            match self.attach(announce, drain).await {
                Ok(never) => match never {},
                Err(ended) => ended,
            }
        });
        Stream { run, ready, opened: Instant::now(), is_open: false }
    }

    async fn attach(
        &self,
        announce: oneshot::Sender<()>,
        drain: &DrainWatch,
    ) -> Result<std::convert::Infallible, Ended> {
        let mut client = DistributionClient::new(self.channel().await.map_err(Ended::Connect)?);
        let (up, messages) = mpsc::channel(QUEUE);
        send(&up, proxy_message::Message::Hello(self.hello.clone())).await;
        send(&up, serving(&self.serving)).await;
        let status = |status| Ended::Status(Box::new(status));
        let attach = client.attach(ReceiverStream::new(messages));
        let mut down = attach.await.map_err(status)?.into_inner();
        let first = tokio::time::timeout(FIRST_MESSAGE, down.message()).await;
        let mut message = first.map_err(|_| Ended::Silent)?.map_err(status)?;
        let _ = announce.send(()); // nobody waits when the feed itself is gone
        let mut draining = false;
        loop {
            self.take(message.ok_or(Ended::Closed)?, &up).await;
            message = loop {
                tokio::select! {
                    message = down.message() => break message.map_err(status)?,
                    () = drain.stopping(), if !draining => {
                        draining = true;
                        send(&up, serving(&[])).await;
                    }
                }
            };
        }
    }

    async fn take(&self, message: ControlMessage, up: &mpsc::Sender<ProxyMessage>) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        gauge!("cellwall_control_last_contact_timestamp_seconds")
            .set(now.unwrap_or_default().as_secs_f64());
        match message.message {
            Some(control_message::Message::Snapshot(snapshot)) => {
                send(up, self.take_snapshot(snapshot)).await;
            }
            Some(control_message::Message::Endpoints(endpoints)) => {
                let Endpoints { destination, addresses } = endpoints;
                tracing::debug!(destination, ?addresses, "endpoints");
                self.directory.update(&destination, &addresses);
            }
            None => tracing::warn!("a message of a kind that this release does not know"),
        }
    }

    /// Verifies, publishes and acks a snapshot; or nacks it and keeps what is in force (POL-01).
    fn take_snapshot(&self, wire: WireSnapshot) -> proxy_message::Message {
        let signed = SignedSnapshot { payload: wire.payload, signature: wire.signature };
        let hash = signed.hash().to_vec();
        match self.open(&signed) {
            Ok(snapshot) => {
                let PolicyVersion(version) = snapshot.version();
                tracing::info!(version, "policy in force");
                counter!("cellwall_policy_updates_total", "result" => "ack").increment(1);
                gauge!("cellwall_policy_version").set(version as f64);
                self.policy.publish(snapshot);
                proxy_message::Message::Ack(Ack { version, hash })
            }
            Err(error) => {
                let mut reason = chain(&error);
                tracing::error!(reason, "policy refused");
                counter!("cellwall_policy_updates_total", "result" => "nack").increment(1);
                reason.truncate(reason.floor_char_boundary(MAX_REASON));
                proxy_message::Message::Nack(Nack { version: error.version(), hash, reason })
            }
        }
    }

    fn open(&self, signed: &SignedSnapshot) -> Result<Snapshot, Refused> {
        let identity = self.identities.current().ok_or(Refused::NoIdentity)?;
        let snapshot = self.key.open(signed, identity.material.id())?;
        let (offered, ours) = (snapshot.version().0, self.version());
        if offered < ours { Err(Refused::Older { offered, ours }) } else { Ok(snapshot) }
    }

    fn version(&self) -> u64 {
        self.policy.load().map_or(0, |snapshot| snapshot.version().0)
    }

    async fn channel(&self) -> Result<Channel, tonic::transport::Error> {
        let (control, identities) = (self.control.clone(), self.identities.clone());
        let connector = tower::service_fn(move |_| {
            let (control, identities) = (control.clone(), identities.clone());
            async move {
                let identity =
                    identities.current().ok_or_else(|| io::Error::other("we have no identity"))?;
                connect(&control, &identity).await
            }
        });
        Endpoint::from_static("http://control-plane")
            .connect_timeout(HANDSHAKE_DEADLINE)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true)
            .connect_with_connector(connector)
            .await
    }
}

/// Connects to the control plane, and to nobody else (CP-01).
async fn connect(
    control: &str,
    identity: &Identity,
) -> io::Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>> {
    let material = &identity.material;
    let expected = SpiffeId::from_segments(
        material.id().trust_domain().clone(),
        &["cellwall", "control-plane"],
    )
    .map_err(io::Error::other)?;
    let tcp = TcpStream::connect(control).await?;
    prepare(&tcp);
    let session =
        cellwall_mtls::connect(material, tcp, &[expected], &[Alpn::H2], HANDSHAKE_DEADLINE)
            .await
            .map_err(io::Error::other)?;
    Ok(TokioIo::new(session.stream))
}

async fn ended(stream: &mut Option<Stream<'_>>) {
    match stream {
        Some(stream) => drop((&mut stream.run).await),
        None => std::future::pending().await,
    }
}

async fn send(up: &mpsc::Sender<ProxyMessage>, message: proxy_message::Message) {
    // The stream is gone when this fails; its reader says so.
    let _ = up.send(ProxyMessage { message: Some(message) }).await;
}

fn serving(addresses: &[String]) -> proxy_message::Message {
    proxy_message::Message::Serving(Serving { addresses: addresses.to_vec() })
}

async fn jittered(pause: Duration) {
    let half = pause.as_millis() as u64 / 2;
    let jitter = rand::rng().next_u64() % (half + 1);
    tokio::time::sleep(Duration::from_millis(half + jitter)).await;
}
