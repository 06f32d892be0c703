//! What can be typed, and which settings come from the environment.

use std::{io::IsTerminal, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

/// Policies, identities and sidecars of a Cellwall mesh.
#[derive(Debug, Parser)]
#[command(
    name = "cellwall",
    version,
    after_help = "Exit codes: 0 done, 1 could not do it, 2 wrong usage, 3 found something, 5 denied."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// How data is printed. Tables may change between releases, JSON only grows.
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
    /// The operators' socket of cellwalld.
    #[arg(
        long,
        global = true,
        env = "CELLWALL_SOCKET",
        value_name = "PATH",
        default_value = "./cellwall-data/operator.sock"
    )]
    pub(crate) socket: PathBuf,
    /// Colours; `auto` is a terminal without NO_COLOR and with a TERM other than `dumb`.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: When,
    /// Only data and errors, no hints.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum When {
    /// As the terminal and the environment say.
    Auto,
    /// Also into files and pipes.
    Always,
    /// Not at all.
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The policy files, and what is in force.
    #[command(subcommand)]
    Policy(Policy),
    /// Why a call is allowed or denied, or what a code means.
    Explain {
        /// `ENV/A -> ENV/B CALL`, with CALL `METHOD /path`, `pkg.Service/Method` or `tcp:PORT`;
        /// or a code such as CW0104.
        question: String,
        /// Ask the files in this folder instead of the policy in force.
        #[arg(long, value_name = "DIR")]
        policy: Option<PathBuf>,
    },
    /// The identities of the workloads.
    #[command(subcommand)]
    Identity(Identity),
    /// The sidecars.
    #[command(subcommand)]
    Proxy(Proxy),
    /// The version of this program.
    Version,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Check the files and run their tests, without a server.
    Validate {
        /// The folder of cellwall.yaml.
        #[arg(default_value = "policy")]
        dir: PathBuf,
    },
    /// Run the tests in the files, without a server.
    Test {
        /// The folder of cellwall.yaml.
        #[arg(default_value = "policy")]
        dir: PathBuf,
    },
    /// Put the files in force.
    Apply {
        /// The folder of cellwall.yaml.
        #[arg(default_value = "policy")]
        dir: PathBuf,
        /// Why; it is kept with the version.
        #[arg(short, long, value_name = "MSG", default_value = "")]
        message: String,
        /// Wait until every connected sidecar enforces the version, at most 30 s.
        #[arg(long)]
        wait: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Identity {
    /// Every identity, who holds it, and when it renews.
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Proxy {
    /// Every connected sidecar, and which policy it enforces.
    Status,
}

/// Reads the command line, or prints why not and ends the program with code 2.
pub(crate) fn parse() -> Args {
    Args::parse()
}

impl Global {
    /// Whether to paint what goes to `stream`.
    pub(crate) fn paints(&self, stream: &impl IsTerminal) -> bool {
        match self.color {
            When::Always => true,
            When::Never => false,
            When::Auto => {
                let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
                let dumb = set("TERM").is_some_and(|term| term == "dumb");
                stream.is_terminal() && set("NO_COLOR").is_none() && !dumb
            }
        }
    }
}
