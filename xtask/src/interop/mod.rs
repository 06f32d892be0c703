//! `cargo interop`: independent peers against the running pieces. What could not be had is named;
//! a leg that did not run is not counted as passed.

mod envoy;
mod legs;
mod peers;
pub(crate) mod ready;
mod rivals;
pub(crate) mod verdicts;

use std::process::ExitCode;

use crate::cargo::{self, Profile};

pub(crate) use legs::run_all;
pub(crate) use rivals::{perf, rivals};

/// Options of `cargo interop`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these legs.
    legs: Vec<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let programs = cargo::build(Profile::Dev)?;
    let mut legs = run_all(&programs)?;
    let judged = verdicts::run_all(&programs)?;
    let table = verdicts::table(&judged);
    legs.extend(judged.into_iter().map(|judged| judged.leg));
    legs.retain(|leg| args.legs.is_empty() || args.legs.iter().any(|name| name == leg.peer));
    let (mut passed, mut failed, mut absent) = (0, 0, 0);
    for leg in &legs {
        leg.print();
        match leg.held() {
            Some(true) => passed += 1,
            Some(false) => failed += 1,
            None => absent += 1,
        }
    }
    println!("{table}");
    let rivals = rivals(&programs)?;
    println!("proxies to be measured beside ours: {}", rivals.folder.display());
    for (name, why) in &rivals.absent {
        println!("{name}: not there: {why}");
    }
    println!("{absent} legs did not run");
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
