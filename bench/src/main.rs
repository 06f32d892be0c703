//! Load with histograms that do not lie about stalls, and comparisons of proxies.

mod args;
mod count;
mod draw;
mod report;
mod rows;
mod run;
mod simulate;
mod steps;

use std::{fs, io::Write as _, net::Ipv4Addr};

use anyhow::{Context as _, bail};
use cellwall_bench::{
    Backend, ClosedLoop, Connections, Control, OpenLoop, Report, Target, closed_loop,
    compare::{self, Generator, Independent, Plan, ROWS, Settings},
    fleet, machine, network, open_loop, relay,
};
use clap::Parser as _;
use serde_json::{Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use crate::{
    args::{Args, Command, Compare, Load, LoadBy},
    rows::Cast,
};

// One thread: the servers under test need the other cores.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Load(load) => print(&json!({"report": Box::pin(run(&load)).await?})),
        Command::Backend { address } => backend(address).await,
        Command::Run(run) => print(&json!({"report": Box::pin(run::run(&run)).await?})),
        Command::Relay { listen, to } => {
            machine::open_files();
            relay(listen, to).await.context("listen")
        }
        Command::Compare(compare) => Box::pin(compared(&compare)).await,
        Command::Curves(args) => Box::pin(draw::curves(&args)).await,
        Command::Flames(args) => Box::pin(draw::flames(&args)).await,
        Command::Calls(args) => Box::pin(count::count(&args)).await,
        Command::Micro(args) => steps::micro(&args),
        Command::Repeat { row, repetitions } => steps::repeat(&row, repetitions),
        Command::PureSteps => steps::pure(),
        Command::Fleet(args) => Box::pin(simulate::simulate(&args)).await,
        Command::Lodge { listen, to } => {
            machine::open_files();
            fleet::lodge(&listen, &to).await.context("listen")
        }
        Command::Within { namespace, program, arguments } => {
            let error = network::within(&namespace, &program, &arguments);
            Err(error).with_context(|| program.display().to_string())
        }
        Command::Report { results, out, plots } => {
            report::report(&results, out.as_deref(), plots.as_deref())
        }
    }
}

/// Serves until SIGTERM or SIGINT.
async fn backend(address: Ipv4Addr) -> anyhow::Result<()> {
    machine::open_files();
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let backend = Backend::start_on(address).await.context("listen")?;
    let Backend { http, echo, bulk, strange, .. } = &backend;
    print(&json!({"http": http, "echo": echo, "bulk": bulk, "strange": strange}))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn compared(args: &Compare) -> anyhow::Result<()> {
    let rows = rows::named(ROWS, &args.rows, |row| row.name)?;
    are_times(args.seconds, args.warm_up)?;
    let Cast { contenders, programs } = Cast::of(&args.peers)?;
    let independent = match args.load {
        LoadBy::Own => None,
        LoadBy::Wrk => Some(Independent::find(Generator::Wrk, &programs).await?),
        LoadBy::H2load => Some(Independent::find(Generator::H2load, &programs).await?),
    };
    let plan = Plan {
        rows,
        contenders,
        programs,
        settings: Settings {
            rounds: args.rounds,
            seconds: args.seconds,
            warm_up_seconds: args.warm_up,
            idle_connections: args.idle,
            load: independent.as_ref().map_or_else(|| "own".to_owned(), |it| it.version.clone()),
        },
        network: args.network.into(),
        independent,
    };
    let stop = CancellationToken::new();
    let comparison = until_stopped(compare::compare(&plan, &stop), &stop).await??;
    let text = serde_json::to_vec_pretty(&comparison)?;
    fs::write(&args.out, text).with_context(|| args.out.display().to_string())?;
    let table = compare::table(&comparison);
    writeln!(std::io::stdout(), "{table}\nwritten: {}", args.out.display()).context("print")?;
    if comparison.conditions.was_stopped { bail!("stopped") } else { Ok(()) }
}

/// Lets something run to its end; SIGTERM and SIGINT ask it to end earlier: what has been measured is
/// written all the same.
async fn until_stopped<T>(
    running: impl Future<Output = T>,
    stop: &CancellationToken,
) -> anyhow::Result<T> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let mut running = Box::pin(running);
    loop {
        tokio::select! {
            output = &mut running => return Ok(output),
            _ = terminate.recv() => stop.cancel(),
            _ = interrupt.recv() => stop.cancel(),
        }
    }
}

/// Of a load, and of what comes before it.
fn are_times(seconds: f64, warm_up: f64) -> anyhow::Result<()> {
    let is_time = |seconds: f64| seconds.is_finite() && (0.0..=3600.0).contains(&seconds);
    if !is_time(seconds) || !is_time(warm_up) || seconds == 0.0 {
        bail!("seconds are between 0 and 3600");
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
