//! cellwall-proxy: the sidecar.

use std::process::ExitCode;

use cellwall_proxy::{
    app,
    args::{Cli, Command},
};
use clap::Parser as _;
use mimalloc::MiMalloc;

/// A call allocates some fifty times, most of it less than a kilobyte. Built without huge pages
/// (`no_thp`): at rest a sidecar has few MiB, and each of them would be two.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let Command::Run(args) = Cli::parse().command;
    match app::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cellwall-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}
