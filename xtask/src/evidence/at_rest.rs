//! The mesh of the demo at rest: memory of each process, and how long a sidecar takes to serve.
//!
//! A process of its own, because the programs that it starts are those of its environment.

use std::{
    fs,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use cellwall_testkit::{client, mesh::Mesh};
use serde::{Deserialize, Serialize};

use crate::demo;

/// A member that only calls: no workload has to be told of its new ports.
const RESTARTED: &str = "prod/gateway";

/// How often it is restarted.
const STARTS: usize = 7;

/// What was measured.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct AtRest {
    /// Resident memory of each sidecar, KiB.
    pub(super) proxies: Vec<u64>,
    /// Resident memory of the control plane, KiB.
    pub(super) control: u64,
    /// From the start of a sidecar to the first call that it served, identity and policy
    /// included, milliseconds.
    pub(super) starts: Vec<f64>,
}

/// Prints the figures as JSON.
pub(crate) fn at_rest() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let figures = runtime.block_on(measure())?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(ExitCode::SUCCESS)
}

async fn measure() -> anyhow::Result<AtRest> {
    let mut mesh = Mesh::start(demo::mesh()?).await?;
    order(&mesh).await?;
    let members = mesh.members().values();
    let proxies: Vec<u64> = members.map(|member| rss(member.sidecar.process.id())).collect();
    let control = rss(mesh.control.process.id());
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let gateway = &mut mesh.member_mut(RESTARTED)?.sidecar.process;
        gateway.stop(Duration::from_secs(10)).await?;
        let started = Instant::now();
        mesh.restart_sidecar(RESTARTED).await?;
        order(&mesh).await?;
        starts.push((started.elapsed().as_secs_f64() * 10_000.0).round() / 10.0);
    }
    ensure!(mesh.witness()?.violations.is_empty(), "the origin witness saw a violation");
    mesh.stop().await?;
    Ok(AtRest { proxies, control, starts })
}

/// One payment through all seven services.
async fn order(mesh: &Mesh) -> anyhow::Result<()> {
    let port = mesh.member(RESTARTED)?.sidecar.outbound.get("checkout").copied();
    let answer = client::request(port.context("no port")?, "POST /v1/orders").await?;
    ensure!(answer.status() == 200, "{answer:?}");
    Ok(())
}

/// Resident memory, KiB; 0 when the process is gone.
fn rss(process: u32) -> u64 {
    let status = Path::new("/proc").join(process.to_string()).join("status");
    let text = fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
