//! `cellwall-bench`: found, started, and what it reports.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use super::result::{Cost, Report};
use crate::args::Run;

const PROGRAM: &str = "cellwall-bench";

/// In how many ticks of a second the kernel tells times: `USER_HZ` (proc_pid_stat(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// The line that it prints.
#[derive(Debug, Deserialize)]
struct Said {
    report: Report,
}

/// Beside this program, or where everybody looks.
pub(super) fn find() -> anyhow::Result<PathBuf> {
    let here = env::current_exe().ok().and_then(|this| this.parent().map(Path::to_owned));
    let usual = env::var_os("PATH").unwrap_or_default();
    let folders = here.into_iter().chain(env::split_paths(&usual));
    let found = folders.map(|folder| folder.join(PROGRAM)).find(|path| path.is_file());
    found.with_context(|| format!("{PROGRAM} is neither beside this program nor in PATH"))
}

/// Sends the calls to one address. Whoever ends us ends it, too.
pub(super) async fn send(program: &Path, run: &Run, target: SocketAddr) -> anyhow::Result<Report> {
    let mut command = Command::new(program);
    command.args(["load", "--target", &target.to_string(), "--call", &run.call]);
    command.args(["--rate", &run.rate.to_string(), "--duration", &run.duration]);
    command.args(["--connections", &run.connections.to_string()]);
    command.args(run.headers.iter().flat_map(|header| ["--header", header]));
    if run.beyond_loopback {
        command.arg("--beyond-loopback");
    }
    command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let output = tokio::select! {
        output = command.output() => output.with_context(|| program.display().to_string())?,
        _ = terminate.recv() => bail!("stopped"),
        _ = interrupt.recv() => bail!("stopped"),
    };
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("{PROGRAM}: {}: {}", output.status, why.trim());
    }
    let said = serde_json::from_slice::<Said>(&output.stdout);
    Ok(said.with_context(|| format!("{} reports something else", program.display()))?.report)
}

/// Sidecars at one moment.
#[derive(Debug)]
pub(super) struct Watched {
    at: Instant,
    ticks: Vec<u64>,
}

impl Watched {
    /// Those of these numbers.
    pub(super) fn now(pids: &[u32]) -> anyhow::Result<Self> {
        let ticks = pids.iter().map(|pid| ticks(*pid)).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self { at: Instant::now(), ticks })
    }

    /// What they have cost since; nothing if there are none.
    pub(super) fn cost(&self, pids: &[u32]) -> anyhow::Result<Option<Cost>> {
        if pids.is_empty() {
            return Ok(None);
        }
        let now = Self::now(pids)?;
        let spent = now.ticks.iter().zip(&self.ticks).map(|(now, then)| now.saturating_sub(*then));
        #[expect(clippy::cast_precision_loss, reason = "ticks of some minutes, and few processes")]
        let mean = spent.sum::<u64>() as f64 / pids.len() as f64 / TICKS_PER_SECOND;
        let seconds = (now.at - self.at).as_secs_f64();
        let rss = pids.iter().filter_map(|pid| rss_kib(*pid)).max();
        Ok(Some(Cost { cores: mean / seconds, rss_kib: rss.unwrap_or_default() }))
    }
}

/// User and system time: fields 14 and 15, counted from after the name, which may hold anything.
fn ticks(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("--pid {pid}"))?;
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let times = fields.skip(11).take(2).map(str::parse::<u64>);
    times.sum::<Result<u64, _>>().with_context(|| path)
}

fn rss_kib(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}
