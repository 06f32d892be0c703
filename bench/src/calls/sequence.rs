//! The system calls of a single call, one after the other, on both sides.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    time::{Duration, SystemTime},
};

use super::{CallsError, side::Sides, strace::Tracer};
use crate::{
    Connections, Exchange, LoadError, Loopback,
    compare::Traffic,
    echo, lean,
    line::Line,
    measure::{Outcome, Recorder},
    streams::Kept,
};

/// Calls before it: buffers have their sizes, and the threads have what they need.
const BEFORE: usize = 100;

/// Both sides have come to rest so long after a call.
const RESTS: Duration = Duration::from_millis(30);

/// Wall clock in microseconds, threads that are attached to, descriptors by what they are, little
/// of what passes.
const OPTIONS: &[&str] = &["-ttt", "-yy", "-s", "24"];

/// One call alone, and then some without a pause.
const COUNTS: &[usize] = &[1, 4];

/// Makes calls on a connection that has had others, and returns what both sides did meanwhile,
/// in microseconds since the first began. `strace` makes all of it slower: the order is what counts.
pub(super) async fn calls(
    sides: &Sides,
    entry: Loopback,
    traffic: Traffic,
) -> Result<String, CallsError> {
    let mut connection = Connection::open(entry, traffic).await?;
    for _ in 0..BEFORE {
        connection.call().await;
    }
    let names = sides.threads().map(|(thread, side)| (thread, name(thread, side)));
    let names = names.collect::<BTreeMap<_, _>>();
    let tracer = Tracer::attach(OPTIONS, &sides.processes().concat()).await?;
    // The first one under the tracer finds threads that were interrupted.
    let mut outcomes = vec![connection.call().await];
    let mut moments = Vec::new();
    for count in COUNTS {
        tokio::time::sleep(RESTS).await;
        moments.push((count, SystemTime::now()));
        for _ in 0..*count {
            outcomes.push(connection.call().await);
        }
    }
    tokio::time::sleep(RESTS).await;
    let trace = tracer.end().await?;
    let mut text = format!("  {outcomes:?}\n");
    let ends = moments.iter().skip(1).map(|(_, at)| Some(*at)).chain([None]);
    for ((count, began), end) in moments.iter().zip(ends) {
        let _ = writeln!(text, "  {count} at once, one after the other");
        let lines = trace.lines().filter_map(parse);
        for (at, thread, call) in
            lines.filter(|(at, ..)| at >= began && end.is_none_or(|end| *at < end))
        {
            let who = names.get(&thread).map_or("?", String::as_str);
            let at = at.duration_since(*began).unwrap_or_default().as_micros();
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {at:>7} {who:<24} {call}");
        }
    }
    Ok(text)
}

/// A connection through the proxies.
enum Connection {
    Line(Box<Line>, Recorder),
    Streams(Option<Kept>),
}

impl Connection {
    async fn open(entry: Loopback, traffic: Traffic) -> Result<Self, LoadError> {
        let kept = Connections::Kept;
        let line = |dialogue| {
            let recorder = Recorder::new(std::time::Instant::now())?;
            Ok(Self::Line(Box::new(Line::new(entry, dialogue, kept)), recorder))
        };
        match traffic {
            Traffic::Http1 => line(lean::dialogue(entry, kept)),
            Traffic::Echo => line(echo::dialogue()),
            Traffic::Grpc => Ok(Self::Streams(Kept::open(entry, Exchange::Grpc).await)),
            Traffic::Bulk => Err(LoadError::Setting("bytes without end are no call")),
        }
    }

    async fn call(&mut self) -> Outcome {
        match self {
            Self::Line(line, recorder) => line.exchange(recorder).await,
            Self::Streams(Some(kept)) => kept.call().await,
            Self::Streams(None) => Outcome::Connect,
        }
    }
}

fn name(thread: u32, side: usize) -> String {
    let name = fs::read_to_string(format!("/proc/{thread}/comm")).unwrap_or_default();
    format!("{} {}", if side == 0 { "client" } else { "server" }, name.trim())
}

/// `THREAD SECONDS.MICROSECONDS CALL`.
fn parse(line: &str) -> Option<(SystemTime, u32, &str)> {
    let (thread, rest) = line.trim_start().split_once(' ')?;
    let (at, call) = rest.trim_start().split_once(' ')?;
    let (seconds, micros) = at.split_once('.')?;
    let seconds = Duration::from_secs(seconds.parse().ok()?);
    let at = seconds + Duration::from_micros(micros.parse().ok()?);
    Some((SystemTime::UNIX_EPOCH.checked_add(at)?, thread.parse().ok()?, call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_time_its_thread_and_its_call() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(101_000_040);

        assert_eq!(parse("42    101.000040 read(3) = 1"), Some((at, 42, "read(3) = 1")));
        assert_eq!(parse("42    +++ exited with 0 +++"), None);
    }
}
