//! One sidecar's stream: it says hello, and is told all that concerns it whenever that changes.

use std::{
    collections::BTreeMap,
    error::Error,
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use cellwall_agent::OpenCall;
use cellwall_api::distribution::{
    ControlMessage, Endpoints, ProxyMessage, SignedSnapshot, control_message,
    proxy_message::Message,
};
use cellwall_mtls::Peer;
use rustls_pki_types::UnixTime;
use spiffe::SpiffeId;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{
    Distribution, ProxyRow,
    attach::svid_ended,
    fleet::Enlisted,
    hello::{self, Answered, Introduction},
};
use crate::{policy_book::Edition, report::chain};

/// From the start of a stream to its hello.
const HELLO: Duration = Duration::from_secs(5);
/// A sidecar that does not read for so long is gone.
const SEND: Duration = Duration::from_secs(10);
/// The wall clock is looked at this often, whatever the timer says (ROT-08).
const CLOCK_CHECK: Duration = Duration::from_secs(30);
/// Messages of one sidecar in one [`WINDOW`]; one that says more is out of order.
const MESSAGES: u32 = 256;
const WINDOW: Duration = Duration::from_secs(10);

type Outgoing = mpsc::Sender<Result<ControlMessage, Status>>;

/// One stream before its hello.
pub(super) struct Stream {
    pub(super) shared: Distribution,
    pub(super) peer: Peer,
    pub(super) outgoing: Outgoing,
    /// Keeps the connection from being idle.
    pub(super) call: Option<OpenCall>,
}

/// One stream after it.
struct Attached {
    shared: Distribution,
    peer: Peer,
    outgoing: Outgoing,
    place: Enlisted,
    destinations: Vec<String>,
    /// Who must answer at each destination that the policy knows.
    identities: BTreeMap<String, SpiffeId>,
    /// What the sidecar was told last.
    told: BTreeMap<String, BTreeMap<SocketAddr, bool>>,
    budget: Budget,
}

/// Counts messages in a window.
struct Budget {
    since: Instant,
    messages: u32,
}

impl Stream {
    /// Serves the stream to its end, and tells the sidecar why it ends.
    pub(super) async fn run(
        mut self,
        mut incoming: Streaming<ProxyMessage>,
        workload: String,
        environment: String,
        connected_at: SystemTime,
    ) {
        let outgoing = self.outgoing.clone();
        let id = self.peer.id().clone();
        let _open = self.call.take();
        let introduction = match introduction(&mut incoming).await {
            Ok(introduction) => introduction,
            Err(status) => return end(&outgoing, &id, status).await,
        };
        let row = ProxyRow {
            peer: self.peer.clone(),
            workload,
            environment,
            introduction: introduction.clone(),
            connected_at,
            sent: None,
            enforces: None,
            acked_at: None,
            refused: None,
            addresses: Vec::new(),
        };
        let Some(place) = self.shared.fleet.enlist(row) else {
            let status = Status::resource_exhausted("too many sidecars of one workload");
            return end(&outgoing, &id, status).await;
        };
        tracing::info!(%id, instance = introduction.instance, "sidecar attached");
        let status = self.attached(place, introduction).serve(incoming).await;
        end(&outgoing, &id, status).await;
    }

    fn attached(self, place: Enlisted, introduction: Introduction) -> Attached {
        Attached {
            shared: self.shared,
            peer: self.peer,
            outgoing: self.outgoing,
            place,
            destinations: introduction.destinations,
            identities: BTreeMap::new(),
            told: BTreeMap::new(),
            budget: Budget { since: Instant::now(), messages: 0 },
        }
    }
}

async fn introduction(incoming: &mut Streaming<ProxyMessage>) -> Result<Introduction, Status> {
    match tokio::time::timeout(HELLO, incoming.message()).await {
        Ok(Ok(Some(ProxyMessage { message: Some(Message::Hello(hello)) }))) => {
            hello::introduction(hello)
        }
        Ok(Ok(_)) => Err(Status::invalid_argument("the first message is a hello")),
        Ok(Err(status)) => Err(status),
        Err(_) => Err(Status::deadline_exceeded("no hello")),
    }
}

/// The last message of a stream. Whoever does not read it will see the stream end all the same.
async fn end(outgoing: &Outgoing, id: &SpiffeId, status: Status) {
    tracing::info!(%id, code = ?status.code(), reason = status.message(), "sidecar detached");
    let _ = tokio::time::timeout(SEND, outgoing.send(Err(status))).await;
}

impl Attached {
    async fn serve(mut self, mut incoming: Streaming<ProxyMessage>) -> Status {
        let mut editions = self.shared.book.editions();
        let mut moved = self.shared.fleet.moved();
        let stop = self.shared.drain.stop().clone();
        editions.mark_changed();
        loop {
            // `message` may be dropped half-way: tonic keeps what it has read.
            let step = tokio::select! {
                message = incoming.message() => self.heard(message),
                changed = editions.changed() => match changed {
                    Ok(()) => {
                        moved.mark_unchanged();
                        let edition = editions.borrow_and_update().clone();
                        self.tell_policy(&edition).await
                    }
                    Err(_) => Err(stopping()),
                },
                _ = moved.changed() => self.tell_addresses().await,
                () = tokio::time::sleep(self.life_left()) => self.check_life(),
                () = stop.cancelled() => Err(stopping()),
            };
            if let Err(status) = step {
                return status;
            }
        }
    }

    fn heard(&mut self, message: Result<Option<ProxyMessage>, Status>) -> Result<(), Status> {
        self.budget.take()?;
        let Some(message) = message? else { return Err(Status::ok("detached")) };
        match message.message {
            Some(Message::Serving(serving)) => self.place.serves(hello::addresses(&serving)?),
            Some(Message::Ack(ack)) => self.place.acked(hello::ack(&ack)?, SystemTime::now()),
            Some(Message::Nack(nack)) => {
                let (about, reason) = hello::nack(nack)?;
                tracing::warn!(
                    id = %self.peer.id(), version = about.version, reason, "policy refused by a sidecar"
                );
                self.place.nacked(about, reason);
            }
            Some(Message::Hello(_)) | None => {
                return Err(Status::invalid_argument("one hello, then serving, ack or nack"));
            }
        }
        Ok(())
    }

    /// Compiles, signs and sends what this callee enforces: all of it, and nothing of others
    /// (POL-04).
    async fn tell_policy(&mut self, edition: &Edition) -> Result<(), Status> {
        self.shared.identify(&self.peer)?;
        let (Some(policy), Some(publication)) = (&edition.policy, edition.publication()) else {
            return Ok(());
        };
        let issued_at = SystemTime::now();
        let compiled =
            policy.set.compile(self.peer.id(), &self.destinations, &publication, issued_at);
        let document = compiled.map_err(|error| self.no_policy("not compiled", &error))?;
        let signed = self.shared.signer.sign(&document);
        let signed = signed.map_err(|error| self.no_policy("not signed", &error))?;
        let known = document.destinations.into_iter();
        let known = known.filter_map(|one| Some((one.name, SpiffeId::new(one.id).ok()?)));
        self.identities = known.collect();
        for name in self.destinations.iter().filter(|name| !self.identities.contains_key(*name)) {
            tracing::warn!(id = %self.peer.id(), name, "a destination that the policy does not know");
        }
        let about = Answered { version: edition.version.0, hash: signed.hash() };
        self.place.sent(about, edition.published);
        let snapshot = SignedSnapshot { payload: signed.payload, signature: signed.signature };
        self.send(control_message::Message::Snapshot(snapshot)).await?;
        self.tell_addresses().await
    }

    fn no_policy(&self, what: &'static str, error: &dyn Error) -> Status {
        tracing::error!(id = %self.peer.id(), what, error = chain(error), "no policy for a sidecar");
        Status::internal("there is no policy for this workload")
    }

    /// Sends the addresses of each destination whose addresses are not those told last. One that
    /// the policy no longer knows is served nowhere. Of one that nobody serves yet a stream says
    /// nothing at its begin: after a start of ours the others have not come back, and a sidecar does
    /// better with the addresses that it has.
    async fn tell_addresses(&mut self) -> Result<(), Status> {
        for destination in self.destinations.clone() {
            let addresses = match self.identities.get(&destination) {
                Some(id) => self.shared.fleet.addresses_of(id, port(&destination)),
                None => BTreeMap::new(),
            };
            let is_news = self.told.contains_key(&destination)
                || !addresses.is_empty()
                || !self.identities.contains_key(&destination);
            if !is_news || self.told.get(&destination) == Some(&addresses) {
                continue;
            }
            self.told.insert(destination.clone(), addresses.clone());
            let streams = addresses.iter().filter(|(_, streams)| **streams);
            let streams = streams.map(|(address, _)| address.to_string()).collect();
            let addresses = addresses.keys().map(ToString::to_string).collect();
            let endpoints = Endpoints { destination, addresses, streams };
            self.send(control_message::Message::Endpoints(endpoints)).await?;
        }
        Ok(())
    }

    async fn send(&self, message: control_message::Message) -> Result<(), Status> {
        let message = ControlMessage { message: Some(message) };
        match tokio::time::timeout(SEND, self.outgoing.send(Ok(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Status::cancelled("the sidecar has gone")),
            Err(_) => Err(Status::deadline_exceeded("the sidecar does not read")),
        }
    }

    /// How long the peer's SVID goes on, or until the clock must be looked at.
    fn life_left(&self) -> Duration {
        let now = UnixTime::now().as_secs();
        let end = self.peer.authority_end().as_secs();
        Duration::from_secs(end.saturating_sub(now)).min(CLOCK_CHECK)
    }

    /// A stream does not outlive the SVID that opened it (ROT-05).
    fn check_life(&self) -> Result<(), Status> {
        if self.peer.authority_end().as_secs() <= UnixTime::now().as_secs() {
            return Err(svid_ended());
        }
        Ok(())
    }
}

impl Budget {
    fn take(&mut self) -> Result<(), Status> {
        if self.since.elapsed() > WINDOW {
            *self = Self { since: Instant::now(), messages: 0 };
        }
        self.messages += 1;
        if self.messages > MESSAGES {
            return Err(Status::resource_exhausted("too many messages"));
        }
        Ok(())
    }
}

fn stopping() -> Status {
    Status::unavailable("the control plane is stopping")
}

/// The port of `payments:9443`.
fn port(destination: &str) -> Option<u16> {
    destination.split_once(':')?.1.parse().ok()
}
