//! Closed loop over plain TCP: a message, and the same message back.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use crate::{
    ClosedLoop, Connections, Control, LoadError, Loopback, Report,
    crowd::{AGAIN, ANSWER, Crowd},
    measure::{Outcome, Recorder},
};

/// How long a message is, in bytes.
const MESSAGE: usize = 100;

/// Clients of an echo that never pause, each with a connection of its own, or one for each message.
///
/// # Errors
/// If there is no client.
pub async fn echo_loop(
    server: Loopback,
    load: ClosedLoop,
    control: Control,
) -> Result<Report, LoadError> {
    if load.clients == 0 {
        return Err(LoadError::Setting("clients must be above 0"));
    }
    let crowd = Crowd::new(control)?;
    for _ in 0..load.clients {
        crowd.add(client(server, load.connections, crowd.recorder(), crowd.stop()));
    }
    Ok(crowd.run(load.duration).await)
}

async fn client(
    server: Loopback,
    connections: Connections,
    recorder: Recorder,
    stop: CancellationToken,
) {
    let mut talker = Talker { server, stream: None };
    while !stop.is_cancelled() {
        let start = Instant::now();
        recorder.sent(Duration::ZERO);
        let outcome = talker.exchange(&recorder).await;
        recorder.ended(&outcome, start.elapsed());
        match (connections, outcome) {
            (_, Outcome::Connect) => tokio::time::sleep(AGAIN).await,
            (Connections::PerRequest, _) => talker.stream = None,
            (Connections::Kept, _) => {}
        }
    }
}

/// One connection at a time.
#[derive(Debug)]
pub(crate) struct Talker {
    pub(crate) server: Loopback,
    pub(crate) stream: Option<TcpStream>,
}

impl Talker {
    /// A message there and back.
    pub(crate) async fn exchange(&mut self, recorder: &Recorder) -> Outcome {
        let outcome = tokio::time::timeout(ANSWER, self.exchange_unbounded(recorder)).await;
        let outcome = outcome.unwrap_or(Outcome::Timeout);
        if outcome != Outcome::Done {
            if outcome == Outcome::Closed && self.stream.is_some() {
                recorder.closed();
            }
            self.stream = None;
        }
        outcome
    }

    async fn exchange_unbounded(&mut self, recorder: &Recorder) -> Outcome {
        if self.stream.is_none() {
            let Some(stream) = connect(self.server).await else { return Outcome::Connect };
            recorder.opened();
            self.stream = Some(stream);
        }
        let Some(stream) = &mut self.stream else { return Outcome::Connect };
        let (message, mut back) = ([b'e'; MESSAGE], [0; MESSAGE]);
        if stream.write_all(&message).await.is_err() || stream.read_exact(&mut back).await.is_err()
        {
            return Outcome::Closed;
        }
        if back == message { Outcome::Done } else { Outcome::Wrong }
    }
}

/// A connection that sends what it is given at once.
pub(crate) async fn connect(server: Loopback) -> Option<TcpStream> {
    let stream = TcpStream::connect(server.address()).await.ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}
