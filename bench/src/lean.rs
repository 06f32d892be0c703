//! Closed loop over HTTP/1.1 that costs little, for the one answer that our backend gives.
//!
//! The load shares a machine with what it measures: a client that parses costs as much as the
//! proxies. This one knows the bytes that have to come, and takes all others for wrong.

use std::time::{Duration, Instant};

use memchr::memmem;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use crate::{
    ClosedLoop, Connections, Control, LoadError, Loopback, Report,
    backend::BODY,
    crowd::{AGAIN, ANSWER, Crowd},
    echo::connect,
    measure::{Outcome, Recorder},
};

/// What is asked for, over and over.
pub(crate) const PATH: &str = "/v1/bench/call";

/// Clients of a [`crate::Backend`], or of proxies before one, that never pause.
///
/// # Errors
/// If there is no client.
pub async fn lean_loop(
    server: Loopback,
    load: ClosedLoop,
    control: Control,
) -> Result<Report, LoadError> {
    if load.clients == 0 {
        return Err(LoadError::Setting("clients must be above 0"));
    }
    let crowd = Crowd::new(control)?;
    for _ in 0..load.clients {
        let line = Line::new(server, load.connections);
        crowd.add(client(line, crowd.recorder(), crowd.stop()));
    }
    Ok(crowd.run(load.duration).await)
}

async fn client(mut line: Line, recorder: Recorder, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let start = Instant::now();
        recorder.sent(Duration::ZERO);
        let outcome = line.exchange(&recorder).await;
        recorder.ended(&outcome, start.elapsed());
        if outcome == Outcome::Connect {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// One connection at a time.
#[derive(Debug)]
pub(crate) struct Line {
    server: Loopback,
    request: String,
    connections: Connections,
    stream: Option<TcpStream>,
    received: Vec<u8>,
}

impl Line {
    pub(crate) fn new(server: Loopback, connections: Connections) -> Self {
        let close = match connections {
            Connections::Kept => "",
            Connections::PerRequest => "connection: close\r\n",
        };
        let address = server.address();
        let request = format!("GET {PATH} HTTP/1.1\r\nhost: {address}\r\n{close}\r\n");
        Self { server, request, connections, stream: None, received: Vec::new() }
    }

    /// One request and its whole answer.
    pub(crate) async fn exchange(&mut self, recorder: &Recorder) -> Outcome {
        let outcome = tokio::time::timeout(ANSWER, self.exchange_unbounded(recorder)).await;
        let outcome = outcome.unwrap_or(Outcome::Timeout);
        if outcome == Outcome::Closed && self.stream.is_some() {
            recorder.closed();
        }
        // After anything but a right answer nobody knows what is still to come.
        if outcome != Outcome::Status(200) || self.connections == Connections::PerRequest {
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
        self.received.clear();
        if stream.write_all(self.request.as_bytes()).await.is_err() {
            return Outcome::Closed;
        }
        loop {
            match stream.read_buf(&mut self.received).await {
                Ok(0) | Err(_) => return Outcome::Closed,
                Ok(_) => {}
            }
            if let Some(outcome) = judge(&self.received) {
                return outcome;
            }
        }
    }
}

/// What the bytes so far are; nothing while the answer may still become right.
fn judge(received: &[u8]) -> Option<Outcome> {
    let end = memmem::find(received, b"\r\n\r\n")?;
    let status = received.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let status = status.and_then(|digits| str::from_utf8(digits).ok()?.parse::<u16>().ok());
    let Some(status) = status else { return Some(Outcome::Wrong) };
    if status != 200 {
        return Some(Outcome::Status(status));
    }
    let body = received.get(end + 4..).unwrap_or_default();
    if body == BODY {
        return Some(Outcome::Status(200));
    }
    if BODY.starts_with(body) { None } else { Some(Outcome::Wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_right_wrong_or_not_whole_yet() {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n";
        let whole = [&head[..], BODY].concat();
        for end in 0..whole.len() {
            assert_eq!(judge(&whole[..end]), None, "{end}");
        }
        assert_eq!(judge(&whole), Some(Outcome::Status(200)));
        assert_eq!(judge(&[&whole[..], b"x"].concat()), Some(Outcome::Wrong));
        assert_eq!(judge(&[&head[..], b"other"].concat()), Some(Outcome::Wrong));
        assert_eq!(judge(b"HTTP/1.1 403 Forbidden\r\n\r\n"), Some(Outcome::Status(403)));
        assert_eq!(judge(b"SSH-2.0\r\n\r\n"), Some(Outcome::Wrong));
    }
}
