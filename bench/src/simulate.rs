//! `cellwall-bench fleet`: a fleet before one control plane.

use std::{fs, io::Write as _};

use anyhow::{Context as _, bail};
use cellwall_bench::{
    fleet::{self, Plan, Size},
    machine,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Fleet;

pub(crate) async fn simulate(args: &Fleet) -> anyhow::Result<()> {
    let files = machine::open_files();
    let agents = args.agents.unwrap_or_else(|| Size::agents_here(args.workloads));
    let size = Size {
        proxies: args.proxies,
        agents,
        workloads: args.workloads,
        rules: args.rules,
        destinations: args.destinations,
        pushes: args.pushes,
        ttl_seconds: args.ttl.as_secs(),
    };
    writeln!(
        std::io::stderr(),
        "{} sidecars, {} agents; a process may have {files} open files",
        size.proxies,
        size.agents
    )
    .context("print")?;
    let plan = Plan { size, programs: args.programs.clone(), deadline: args.deadline };
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    // Cutting it ends all that it started.
    let fleet = tokio::select! {
        fleet = fleet::fleet(&plan) => fleet?,
        _ = terminate.recv() => bail!("stopped"),
        _ = interrupt.recv() => bail!("stopped"),
    };
    let text = serde_json::to_vec_pretty(&fleet)?;
    fs::write(&args.out, text).with_context(|| args.out.display().to_string())?;
    let table = fleet::table(&fleet);
    writeln!(std::io::stdout(), "{table}\nwritten: {}", args.out.display()).context("print")
}
