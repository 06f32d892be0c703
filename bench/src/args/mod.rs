//! The flags of `cellwall-bench`.

mod fleet;
mod network;

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{ArgGroup, Parser, Subcommand, ValueEnum};

pub(crate) use self::{fleet::Fleet, network::Network};

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
    /// Serves 100 bytes over HTTP/1.1, HTTP/2 and gRPC, an echo, and bytes without end, on free ports.
    /// Prints one JSON line with them.
    Backend {
        /// Where.
        #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
        address: Ipv4Addr,
    },
    /// Loads such a backend, or proxies before one, and checks every answer. Prints one JSON line:
    /// {"report": {...}}.
    Run(Run),
    /// Passes TCP connections on, without TLS.
    Relay {
        /// Where.
        #[arg(long, value_name = "IP:PORT")]
        listen: SocketAddr,
        /// Whereto.
        #[arg(long, value_name = "IP:PORT")]
        to: SocketAddr,
    },
    /// Measures our sidecars and the proxies of others in turn, on the same load.
    Compare(Compare),
    /// Measures what ours cost as something grows or changes, and plots it.
    Curves(Curves),
    /// Draws where the time of ours goes, by perf.
    Flames(Flames),
    /// Counts the system calls of one call, on the caller's side and on the callee's.
    Calls(Calls),
    /// Measures what one step of a call costs, in this process.
    Micro(Micro),
    /// Does one of these steps so often, for callgrind. Prints the nanoseconds of one.
    Repeat {
        /// Which.
        row: String,
        /// How often.
        repetitions: u32,
    },
    /// Lists the steps whose instructions can be counted, one a line.
    PureSteps,
    /// Simulates thousands of sidecars and clients of the Workload API before one `cellwalld`.
    Fleet(Fleet),
    /// Passes connections on to another socket until its input ends: a process of `fleet`.
    #[command(hide = true)]
    Lodge {
        /// Where.
        #[arg(long, value_name = "PATH")]
        listen: PathBuf,
        /// Whereto.
        #[arg(long, value_name = "PATH")]
        to: PathBuf,
    },
    /// Becomes another program in a network namespace: how the callee's side is started.
    #[command(hide = true)]
    Within {
        /// Which.
        #[arg(value_name = "PATH")]
        namespace: PathBuf,
        /// Which program.
        program: PathBuf,
        /// What it is told.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Makes plots of what `compare`, or `curves`, wrote: one HTML page, or files of their own.
    #[command(group = ArgGroup::new("to").required(true).multiple(true).args(["out", "plots"]))]
    Report {
        /// Results. Several of one kind stand beside each other on the page.
        #[arg(required = true, value_name = "JSON")]
        results: Vec<PathBuf>,
        /// The page.
        #[arg(long, value_name = "HTML")]
        out: Option<PathBuf>,
        /// The folder for SVG files, one for each plot of a book. Files of the same names are replaced.
        #[arg(long, value_name = "FOLDER")]
        plots: Option<PathBuf>,
    },
}

/// What [`Run`] sends.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// HTTP/1.1 on connections that are kept.
    Http1,
    /// HTTP/1.1 on a new connection for each request.
    Http1New,
    /// `GET` over HTTP/2.
    Http2,
    /// Unary gRPC calls.
    Grpc,
    /// Messages to an echo on connections that are kept.
    Tcp,
    /// Messages to an echo on a new connection each.
    TcpNew,
    /// Bytes from the server.
    Down,
    /// Bytes to the server.
    Up,
    /// Bytes from the server, read slowly.
    Slow,
    /// Connections that rest after one request of HTTP/1.1.
    IdleHttp,
    /// Connections that rest after one message to an echo.
    IdleTcp,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// What is sent.
    pub(crate) kind: Kind,

    /// The server, on loopback.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) target: SocketAddr,

    /// Connections at once.
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: usize,

    /// Streams on each connection of HTTP/2.
    #[arg(long, default_value_t = 32)]
    pub(crate) streams: usize,

    /// Bytes that a slow reader takes ten times a second.
    #[arg(long, default_value_t = 1024)]
    pub(crate) bytes: usize,

    /// How long.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
}

