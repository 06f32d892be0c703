//! The flags of `cellwall-bench`.

use std::{net::SocketAddr, time::Duration};

use clap::{Parser, Subcommand};

/// Load, with figures that can be trusted.
#[derive(Debug, Parser)]
#[command(name = "cellwall-bench", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sends one HTTP/1.1 request again and again. Prints one JSON line: {"report": {...}}.
    Load(Load),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Load {
    /// The server.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) target: SocketAddr,

    /// The request.
    #[arg(long, value_name = "METHOD /PATH", default_value = "GET /")]
    pub(crate) call: String,

    /// A header of the request. May repeat.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,

    /// The body of the request.
    #[arg(long, default_value = "")]
    pub(crate) body: String,

    /// Requests per second: an open loop. Latencies count from the intended start.
    #[arg(long, default_value_t = 100.0)]
    pub(crate) rate: f64,

    /// Keep-alive connections of the open loop.
    #[arg(long, default_value_t = 8)]
    pub(crate) connections: usize,

    /// A closed loop instead, of so many clients that never pause.
    #[arg(long, conflicts_with_all = ["rate", "connections"])]
    pub(crate) clients: Option<usize>,

    /// A new connection for each request of the closed loop.
    #[arg(long, requires = "clients")]
    pub(crate) new_connections: bool,

    /// How long, for example `30s`; until SIGINT or SIGTERM by default.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) duration: Option<Duration>,

    /// How long one answer may take.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,

    /// Prints one JSON line each second: {"progress": {...}}.
    #[arg(long)]
    pub(crate) progress: bool,

    /// Allows a target on another machine. Only with its owner's consent.
    #[arg(long)]
    pub(crate) beyond_loopback: bool,
}
