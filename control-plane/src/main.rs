//! cellwalld: the identity vault, the policy book and their distribution.

use std::{io::Write, process::ExitCode};

use anyhow::Context as _;
use cellwall_control_plane::{
    app,
    args::{Cli, Command, EpochCommand},
    hardening::harden,
    logging, offline,
};
use clap::Parser as _;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cellwalld: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    harden().context("hardening the process")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("starting the runtime")?;
    match command {
        Command::Init(args) => {
            let next_steps = runtime.block_on(offline::init(args.try_into()?))?;
            // The trust domain stands, whether anybody reads this or not.
            let _ = std::io::stdout().write_all(next_steps.as_bytes());
            Ok(())
        }
        Command::Epoch(EpochCommand::Raise(args)) => {
            let said = runtime.block_on(offline::raise_epoch(args.try_into()?))?;
            // The epoch stands, whether anybody reads this or not.
            let _ = std::io::stdout().write_all(said.as_bytes());
            Ok(())
        }
        Command::Run(args) => {
            logging::init(&args.log)?;
            runtime.block_on(app::run(args.try_into()?))
        }
    }
}
