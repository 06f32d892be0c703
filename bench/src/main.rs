//! Load with histograms that do not lie about stalls.

mod args;
mod run;

use std::io::Write as _;

use anyhow::Context as _;
use cellwall_bench::{
    Backend, ClosedLoop, Connections, Control, Loopback, OpenLoop, Report, Target, closed_loop,
    machine, open_loop, relay,
};
use clap::Parser as _;
use serde_json::{Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use crate::args::{Args, Command, Load};

// One thread: the servers under test need the other cores.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Load(load) => print(&json!({"report": Box::pin(run(&load)).await?})),
        Command::Backend => backend().await,
        Command::Run(run) => print(&json!({"report": Box::pin(run::run(&run)).await?})),
        Command::Relay { listen, to } => {
            machine::open_files();
            relay(listen, Loopback::new(to)?).await.context("listen")
        }
    }
}

/// Serves until SIGTERM or SIGINT.
async fn backend() -> anyhow::Result<()> {
    machine::open_files();
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let backend = Backend::start().await.context("listen")?;
    let Backend { http, echo, bulk, .. } = &backend;
    print(&json!({"http": http, "echo": echo, "bulk": bulk}))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn run(load: &Load) -> anyhow::Result<Report> {
    let target = target(load)?;
    let stop = CancellationToken::new();
    // A reader that is slower than once a second loses lines.
    let (sender, mut lines) = mpsc::channel(4);
    let control = Control { stop: stop.clone(), progress: load.progress.then_some(sender) };
    let mut running = Box::pin(start(load, target, control));
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    loop {
        tokio::select! {
            report = &mut running => return report,
            Some(progress) = lines.recv() => print(&json!({"progress": progress}))?,
            _ = terminate.recv() => stop.cancel(),
            _ = interrupt.recv() => stop.cancel(),
        }
    }
}

fn target(load: &Load) -> anyhow::Result<Target> {
    let target = if load.beyond_loopback {
        Target::beyond_loopback(load.target, &load.call)?
    } else {
        Target::new(load.target, &load.call).context("--target")?
    };
    let target = target.body(load.body.clone()).timeout(load.timeout);
    Ok(load.headers.iter().try_fold(target, |target, header| target.header(header))?)
}

async fn start(load: &Load, target: Target, control: Control) -> anyhow::Result<Report> {
    let duration = load.duration;
    let Some(clients) = load.clients else {
        let load = OpenLoop { rate: load.rate, connections: load.connections, duration };
        return Ok(open_loop(target, load, control).await?);
    };
    let connections =
        if load.new_connections { Connections::PerRequest } else { Connections::Kept };
    Ok(closed_loop(target, ClosedLoop { clients, connections, duration }, control).await?)
}

fn print(line: &Value) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").context("print")?;
    stdout.flush().context("print")
}
