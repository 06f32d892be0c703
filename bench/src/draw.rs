//! `cellwall-bench curves`, and `report`, which makes pages of results.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use cellwall_bench::{
    compare::{Comparison, Settings},
    curves::{self, Curves, Extent, Plan},
    page::{curves_page, page},
};
use serde::de::DeserializeOwned;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    are_times,
    args::{self, Peers},
    rows::Cast,
};

pub(crate) async fn curves(args: &args::Curves) -> anyhow::Result<()> {
    are_times(args.seconds, args.warm_up)?;
    if args.rounds == 0 {
        bail!("--rounds must be above 0");
    }
    let peers = Peers {
        peers: vec!["ours".to_owned()],
        peers_folder: args.peers_folder.clone(),
        programs: args.programs.clone(),
    };
    let Cast { contenders, programs } = Cast::of(&peers)?;
    let dark = args.without_telemetry.as_ref().map(fs::canonicalize).transpose();
    let plan = Plan {
        names: args.curves.clone(),
        ours: contenders.into_iter().next().context("ours")?,
        programs,
        dark: dark.context("--without-telemetry")?,
        settings: Settings {
            rounds: args.rounds,
            seconds: args.seconds,
            warm_up_seconds: args.warm_up,
            idle_connections: 0,
        },
        extent: if args.ends { Extent::Ends } else { Extent::All },
    };
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let stop = CancellationToken::new();
    let mut running = Box::pin(curves::curves(&plan, &stop));
    let drawn = loop {
        tokio::select! {
            drawn = &mut running => break drawn?,
            // What has been measured is written all the same.
            _ = terminate.recv() => stop.cancel(),
            _ = interrupt.recv() => stop.cancel(),
        }
    };
    let text = serde_json::to_vec_pretty(&drawn)?;
    fs::write(&args.out, text).with_context(|| args.out.display().to_string())?;
    let table = curves::table(&drawn);
    writeln!(std::io::stdout(), "{table}\nwritten: {}", args.out.display()).context("print")?;
    if drawn.was_stopped { bail!("stopped") } else { Ok(()) }
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
