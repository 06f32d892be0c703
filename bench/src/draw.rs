//! `cellwall-bench curves` and `flames`, and `report`, which makes pages of results.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use cellwall_bench::{
    compare::{Comparison, ROWS, Settings},
    curves::{self, Curves, Extent, Plan},
    flames,
    page::{curves_page, page},
    peer::Contender,
};
use serde::de::DeserializeOwned;
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

/// A page of comparisons, or one of curves: which it is, the first result says.
pub(crate) fn report(results: &[PathBuf], out: &Path) -> anyhow::Result<()> {
    let first = results.first().context("no result")?;
    let text = fs::read(first).with_context(|| first.display().to_string())?;
    let text = if serde_json::from_slice::<Curves>(&text).is_ok() {
        curves_page(&all(results)?)
    } else {
        page(&all::<Comparison>(results)?)
    };
    fs::write(out, text).with_context(|| out.display().to_string())
}

fn all<T: DeserializeOwned>(results: &[PathBuf]) -> anyhow::Result<Vec<(String, T)>> {
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let result = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, result))
    };
    results.iter().map(read).collect()
}
