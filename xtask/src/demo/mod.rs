//! `cargo demo`: seven payment services as real processes, each with its own sidecar, one control
//! plane, one load generator. Loopback only, no root needed.

mod acts;
mod town;
mod traffic;

use std::{path::Path, process::ExitCode, time::Instant};

use indicatif::ProgressBar;

use crate::{
    cargo::{self, Profile},
    check::Tally,
};
use acts::Act;
use town::Town;

pub(crate) use town::mesh;

/// Options of `cargo demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Check each act and end: 0 when all hold, 3 when one does not.
    #[arg(long)]
    script: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let programs = cargo::build(Profile::Dev)?;
    let ending = if args.script { Ending::Stop } else { Ending::KeepRunning };
    let tally = play(&programs, ending)?;
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

/// The acts, checked; for `cargo check-all`.
pub(crate) fn script(programs: &Path) -> anyhow::Result<Tally> {
    play(programs, Ending::Stop)
}

/// What happens after the last act.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    Stop,
    KeepRunning,
}

fn play(programs: &Path, ending: Ending) -> anyhow::Result<Tally> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            tally = perform(programs, ending) => tally,
            // Dropping the mesh ends every process and removes its folder.
            interrupt = tokio::signal::ctrl_c() => {
                interrupt?;
                println!("interrupted: everything is stopped and removed");
                Ok(Tally::default())
            }
        }
    })
}

async fn perform(programs: &Path, ending: Ending) -> anyhow::Result<Tally> {
    let started = Instant::now();
    let waiting = ProgressBar::new_spinner().with_message("starting 16 processes");
    waiting.enable_steady_tick(std::time::Duration::from_millis(100));
    let mut town = Town::start(programs).await?;
    waiting.finish_and_clear();
    town.introduce(started.elapsed()).await?;
    let acts = all_acts(&mut town).await;
    let mut tally = Tally::default();
    println!();
    for act in acts {
        if let Err(error) = &act {
            println!("FAIL   an act could not be played: {error:#}");
        }
        tally.add(Tally::one(act.is_ok_and(|act| act.held)));
    }
    println!("{} of {} acts hold.", tally.passed, tally.passed + tally.failed);
    if tally.failed > 0 {
        println!("logs: {}", town.mesh.keep_folder().display());
    }
    if ending == Ending::KeepRunning {
        town.your_turn();
        std::future::pending::<()>().await;
    }
    town.stop().await?;
    Ok(tally)
}

async fn all_acts(town: &mut Town) -> [anyhow::Result<Act>; 7] {
    [
        acts::payments_flow(town).await,
        acts::an_intruder(town).await,
        acts::no_identity(town).await,
        acts::hot_rotation(town).await,
        acts::a_live_edit(town).await,
        acts::without_control(town).await,
        acts::the_witness(town).await,
    ]
}

/// What an act is about, for the eye.
fn announce(act: &Act) {
    println!("{:<72}{}", act.title, if act.held { "ok" } else { "FAIL" });
    for line in &act.figures {
        println!("       {line}");
    }
}
