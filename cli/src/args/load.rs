//! The flags of `cellwall load`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum Load {
    /// Send calls through sidecars by a fixed schedule, with `cellwall-bench`. Ends with 3 where a
    /// call failed.
    Run(Run),
    /// Show a saved result, or what has changed from one to another.
    Report {
        /// The earlier result.
        #[arg(value_name = "A.json")]
        before: PathBuf,
        /// The later one.
        #[arg(value_name = "B.json")]
        after: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Where the caller's sidecar listens for the callee: its `--outbound`. The control plane does
    /// not know it.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) via: SocketAddr,
    /// The callee's own listener, for `--compare direct`.
    #[arg(long, value_name = "IP:PORT", requires = "compare")]
    pub(crate) direct: Option<SocketAddr>,
    /// Beside what the calls are sent, too.
    #[arg(long, value_enum, value_name = "WHAT", requires = "direct")]
    pub(crate) compare: Option<Compare>,
    /// Who calls. With --to cellwalld is asked whether sidecars of both are connected, and which
    /// policy they enforce.
    #[arg(long, value_name = "[ENV/]WORKLOAD", requires = "to")]
    pub(crate) from: Option<String>,
    /// Who is called.
    #[arg(long, value_name = "[ENV/]WORKLOAD", requires = "from")]
    pub(crate) to: Option<String>,
    /// The call.
    #[arg(long, value_name = "METHOD /PATH", default_value = "GET /")]
    pub(crate) call: String,
    /// A header of it. May repeat.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// Calls a second, whether or not earlier ones have been answered.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) rate: u32,
    /// For how long, each way.
    #[arg(long = "for", value_name = "DURATION", default_value = "10s")]
    pub(crate) duration: String,
    /// Connections that are kept.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) connections: u32,
    /// A sidecar's process on this machine, whose CPU and memory are told. May repeat.
    #[arg(long = "pid", value_name = "PID")]
    pub(crate) pids: Vec<u32>,
    /// The result; `load-TIME.json` here by default.
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    /// Allows addresses on other machines. Only with their owners' consent.
    #[arg(long)]
    pub(crate) beyond_loopback: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Compare {
    /// The same calls without proxies.
    Direct,
}
