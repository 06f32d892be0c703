//! The project's own commands: `cargo demo`, `cargo check-all`, `cargo evidence`, `cargo interop`,
//! `cargo hygiene`, `cargo instructions`.

mod cargo;
mod check;
mod demo;
mod evidence;
mod hygiene;
mod instructions;
mod interop;
mod suites;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo", bin_name = "cargo")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Seven payment services with their sidecars and a control plane, on loopback, without root.
    Demo(demo::Args),
    /// Every test: format, lints, unit, end to end, the demo's acts.
    CheckAll(check::Args),
    /// What an issue asks to show, run afresh: `cargo evidence slice 2`.
    Evidence(evidence::Args),
    /// Independent peers from the package registries, against the running pieces.
    Interop(interop::Args),
    /// Dependencies: advisories, licences, a list of them for each program; builds compared.
    Hygiene(hygiene::Args),
    /// Instructions of the pure steps of a call, under callgrind, against those written down.
    Instructions(instructions::Args),
    /// Runs fuzz targets beside each other for some minutes and writes fuzz/ledger.json.
    Fuzz {
        /// At least 30 for the ledger to hold.
        minutes: u32,
        /// Which; default: all.
        targets: Vec<String>,
    },
    /// Measures the mesh of the demo at rest, with the programs of `CELLWALL_BIN_DIR`.
    #[command(hide = true)]
    AtRest,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::CheckAll(args) => check::run(&args),
        Command::Evidence(args) => evidence::run(&args),
        Command::Interop(args) => interop::run(&args),
        Command::Hygiene(args) => hygiene::run(&args),
        Command::Instructions(args) => instructions::run(&args),
        Command::Fuzz { minutes, targets } => evidence::fuzzed(minutes, &targets),
        Command::AtRest => evidence::at_rest(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
