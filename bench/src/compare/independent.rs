//! Loads that others have written: `wrk` and `h2load`, for the rows that they can make.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tempfile::NamedTempFile;
use tokio::process::Command;

use super::rows::Load;
use crate::{LoadError, Loopback, Report, lean::PATH, measure::Latency, program, streams};

/// How long one may take to end after its time.
const ENDS: Duration = Duration::from_secs(15);

/// Which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generator {
    /// HTTP/1.1, closed loop.
    Wrk,
    /// HTTP/1.1 and HTTP/2, closed loop.
    H2load,
}

/// One that was found.
#[derive(Clone, Debug)]
pub struct Independent {
    generator: Generator,
    program: PathBuf,
    /// Its own words about its version.
    pub version: String,
}

impl Generator {
    const fn name(self) -> &'static str {
        match self {
            Self::Wrk => "wrk",
            Self::H2load => "h2load",
        }
    }
}

impl Independent {
    /// Looks for it in these folders first.
    ///
    /// # Errors
    /// If it is nowhere, or says nothing of itself.
    pub async fn find(generator: Generator, first: &[PathBuf]) -> Result<Self, LoadError> {
        let name = generator.name();
        let program = program::find(name, &program::folders(first));
        let program = program.ok_or_else(|| LoadError::Program(format!("no program {name}")))?;
        let flag = match generator {
            Generator::Wrk => "-v",
            Generator::H2load => "--version",
        };
        let said = output(&program, &[flag.to_owned()], Duration::ZERO).await?;
        let version = said.lines().next().unwrap_or_default().trim().to_owned();
        if !version.starts_with(name) {
            return Err(LoadError::Program(format!("{name} says {version:?} of its version")));
        }
        Ok(Self { generator, program, version })
    }

    /// Puts the load of a row on whatever listens there.
    pub(super) async fn apply(
        &self,
        load: Load,
        entry: Loopback,
        time: Duration,
    ) -> Result<Report, LoadError> {
        let body = body()?;
        let arguments = arguments(self.generator, load, entry, (time, body.path()));
        let name = self.generator.name();
        let Some(arguments) = arguments else {
            return Err(LoadError::Program(format!("{name} cannot make the load of this row")));
        };
        let text = output(&self.program, &arguments, time).await?;
        let report = match self.generator {
            Generator::Wrk => wrk(&text),
            Generator::H2load => h2load(&text),
        };
        report.ok_or_else(|| LoadError::Program(format!("{name} reports something else: {text}")))
    }
}

/// What our own load sends as a gRPC call.
fn body() -> Result<NamedTempFile, LoadError> {
    let made = || {
        let mut file = NamedTempFile::new()?;
        file.write_all(streams::MESSAGE).map(|()| file)
    };
    made().map_err(|error: std::io::Error| LoadError::Program(error.to_string()))
}

/// One thread, as ours. `wrk` knows whole seconds.
fn arguments(
    generator: Generator,
    load: Load,
    entry: Loopback,
    (time, body): (Duration, &Path),
) -> Option<Vec<String>> {
    let address = entry.address();
    let text = match (generator, load) {
        (Generator::Wrk, Load::Http(clients)) => {
            let seconds = time.as_secs_f64().ceil().max(1.0);
            format!("-t1 -c{clients} -d{seconds} --latency http://{address}{PATH}")
        }
        (Generator::H2load, Load::Http(clients)) => {
            let time = time.as_millis().max(1);
            format!("--h1 -t1 -c{clients} -m1 -D{time}ms http://{address}{PATH}")
        }
        (Generator::H2load, Load::Grpc(connections, streams)) => {
            let (time, body) = (time.as_millis().max(1), body.display());
            let method = streams::METHOD;
            format!(
                "-t1 -c{connections} -m{streams} -D{time}ms -d{body} -Hte:trailers \
                 -Hcontent-type:application/grpc http://{address}{method}"
            )
        }
        _ => return None,
    };
    Some(text.split_whitespace().map(ToOwned::to_owned).collect())
}

