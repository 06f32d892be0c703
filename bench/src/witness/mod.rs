//! Calls that the policy denies, made beside a load: each has to be refused, and none may reach the
//! backend, which counts for itself what no load sends.
//!
//! Only a contender with a policy says where somebody calls whom it denies (`denied`); at others
//! nothing is denied, and nothing is asked.

use std::{
    convert::Infallible,
    io,
    pin::pin,
    time::{Duration, Instant},
};

use tokio::{io::AsyncReadExt as _, time::MissedTickBehavior};

use crate::{
    Connections, LoadError, Loopback,
    backend::{BODY, DENIED},
    compare::Traffic,
    lean::PATH,
    line::{Answer, Dialogue, Line, connect},
    measure::{Outcome, Recorder},
    streams,
};

/// How often a call is made that has to be refused: few, so that they cost the load nothing.
const EVERY: Duration = Duration::from_millis(50);

/// How long the backend may take to say what it has seen.
const TELLS: Duration = Duration::from_secs(5);

/// What became of the calls that the policy denies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Refused, by the word for it: 403, status 7 of gRPC, the end of the connection.
    pub(crate) refused: u64,
    /// Answered as if they were allowed.
    pub(crate) passed: u64,
    /// Neither: no answer in time, or another one.
    pub(crate) lost: u64,
    /// Requests at the backend that no load sends.
    pub(crate) seen: u64,
}

/// Somebody who calls what the policy denies.
#[derive(Debug)]
pub(crate) struct Witness {
    calls: Vec<Denied>,
    /// Where the backend says what it has seen.
    strange: Loopback,
    recorder: Recorder,
}

/// One call that is denied.
#[derive(Clone, Debug)]
enum Denied {
    /// Bytes, and the outcome that is a refusal.
    Bytes(Loopback, Dialogue, Outcome),
    /// A gRPC method.
    Grpc(Loopback, &'static str),
}

impl Witness {
    /// Of a policy that lets the load in at `entry`, and nobody at `denied`.
    ///
    /// # Errors
    /// If no outcome can be taken down.
    pub(crate) fn of(
        entry: Loopback,
        denied: Loopback,
        traffic: Traffic,
        strange: Loopback,
    ) -> Result<Self, LoadError> {
        let recorder = Recorder::new(Instant::now())?;
        Ok(Self { calls: calls(entry, denied, traffic), strange, recorder })
    }

    /// Runs the load, with denied calls before and beside it.
    ///
    /// # Errors
    /// If the backend does not say what it has seen, or a call was not refused although nothing
    /// else went on.
    pub(crate) async fn beside<T>(&self, load: impl Future<Output = T>) -> io::Result<(T, Told)> {
        let before = self.seen().await?;
        let mut told = Told::default();
        for call in &self.calls {
            let outcome = self.call(call).await;
            if !call.is_refusal(&outcome) {
                return Err(io::Error::other(format!("{call:?} ended with {outcome:?}")));
            }
            told.refused += 1;
        }
        let output = {
            let (mut load, mut calls) = (pin!(load), pin!(self.keep_calling(&mut told)));
            // The load's end cuts a denied call: nobody waits for it, and the backend still counts.
            tokio::select! {
                output = &mut load => output,
                never = &mut calls => match never {},
            }
        };
        told.seen = self.seen().await?.saturating_sub(before);
        Ok((output, told))
    }

    async fn keep_calling(&self, told: &mut Told) -> Infallible {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            for call in &self.calls {
                ticks.tick().await;
                let outcome = self.call(call).await;
                if outcome.is_ok() {
                    told.passed += 1;
                } else if call.is_refusal(&outcome) {
                    told.refused += 1;
                } else {
                    told.lost += 1;
                }
            }
        }
    }

    async fn call(&self, call: &Denied) -> Outcome {
        match call {
            Denied::Bytes(to, dialogue, _) => {
                let mut line = Line::new(*to, dialogue.clone(), Connections::PerRequest);
                line.exchange(&self.recorder).await
            }
            Denied::Grpc(to, method) => streams::denied(*to, method).await,
        }
    }

    async fn seen(&self) -> io::Result<u64> {
        let asked = async {
            let stream = connect(self.strange).await;
            stream.ok_or(io::ErrorKind::NotConnected)?.read_u64().await
        };
        tokio::time::timeout(TELLS, asked).await?
    }
}

impl Denied {
    fn is_refusal(&self, outcome: &Outcome) -> bool {
        match self {
            Self::Bytes(_, _, refusal) => outcome == refusal,
            Self::Grpc(..) => *outcome == Outcome::Grpc(Some(7)),
        }
    }
}

/// The load's caller where it may not call, and somebody else where the load calls.
fn calls(entry: Loopback, denied: Loopback, traffic: Traffic) -> Vec<Denied> {
    let http = |to: Loopback, call: &str| {
        let says = format!("{call} HTTP/1.1\r\nhost: {}\r\n{DENIED}: 1\r\n\r\n", to.address());
        let dialogue = Dialogue { says: says.into_bytes(), answer: Answer::Http(BODY.len()) };
        Denied::Bytes(to, dialogue, Outcome::Status(403))
    };
    // No load sends such a message: the backend would count it.
    let bytes = Dialogue { says: vec![b'd'; 100], answer: Answer::Any };
    match traffic {
        Traffic::Http1 => vec![
            http(entry, "GET /v1/bench/other"),
            http(entry, &format!("DELETE {PATH}")),
            http(denied, &format!("GET {PATH}")),
        ],
        Traffic::Grpc => vec![
            Denied::Grpc(entry, "/bench.v1.Bench/Other"),
            Denied::Grpc(denied, streams::METHOD),
        ],
        Traffic::Echo | Traffic::Bulk => vec![Denied::Bytes(denied, bytes, Outcome::Closed)],
    }
}

#[cfg(test)]
mod tests;
