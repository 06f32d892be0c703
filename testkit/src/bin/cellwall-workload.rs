//! A small real service for tests and the demo.

use std::{collections::BTreeMap, io::Write as _, net::SocketAddr};

use anyhow::Context as _;
use cellwall_testkit::workload::{Workload, WorkloadConfig, args::Args};
use clap::Parser as _;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

fn main() -> anyhow::Result<()> {
    let config = Args::parse().into_config();
    let runtime = Runtime::new().context("start the runtime")?;
    let result = runtime.block_on(run(config));
    // Stdin is read by a thread that nobody can wake.
    runtime.shutdown_background();
    result
}

async fn run(config: WorkloadConfig) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let workload = Workload::start(config).await.context("start the workload")?;
    let addresses = json!({"listening": workload.address(), "stats": workload.stats_address()});
    writeln!(std::io::stdout(), "{addresses}").context("print the addresses")?;

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        result = destinations(&workload) => result?,
    }
    workload.stop().await;
    Ok(())
}

/// Follows stdin for as long as it has lines, and then for ever.
async fn destinations(workload: &Workload) -> anyhow::Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.context("read stdin")? {
        let destinations = serde_json::from_str::<BTreeMap<String, SocketAddr>>(&line);
        workload.reach(destinations.with_context(|| format!("destinations {line:?}"))?);
    }
    std::future::pending().await
}