async fn output(program: &Path, arguments: &[String], time: Duration) -> Result<String, LoadError> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let failed = |why: String| LoadError::Program(format!("{}: {why}", program.display()));
    let ended = tokio::time::timeout(time + ENDS, command.output()).await;
    let ended = ended.map_err(|_| failed("it does not end".to_owned()))?;
    let output = ended.map_err(|error| failed(error.to_string()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `  36813 requests in 5.00s, 6.85MB read`, and what stands before and after it.
fn wrk(text: &str) -> Option<Report> {
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    let mut words = line.split_whitespace();
    let sent = words.next()?.parse::<u64>().ok()?;
    let seconds = microseconds(words.nth(2)?.trim_end_matches(','))? / 1e6;
    let mut errors = BTreeMap::new();
    let others =
        text.lines().find_map(|line| line.trim().strip_prefix("Non-2xx or 3xx responses:"));
    if let Some(others) = others {
        errors.insert("status".to_owned(), others.trim().parse().ok()?);
    }
    let socket = text.lines().find_map(|line| line.trim().strip_prefix("Socket errors:"));
    for error in socket.into_iter().flat_map(|line| line.split(',')) {
        let (kind, count) = error.trim().split_once(' ')?;
        let count = count.parse::<u64>().ok()?;
        if count > 0 {
            errors.insert(kind.to_owned(), count);
        }
    }
    let quantile = |percent: &str| {
        let of = |line: &str| line.trim().strip_prefix(percent).map(str::trim).map(microseconds);
        whole(text.lines().find_map(of)??)
    };
    let wrong = errors.get("status").copied().unwrap_or_default();
    let ok = sent.saturating_sub(wrong);
    let latency = Latency {
        count: ok,
        p50: quantile("50%")?,
        p90: quantile("90%")?,
        p99: quantile("99%")?,
        ..Latency::default()
    };
    Some(report(seconds, (sent, ok), errors, latency))
}

/// `requests: 9 total, 9 started, 9 done, 8 succeeded, 1 failed, 1 errored, 0 timeout`. It tells no
/// percentiles.
fn h2load(text: &str) -> Option<Report> {
    let finished = text.lines().find_map(|line| line.strip_prefix("finished in "))?;
    let seconds = microseconds(finished.split(',').next()?)? / 1e6;
    let line = text.lines().find_map(|line| line.strip_prefix("requests: "))?;
    let counts = line.split(", ").filter_map(|part| part.split_once(' '));
    let counts = counts.filter_map(|(count, kind)| Some((kind, count.parse::<u64>().ok()?)));
    let counts = counts.collect::<BTreeMap<_, _>>();
    let count = |kind: &str| counts.get(kind).copied();
    let (sent, ok) = (count("done")?, count("succeeded")?);
    let mut errors = BTreeMap::new();
    // Those that errored and timed out are among those that failed.
    if count("failed")? > 0 {
        errors.insert("failed".to_owned(), count("failed")?);
    }
    Some(report(seconds, (sent, ok), errors, Latency::default()))
}

fn report(
    seconds: f64,
    (sent, ok): (u64, u64),
    errors: BTreeMap<String, u64>,
    latency_us: Latency,
) -> Report {
    #[expect(clippy::cast_precision_loss, reason = "counts of some minutes")]
    let achieved_rate = if seconds > 0.0 { sent as f64 / seconds } else { 0.0 };
    Report {
        mode: "closed".to_owned(),
        wanted_rate: None,
        achieved_rate,
        seconds,
        sent,
        ok,
        errors,
        connections_opened: 0,
        connections_closed: 0,
        latency_us,
        start_delay_us: None,
        bytes: None,
        shares: None,
    }
}

/// `126.00us`, `1.79ms`, `5.00s`, `1.50m`.
fn microseconds(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("m", 60e6), ("s", 1e6)];
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| text.strip_suffix(name).map(|number| (number, unit)))?;
    number.parse::<f64>().ok().map(|number| number * unit)
}

fn whole(us: f64) -> Option<u64> {
    Duration::try_from_secs_f64(us / 1e6).ok().and_then(|time| time.as_micros().try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_prints_is_read_with_its_failures() {
        let text = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 32 connections\n\
            \x20 Latency Distribution\n     50%  820.50us\n     75%    1.00ms\n     90%    1.25ms\n\
            \x20    99%    2.00s\n  36813 requests in 5.00s, 6.85MB read\n\
            \x20 Socket errors: connect 0, read 2, write 0, timeout 0\n\
            \x20 Non-2xx or 3xx responses: 13\nRequests/sec:  36813.00\n";
        let report = wrk(text).unwrap();
        assert_eq!((report.sent, report.ok, report.seconds), (36_813, 36_800, 5.0));
        let latency = report.latency_us;
        assert_eq!((latency.p50, latency.p90, latency.p99), (820, 1250, 2_000_000));
        assert_eq!(report.errors, [("read".to_owned(), 2), ("status".to_owned(), 13)].into());
        assert_eq!(wrk("unable to connect"), None);
    }

    #[test]
    fn what_h2load_prints_is_read_with_its_failures() {
        let text = "finished in 500.12ms, 36813.20 req/s, 5.20MB/s\n\
            requests: 20 total, 20 started, 19 done, 18 succeeded, 2 failed, 1 errored, 0 timeout\n";
        let report = h2load(text).unwrap();
        assert_eq!((report.sent, report.ok, report.failed()), (19, 18, 2));
        assert!((report.seconds - 0.50012).abs() < 1e-9);
        assert_eq!(h2load("starting benchmark..."), None);
    }

    #[test]
    fn a_row_that_one_cannot_make_is_not_made_otherwise() {
        let entry = Loopback::new(([127, 0, 0, 1], 1).into()).unwrap();
        let made = |generator, load| {
            let settings = (Duration::from_millis(500), Path::new("/body"));
            arguments(generator, load, entry, settings).map(|arguments| arguments.join(" "))
        };
        let call = "http://127.0.0.1:1/v1/bench/call";
        let http = made(Generator::Wrk, Load::Http(32));
        assert_eq!(http, Some(format!("-t1 -c32 -d1 --latency {call}")));
        let http = made(Generator::H2load, Load::Http(32));
        assert_eq!(http, Some(format!("--h1 -t1 -c32 -m1 -D500ms {call}")));
        assert_eq!(made(Generator::Wrk, Load::Grpc(1, 32)), None);
        let others =
            [Load::Open(1.0), Load::HttpNew(1), Load::Bulk(1), Load::IdleHttp, Load::Start];
        // What each client had, the slowest of a thousand, and what a schedule asks for.
        let told_by_ours =
            [Load::Tail(1), Load::Sized(1, 1), Load::Two(1, 1), Load::Share(0.5), Load::Paced(1.0)];
        for load in others.into_iter().chain(told_by_ours) {
            let both = [Generator::Wrk, Generator::H2load].map(|generator| made(generator, load));
            assert_eq!(both, [None, None]);
        }
    }
}
