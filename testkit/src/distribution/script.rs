//! What a scripted distribution server says to whom, and what it was told.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use cellwall_api::distribution::{
    Ack, ControlMessage, Endpoints, Hello, Nack, Serving, SignedSnapshot, control_message::Message,
};
use tokio::sync::{mpsc, watch};
use tonic::Status;

/// Something that a sidecar said.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The SPIFFE ID of its certificate.
    pub id: String,
    /// Which of the streams, counted from 0.
    pub stream: usize,
    /// What it said.
    pub said: Said,
}

/// What a sidecar may say.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// Who it is and what it wants to reach.
    Hello(Hello),
    /// Where it serves.
    Serving(Serving),
    /// It enforces a snapshot.
    Ack(Ack),
    /// It refused a snapshot.
    Nack(Nack),
    /// Its stream ended.
    Left,
}

/// Messages that a sidecar may leave unread before its stream is cut: a test sends fewer.
const QUEUE: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Script {
    inner: Mutex<Inner>,
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By SPIFFE ID.
    snapshots: BTreeMap<String, SignedSnapshot>,
    /// By destination.
    endpoints: BTreeMap<String, Endpoints>,
    /// SPIFFE ID by destination.
    followed: BTreeMap<String, String>,
    /// By number.
    streams: BTreeMap<usize, Stream>,
    events: Vec<Event>,
    opened: usize,
}

#[derive(Debug)]
struct Stream {
    id: String,
    destinations: Vec<String>,
    serving: Serving,
    sender: mpsc::Sender<Result<ControlMessage, Status>>,
}

/// A stream's number, and what will be said on it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) number: usize,
    pub(super) messages: mpsc::Receiver<Result<ControlMessage, Status>>,
}

impl Stream {
    /// Whether the stream goes on: a full queue cuts it.
    fn send(&self, message: Message) -> bool {
        self.sender.try_send(Ok(ControlMessage { message: Some(message) })).is_ok()
    }
}

impl Script {
    /// Opens a stream.
    pub(super) fn open(&self, id: &str) -> Opened {
        let (sender, messages) = mpsc::channel(QUEUE);
        let mut inner = self.lock();
        let number = inner.opened;
        inner.opened += 1;
        let (destinations, serving) = (Vec::new(), Serving::default());
        let stream = Stream { id: id.to_owned(), destinations, serving, sender };
        inner.streams.insert(number, stream);
        Opened { number, messages }
    }

    /// Takes down what was said, and answers it.
    pub(super) fn heard(&self, number: usize, id: &str, said: Said) {
        let mut inner = self.lock();
        inner.events.push(Event { id: id.to_owned(), stream: number, said: said.clone() });
        match said {
            Said::Hello(hello) => inner.welcome(number, hello),
            Said::Serving(serving) => {
                if let Some(stream) = inner.streams.get_mut(&number) {
                    stream.serving = serving;
                }
                inner.update_followers(id);
            }
            Said::Left => {
                inner.streams.remove(&number);
                inner.update_followers(id);
            }
            Said::Ack(_) | Said::Nack(_) => {}
        }
        drop(inner);
        self.changes.send_replace(());
    }

    pub(super) fn set_snapshot(&self, id: &str, snapshot: SignedSnapshot) {
        let mut inner = self.lock();
        inner.snapshots.insert(id.to_owned(), snapshot.clone());
        let message = Message::Snapshot(snapshot);
        inner.streams.retain(|_, stream| stream.id != id || stream.send(message.clone()));
    }

    pub(super) fn set_endpoints(&self, endpoints: Endpoints) {
        self.lock().set_endpoints(endpoints);
    }

    pub(super) fn follow(&self, destination: &str, id: &str) {
        let mut inner = self.lock();
        inner.followed.insert(destination.to_owned(), id.to_owned());
        inner.update_followers(id);
    }

    pub(super) fn send(&self, id: &str, message: &ControlMessage) {
        let fits = |stream: &&Stream| stream.id == id;
        for stream in self.lock().streams.values().filter(fits) {
            // A stream that is full or gone shows in what its sidecar says next: nothing.
            drop(stream.sender.try_send(Ok(message.clone())));
        }
    }

    pub(super) fn cut(&self, status: &Status) {
        for stream in std::mem::take(&mut self.lock().streams).into_values() {
            // One that is full or gone needs no telling.
            drop(stream.sender.try_send(Err(status.clone())));
        }
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn welcome(&mut self, number: usize, hello: Hello) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        stream.destinations = hello.destinations;
        if let Some(snapshot) = self.snapshots.get(&stream.id) {
            stream.send(Message::Snapshot(snapshot.clone()));
        }
        for destination in &stream.destinations {
            if let Some(endpoints) = self.endpoints.get(destination) {
                stream.send(Message::Endpoints(endpoints.clone()));
            }
        }
    }

    fn set_endpoints(&mut self, endpoints: Endpoints) {
        let message = Message::Endpoints(endpoints.clone());
        let destination = endpoints.destination.clone();
        self.endpoints.insert(destination.clone(), endpoints);
        let asked = |stream: &Stream| stream.destinations.contains(&destination);
        self.streams.retain(|_, stream| !asked(stream) || stream.send(message.clone()));
    }

    fn update_followers(&mut self, id: &str) {
        let serving = self.streams.values().filter(|stream| stream.id == id);
        let (mut addresses, mut streams) = (Vec::new(), Vec::new());
        for Serving { addresses: served, streams: takes } in serving.map(|stream| &stream.serving) {
            addresses.extend(served.iter().cloned());
            streams.extend(served.iter().filter(|_| *takes).cloned());
        }
        let followed = self.followed.iter().filter(|(_, followed)| *followed == id);
        let destinations = followed.map(|(name, _)| name.clone()).collect::<Vec<_>>();
        for destination in destinations {
            let (addresses, streams) = (addresses.clone(), streams.clone());
            self.set_endpoints(Endpoints { destination, addresses, streams });
        }
    }
}
