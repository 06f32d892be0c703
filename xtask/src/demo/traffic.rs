//! The demo's load: the load generator as a process of its own, read while it runs.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Context as _;
use cellwall_testkit::process::{Process, Spawn, Tail};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Payments a second: seven services and sixteen processes share the machine.
const RATE: &str = "20";

/// How long the load generator may take to report or to end.
const SOON: Duration = Duration::from_secs(20);

/// The running load generator.
#[derive(Debug)]
pub(crate) struct Traffic {
    process: Process,
    reports: Tail,
}

/// What it said last, counted from its start.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) ok: u64,
    pub(crate) errors: u64,
    pub(crate) closed: u64,
    pub(crate) rate: f64,
    pub(crate) p99_ms: f64,
    by_kind: Value,
}

impl Traffic {
    /// Pays through the edge's sidecar, which reaches checkout at `checkout`.
    pub(crate) fn start(
        programs: &Path,
        checkout: SocketAddr,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let process = Spawn::new("load", &programs.join("cellwall-bench"), &folder.join("logs"))
            .args(["load", "--progress", "--method", "POST", "--connections", "4"])
            .args(["--rate", RATE, "--url", &format!("http://{checkout}/v1/orders")])
            .start()?;
        let reports = process.stdout();
        Ok(Self { process, reports })
    }

    /// What it reports once `time` has passed.
    pub(crate) async fn after(&mut self, time: Duration) -> anyhow::Result<Figures> {
        self.reports.skip()?;
        tokio::time::sleep(time).await;
        let reports = self.reports.clone();
        let line = self.process.line(reports, SOON, |line| line.get("ok").is_some()).await?;
        Figures::read(&line).context("a report of the load generator")
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.process.signal(Signal::SIGINT)?;
        self.process.ended(SOON).await?;
        Ok(())
    }
}

impl Figures {
    fn read(line: &Value) -> Option<Self> {
        let number = |name: &str| line.get(name).and_then(Value::as_u64);
        let float = |name: &str| line.get(name).and_then(Value::as_f64);
        Some(Self {
            ok: number("ok")?,
            errors: number("errors")?,
            closed: number("connections_closed")?,
            rate: float("rate")?,
            p99_ms: float("p99_ms")?,
            by_kind: line.get("errors_by_kind").cloned().unwrap_or_default(),
        })
    }

    /// What went wrong, for the eye.
    pub(crate) fn problems(&self) -> Vec<String> {
        if self.errors == 0 { Vec::new() } else { vec![format!("errors: {}", self.by_kind)] }
    }
}
