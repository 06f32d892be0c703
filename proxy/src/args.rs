//! What the operator typed. The only place that reads flags and the environment.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{Parser, Subcommand, ValueEnum};

/// The sidecar of one workload: mutual TLS in and out, each call authorized by SPIFFE ID.
#[derive(Clone, Debug, Parser)]
#[command(name = "cellwall-proxy", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the proxy can be asked to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM.
    Run(Args),
}

/// How TCP connections travel between sidecars.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum TcpSessions {
    /// Many as streams of one session.
    Shared,
    /// Each in a session of its own.
    Own,
}

/// Options of `run`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// [PORT@]LISTEN=WORKLOAD: where other sidecars connect, and where our workload listens on
    /// loopback. What is spoken there is what the policy's `listens` says of PORT; a workload with
    /// one listener needs none. May be repeated, once for each port.
    #[arg(long, value_name = "[PORT@]LISTEN=WORKLOAD", required = true)]
    pub inbound: Vec<String>,

    /// PORT=[ENV/]WORKLOAD[:PORT][@[streams:]ADDR,...]: a local port for one destination, with its
    /// declared port where it has several; at these addresses, or wherever the control plane says.
    /// `streams:` where the sidecar there takes TCP connections as streams. Port 0 takes a free one. May
    /// be repeated.
    #[arg(long, value_name = "PORT=DESTINATION")]
    pub outbound: Vec<String>,

    /// LISTEN=WORKLOAD: where the node may ask for what the policy lists under `probes`, in plain
    /// HTTP and without an identity, and the workload's HTTP port on loopback. Only the status is
    /// handed on. Off by default.
    #[arg(long, value_name = "LISTEN=WORKLOAD")]
    pub probes: Option<String>,

    /// Who may ask there besides this host itself: the node's address, as Kubernetes gives it in
    /// `status.hostIP`. May be repeated.
    #[arg(long, value_name = "IP", requires = "probes")]
    pub probes_from: Vec<IpAddr>,

    /// Health, metrics and configuration; loopback only.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15020")]
    pub admin: SocketAddr,

    /// The control plane, HOST:PORT.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7443")]
    pub control: String,

    /// The public half of the policy-signing key, PEM, as `cellwalld init` wrote it.
    #[arg(long, value_name = "FILE")]
    pub policy_key: PathBuf,

    /// Keeps the last policy, so that a restart serves while the control plane is away; made with
    /// mode 0700 if absent, one for each sidecar. Without it such a restart denies.
    #[arg(long, value_name = "DIR", env = "CELLWALL_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// The SPIFFE Workload API: `unix:/path` or `tcp://IP:PORT`.
    #[arg(long, value_name = "URI", env = "SPIFFE_ENDPOINT_SOCKET", hide_env_values = true)]
    pub workload_api: String,

    /// The one SPIFFE ID to take when the Workload API offers several; the first one otherwise.
    #[arg(long, value_name = "ID")]
    pub spiffe_id: Option<String>,

    /// The address that others reach our inbound listener at; with several listeners once for each,
    /// in their order. By default the listener's own, with the address that we reach the control
    /// plane from in place of 0.0.0.0.
    #[arg(long, value_name = "ADDR")]
    pub advertise: Vec<SocketAddr>,

    /// http://IP:PORT: a collector of spans on this host (OTLP over gRPC, loopback only). Sampled are
    /// the calls whose callers say so in `traceparent`. Off by default.
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,

    /// The share, from 0 to 1, of calls that come without a trace for which one is begun.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, requires = "otlp")]
    pub trace_ratio: f64,

    /// How TCP connections travel between sidecars: as streams of a session that many share, wherever
    /// the other side takes them so, or each in a session of its own.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = TcpSessions::Shared)]
    pub tcp_sessions: TcpSessions,

    /// Connections at once in each direction. More wait in the kernel's queue.
    #[arg(long, value_name = "N", default_value_t = 8192)]
    pub max_connections: usize,

    /// Seconds that calls in progress may take after SIGTERM.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub drain_seconds: u64,

    /// Threads that carry calls. One is the cheapest for each call: what comes together leaves
    /// together.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,

    /// What to log: LEVEL or TARGET=LEVEL, separated by commas.
    #[arg(
        long,
        value_name = "FILTER",
        env = "CELLWALL_LOG",
        hide_env_values = true,
        default_value = "info"
    )]
    pub log: String,
}