/// Who takes part.
#[derive(Debug, clap::Args)]
pub(crate) struct Peers {
    /// These peers alone, in this order.
    #[arg(long, value_delimiter = ',')]
    pub(crate) peers: Vec<String>,

    /// Where peers are described, one folder each.
    #[arg(long, default_value = "bench/peers", value_name = "FOLDER")]
    pub(crate) peers_folder: PathBuf,

    /// Where the peers' programs are, besides the usual places. May repeat.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) programs: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    /// How often each peer is measured, in turn.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,

    /// Seconds of each load.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,

    /// Seconds of the same load before, not measured.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) warm_up: f64,

    /// Whose load. Others make some of the rows, and do not look at what is answered.
    #[arg(long, value_enum, default_value = "own")]
    pub(crate) load: LoadBy,

    /// How the caller's side and the callee's reach each other.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) network: Network,

    /// Idle connections of the rows that are about them.
    #[arg(long, default_value_t = 1000)]
    pub(crate) idle: usize,

    /// These rows alone.
    #[arg(long, value_delimiter = ',')]
    pub(crate) rows: Vec<String>,

    #[command(flatten)]
    pub(crate) peers: Peers,

    /// The result, JSON.
    #[arg(long, default_value = "bench.json")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Curves {
    /// How often each point is measured, in turn.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,

    /// Seconds of each load.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,

    /// Seconds of the same load before, not measured.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) warm_up: f64,

    /// How the caller's side and the callee's reach each other.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) network: Network,

    /// These curves alone.
    #[arg(long, value_delimiter = ',')]
    pub(crate) curves: Vec<String>,

    /// Two points of each curve and a hundred idle connections: that all of it works.
    #[arg(long)]
    pub(crate) ends: bool,

    /// Where a `cellwall-proxy` is that tells nothing of its calls, to be measured beside the usual
    /// one.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) without_telemetry: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) ours: Ours,

    /// The result, JSON.
    #[arg(long, default_value = "curves.json")]
    pub(crate) out: PathBuf,
}

/// Where ours are.
#[derive(Debug, clap::Args)]
pub(crate) struct Ours {
    /// Where peers are described, one folder each.
    #[arg(long, default_value = "bench/peers", value_name = "FOLDER")]
    pub(crate) peers_folder: PathBuf,

    /// Where our programs are, besides the usual places. May repeat.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) programs: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Flames {
    /// Seconds of each load.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,

    /// These rows of `compare`; HTTP/1.1, gRPC and bytes by default.
    #[arg(long, value_delimiter = ',')]
    pub(crate) rows: Vec<String>,

    /// How the caller's side and the callee's reach each other.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) network: Network,

    /// Where the drawings are written.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub(crate) folder: PathBuf,

    #[command(flatten)]
    pub(crate) ours: Ours,

    /// The result, JSON.
    #[arg(long, default_value = "flames.json")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Calls {
    /// Seconds of each load.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,

    /// These shapes of calls alone: http1-1, http1-32, http2, tcp.
    #[arg(long, value_delimiter = ',')]
    pub(crate) rows: Vec<String>,

    #[command(flatten)]
    pub(crate) peers: Peers,

    /// What counts; perf if it can, else strace.
    #[arg(long)]
    pub(crate) counter: Option<Counter>,

    /// Writes here the system calls of a single call, one after the other, with strace.
    #[arg(long, value_name = "FILE")]
    pub(crate) sequence: Option<PathBuf>,

    /// The result, JSON.
    #[arg(long, default_value = "calls.json")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Micro {
    /// How often each row is measured, in turn.
    #[arg(long, default_value_t = 25)]
    pub(crate) rounds: usize,

    /// These rows alone.
    #[arg(long, value_delimiter = ',')]
    pub(crate) rows: Vec<String>,

    /// The result, JSON.
    #[arg(long, default_value = "micro.json")]
    pub(crate) out: PathBuf,
}

/// Whose load it is.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LoadBy {
    /// That of this program.
    Own,
    /// HTTP/1.1 in a closed loop: http1-1, http1-32, http1-256. In whole seconds.
    Wrk,
    /// The same, and gRPC: grpc-1, grpc-8. Tells no percentiles.
    H2load,
}

/// What counts system calls.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Counter {
    /// The kernel's trace points: nobody is stopped.
    Perf,
    /// Stops a thread at each system call.
    Strace,
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
