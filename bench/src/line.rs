//! A client's connection on which one exchange follows another, and what comes back is compared.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use crate::{
    ClosedLoop, Connections, Control, LoadError, Loopback, Report,
    crowd::{AGAIN, ANSWER, Crowd},
    echo, lean,
    measure::{Outcome, Recorder},
};

/// What is said, and what has to come back.
#[derive(Clone, Debug)]
pub(crate) struct Dialogue {
    pub(crate) says: Vec<u8>,
    pub(crate) answer: Answer,
}

/// The one answer that is right.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// The backend's over HTTP/1.1, of so many bytes.
    Http(usize),
    /// The same message.
    Echo,
    /// Whatever comes.
    Any,
}

impl Answer {
    /// What the bytes so far are; nothing while they may still become right.
    fn judge(self, received: &[u8]) -> Option<Outcome> {
        match self {
            Self::Http(bytes) => lean::judge(received, bytes),
            Self::Echo => echo::judge(received),
            Self::Any => Some(Outcome::Done),
        }
    }
}

/// Clients of a dialogue that never pause.
pub(crate) async fn talk(
    server: Loopback,
    load: ClosedLoop,
    dialogue: Dialogue,
    control: Control,
) -> Result<Report, LoadError> {
    if load.clients == 0 {
        return Err(LoadError::Setting("clients must be above 0"));
    }
    let crowd = Crowd::new(control)?;
    for _ in 0..load.clients {
        let line = Line::new(server, dialogue.clone(), load.connections);
        crowd.add(client(line, crowd.recorder(), crowd.stop()));
    }
    Ok(crowd.run(load.duration).await)
}

async fn client(mut line: Line, recorder: Recorder, stop: CancellationToken) {
    let mut served = 0;
    while !stop.is_cancelled() {
        let start = Instant::now();
        recorder.sent(Duration::ZERO);
        let outcome = line.exchange(&recorder).await;
        recorder.ended(&outcome, start.elapsed());
        served += u64::from(outcome.is_ok());
        if outcome == Outcome::Connect {
            tokio::time::sleep(AGAIN).await;
        }
    }
    recorder.client_had(served);
}

/// One connection at a time.
#[derive(Debug)]
pub(crate) struct Line {
    server: Loopback,
    dialogue: Dialogue,
    connections: Connections,
    stream: Option<TcpStream>,
    received: Vec<u8>,
}

impl Line {
    pub(crate) const fn new(
        server: Loopback,
        dialogue: Dialogue,
        connections: Connections,
    ) -> Self {
        Self { server, dialogue, connections, stream: None, received: Vec::new() }
    }

    /// Says what there is to say, and waits for all that has to come back.
    pub(crate) async fn exchange(&mut self, recorder: &Recorder) -> Outcome {
        let outcome = tokio::time::timeout(ANSWER, self.exchange_unbounded(recorder)).await;
        let outcome = outcome.unwrap_or(Outcome::Timeout);
        if outcome == Outcome::Closed {
            recorder.closed();
        }
        // After anything but what is right nobody knows what is still to come.
        if !outcome.is_ok() || self.connections == Connections::PerRequest {
            self.stream = None;
        }
        outcome
    }

    async fn exchange_unbounded(&mut self, recorder: &Recorder) -> Outcome {
        if self.stream.is_none() {
            self.stream = connect(self.server).await;
            if self.stream.is_some() {
                recorder.opened();
            }
        }
        let Some(stream) = &mut self.stream else { return Outcome::Connect };
        self.received.clear();
        if stream.write_all(&self.dialogue.says).await.is_err() {
            return Outcome::Closed;
        }
        loop {
            match stream.read_buf(&mut self.received).await {
                Ok(0) | Err(_) => return Outcome::Closed,
                Ok(_) => {}
            }
            if let Some(outcome) = self.dialogue.answer.judge(&self.received) {
                return outcome;
            }
        }
    }
}

/// A connection that sends what it is given at once.
pub(crate) async fn connect(server: Loopback) -> Option<TcpStream> {
    let stream = TcpStream::connect(server.address()).await.ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}
