//! The stream to the control plane: policy comes down, acks and our address go up.
//!
//! The next stream is opened before the last one is given up when our SVID was renewed, so that
//! the control plane never stops knowing where our workload is served.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use cellwall_api::distribution::{
    ControlMessage, Endpoints, Hello, ProxyMessage, Serving, control_message,
    distribution_client::DistributionClient, proxy_message,
};
use metrics::gauge;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use crate::{
    Directory, DrainWatch, Identities, Live, PolicyIntake, TcpSessions, Watch, control,
    identity::chain, pauses::Pauses,
};

/// How long a new stream may take from the first packet until its first message.
const OPENING: Duration = Duration::from_secs(6);

/// How long the last message may take: that we serve no more.
const FAREWELL: Duration = Duration::from_millis(500);

/// How long a message of ours may wait until the control plane has read those before it.
const SENDING: Duration = Duration::from_secs(5);

/// A stream is not replaced more often than this, however often our SVID is renewed.
const SHORTEST_STREAM: Duration = Duration::from_secs(1);

/// Messages of ours that wait to be sent. There are never more than acks to answer.
const QUEUE: usize = 16;

/// Follows the control plane.
#[derive(Debug)]
pub struct PolicyFeed {
    /// Where the control plane listens, `HOST:PORT`.
    pub control: String,
    /// Who we are.
    pub identities: Identities,
    /// Where policy goes.
    pub intake: PolicyIntake,
    /// Where addresses go.
    pub directory: Arc<Directory>,
    /// What we say first.
    pub hello: Hello,
    /// Where our workload is served.
    pub addresses: Vec<String>,
    /// How we take TCP connections there.
    pub tcp_sessions: TcpSessions,
    /// The connection of the newest stream, for the flow feed.
    pub link: Arc<Live<Channel>>,
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
    #[error("no message within {OPENING:?}")]
    Silent,
    #[error("the control plane reads nothing")]
    Deaf,
    #[error("we have said that we stop")]
    Left,
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
        let late = async {
            drain.cut().await;
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            () = self.keep_open(&drain) => {}
            () = late => {}
        }
    }

    async fn keep_open(&self, drain: &DrainWatch) {
        let mut rotated = self.identities.watch();
        let mut pauses = Pauses::default();
        let us = loop {
            match self.identities.current() {
                Some(identity) => break identity.material.id().clone(),
                None => rotated.changed().await,
            }
        };
        self.intake.restore(&us, &self.directory).await;
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
                    retiring = Some(last).filter(|last| last.is_open).or(retiring);
                }
                Ok(()) = &mut current.ready, if !current.is_open => {
                    gauge!("cellwall_control_connected").set(1.0);
                    tracing::debug!("control stream open");
                    current.is_open = true;
                    pauses = Pauses::scattered();
                    retiring = None;
                }
                ended = &mut current.run => {
                    if matches!(ended, Ended::Left) {
                        return;
                    }
                    tracing::warn!(error = %chain(&ended), "control stream ended");
                    gauge!("cellwall_control_connected").set(0.0);
                    self.intake.disconnected();
                    rest(&mut pauses, &mut rotated).await;
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

    fn serving(&self, addresses: &[String]) -> proxy_message::Message {
        let streams = self.tcp_sessions == TcpSessions::Shared;
        proxy_message::Message::Serving(Serving { addresses: addresses.to_vec(), streams })
    }

    async fn attach(
        &self,
        announce: oneshot::Sender<()>,
        drain: &DrainWatch,
    ) -> Result<std::convert::Infallible, Ended> {
        let (up, messages) = mpsc::channel(QUEUE);
        send(&up, proxy_message::Message::Hello(self.hello.clone())).await?;
        send(&up, self.serving(&self.addresses)).await?;
        let opening = tokio::time::timeout(OPENING, self.open(messages)).await;
        let (channel, mut down, mut message) = opening.map_err(|_| Ended::Silent)??;
        let _ = announce.send(()); // nobody waits when the feed itself is gone
        self.link.publish(channel);
        let mut draining = false;
        loop {
            self.take(message.ok_or(Ended::Closed)?, &up).await?;
            message = loop {
                tokio::select! {
                    message = down.message() => break message.map_err(status)?,
                    () = drain.stopping(), if !draining => {
                        draining = true;
                        send(&up, self.serving(&[])).await?;
                    }
                    () = drain.cut(), if draining => {
                        drop(up); // the end of our side: it comes after all that we said
                        while let Ok(Some(_)) = down.message().await {}
                        return Err(Ended::Left);
                    }
                }
            };
        }
    }

    /// Connects, says `messages`, and waits for the first answer. None of it has a deadline of its
    /// own that covers it all.
    async fn open(
        &self,
        messages: mpsc::Receiver<ProxyMessage>,
    ) -> Result<(Channel, Streaming<ControlMessage>, Option<ControlMessage>), Ended> {
        let channel = control::channel(&self.control, &self.identities).await;
        let channel = channel.map_err(Ended::Connect)?;
        let mut client = DistributionClient::new(channel.clone());
        let attached = client.attach(ReceiverStream::new(messages)).await;
        let mut down = attached.map_err(status)?.into_inner();
        let first = down.message().await.map_err(status)?;
        Ok((channel, down, first))
    }

    async fn take(
        &self,
        message: ControlMessage,
        up: &mpsc::Sender<ProxyMessage>,
    ) -> Result<(), Ended> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        gauge!("cellwall_control_last_contact_timestamp_seconds")
            .set(now.unwrap_or_default().as_secs_f64());
        match message.message {
            Some(control_message::Message::Snapshot(snapshot)) => {
                send(up, self.intake.take(snapshot).await).await?;
            }
            Some(control_message::Message::Endpoints(endpoints)) => {
                let Endpoints { destination, addresses, streams } = endpoints;
                tracing::debug!(destination, ?addresses, ?streams, "endpoints");
                self.directory.update(&destination, &addresses, &streams);
                self.intake.keep_addresses(&self.directory).await;
            }
            None => tracing::warn!("a message of a kind that this release does not know"),
        }
        Ok(())
    }
}

async fn ended(stream: &mut Option<Stream<'_>>) {
    match stream {
        Some(stream) => drop((&mut stream.run).await),
        None => std::future::pending().await,
    }
}

/// Queues a message. A control plane that reads nothing must not keep us from what it sends.
async fn send(
    up: &mpsc::Sender<ProxyMessage>,
    message: proxy_message::Message,
) -> Result<(), Ended> {
    let sending = up.send(ProxyMessage { message: Some(message) });
    match tokio::time::timeout(SENDING, sending).await {
        // The stream is gone when the queue is; its reader says so.
        Ok(_) => Ok(()),
        Err(_) => Err(Ended::Deaf),
    }
}

fn status(status: tonic::Status) -> Ended {
    Ended::Status(Box::new(status))
}

/// Waits before the next attempt. An SVID that is new gives it new hope, and to others too.
async fn rest(pauses: &mut Pauses, rotated: &mut Watch) {
    tokio::select! {
        () = tokio::time::sleep(pauses.next()) => {}
        () = rotated.changed() => {
            *pauses = Pauses::scattered();
            tokio::time::sleep(pauses.next()).await;
        }
    }
}
