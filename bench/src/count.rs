//! `cellwall-bench calls`: the system calls of one call.

use std::{fs, io::Write as _};

use anyhow::{Context as _, bail};
use cellwall_bench::{
    calls::{self, Plan, SHAPES},
    machine,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    args::{Calls, Counter},
    rows::{self, Cast},
};

pub(crate) async fn count(args: &Calls) -> anyhow::Result<()> {
    machine::open_files();
    let shapes = rows::named(SHAPES, &args.rows, |shape| shape.name)?;
    if !args.seconds.is_finite() || !(0.01..=3600.0).contains(&args.seconds) {
        bail!("seconds are between 0.01 and 3600");
    }
    let Cast { contenders, programs } = Cast::of(&args.peers)?;
    let plan = Plan {
        shapes,
        contenders,
        programs,
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
