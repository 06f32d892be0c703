//! `cellwall-bench curves` and `flames`.

use std::{fs, io::Write as _, path::PathBuf};

use anyhow::{Context as _, bail};
use cellwall_bench::{
    compare::{ROWS, Settings},
    curves::{self, Extent, Plan},
    flames,
    peer::Contender,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    are_times,
    args::{self, Ours, Peers},
    rows::{self, Cast},
    until_stopped,
};

pub(crate) async fn curves(args: &args::Curves) -> anyhow::Result<()> {
    are_times(args.seconds, args.warm_up)?;
    if args.rounds == 0 {
        bail!("--rounds must be above 0");
    }
    let (ours, programs) = ours(&args.ours)?;
    let dark = args.without_telemetry.as_ref().map(fs::canonicalize).transpose();
    let plan = Plan {
        names: args.curves.clone(),
        ours,
        programs,
        dark: dark.context("--without-telemetry")?,
        settings: Settings {
            rounds: args.rounds,
            seconds: args.seconds,
            warm_up_seconds: args.warm_up,
            idle_connections: 0,
            load: "own".to_owned(),
        },
        network: args.network.into(),
        extent: if args.ends { Extent::Ends } else { Extent::All },
    };
    let stop = CancellationToken::new();
    let drawn = until_stopped(curves::curves(&plan, &stop), &stop).await??;
    let text = serde_json::to_vec_pretty(&drawn)?;
    fs::write(&args.out, text).with_context(|| args.out.display().to_string())?;
    let table = curves::table(&drawn);
    writeln!(std::io::stdout(), "{table}\nwritten: {}", args.out.display()).context("print")?;
    if drawn.conditions.was_stopped { bail!("stopped") } else { Ok(()) }
}

pub(crate) async fn flames(args: &args::Flames) -> anyhow::Result<()> {
    are_times(args.seconds, 0.0)?;
    let usual = flames::USUAL.map(str::to_owned);
    let names = if args.rows.is_empty() { &usual[..] } else { &args.rows };
    let (ours, programs) = ours(&args.ours)?;
    fs::create_dir_all(&args.folder).with_context(|| args.folder.display().to_string())?;
    let plan = flames::Plan {
        rows: rows::named(ROWS, names, |row| row.name)?,
        ours,
        programs,
        network: args.network.into(),
        seconds: args.seconds,
        folder: args.folder.clone(),
    };
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    // Cutting it ends all that it started.
    let drawn = tokio::select! {
        drawn = flames::flames(&plan) => drawn?,
        _ = terminate.recv() => bail!("stopped"),
        _ = interrupt.recv() => bail!("stopped"),
    };
    let text = serde_json::to_vec_pretty(&drawn)?;
    fs::write(&args.out, text).with_context(|| args.out.display().to_string())?;
    let table = flames::table(&drawn);
    writeln!(std::io::stdout(), "{table}\nwritten: {}", args.out.display()).context("print")
}

/// Our pair, and where its programs are.
fn ours(args: &Ours) -> anyhow::Result<(Contender, Vec<PathBuf>)> {
    let Ours { peers_folder, programs } = args;
    let (peers_folder, programs) = (peers_folder.clone(), programs.clone());
    let peers = Peers { peers: vec!["ours".to_owned()], peers_folder, programs };
    let Cast { contenders, programs } = Cast::of(&peers)?;
    Ok((contenders.into_iter().next().context("ours")?, programs))
}
