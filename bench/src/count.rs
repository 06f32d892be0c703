//! `cellwall-bench calls`: the system calls of one call.

use std::{fs, io::Write as _};

use anyhow::{Context as _, bail};
use cellwall_bench::{
    calls::{self, Plan, SHAPES},
    machine,
    peer::contenders,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Calls, Counter};

pub(crate) async fn count(args: &Calls) -> anyhow::Result<()> {
    machine::open_files();
    let find = |name: &String| {
        let names = || SHAPES.iter().map(|shape| shape.name).collect::<Vec<_>>().join(", ");
        let shape = SHAPES.iter().find(|shape| shape.name == *name);
        shape.with_context(|| format!("no row {name}; there are {}", names()))
    };
    let shapes = match args.rows.as_slice() {
        [] => SHAPES.iter().collect(),
        names => names.iter().map(find).collect::<anyhow::Result<Vec<_>>>()?,
    };
    if !args.seconds.is_finite() || !(0.01..=3600.0).contains(&args.seconds) {
        bail!("seconds are between 0.01 and 3600");
    }
    let folders = args.programs.iter().map(fs::canonicalize).collect::<Result<Vec<_>, _>>();
    let plan = Plan {
        shapes,
        contenders: contenders(&fs::canonicalize(&args.peers_folder)?, &args.peers)?,
        programs: folders.context("--programs")?,
        counter: args.counter.map(|counter| match counter {
            Counter::Perf => calls::Counter::Perf,
            Counter::Strace => calls::Counter::Strace,
        }),
        seconds: args.seconds,
        sequence: args.sequence.clone(),
    };
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    // Cutting it ends all that it started.
    let counted = tokio::select! {
        counted = calls::calls(&plan) => counted?,
        _ = terminate.recv() => bail!("stopped"),
        _ = interrupt.recv() => bail!("stopped"),
    };
    let text = serde_json::to_vec_pretty(&counted)?;
    fs::write(&args.out, text).with_context(|| args.out.display().to_string())?;
    let table = calls::table(&counted);
    writeln!(std::io::stdout(), "{table}\nwritten: {}", args.out.display()).context("print")
}
