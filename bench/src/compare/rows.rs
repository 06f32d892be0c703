//! What is measured: the rows of the table of targets.

use std::time::Duration;

use crate::peer::Protocol;

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is, in a line.
    pub title: &'static str,
    /// The figure by which peers are compared; less is better.
    pub figure: &'static str,
    pub(crate) load: Load,
}

/// What is done to the proxies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Load {
    /// So many clients of HTTP/1.1 that keep their connections.
    Http(usize),
    /// The same; the slowest of them are what counts.
    Tail(usize),
    /// The same, for answers of so many bytes.
    Sized(usize, usize),
    /// So many of one caller, and so many of another.
    Two(usize, usize),
    /// Such a part of the requests that the proxies can at most, by a schedule.
    Share(f64),
    /// So many requests in a second, by a client that parses nothing.
    Paced(f64),
    /// So many that open one for each request.
    HttpNew(usize),
    /// So many that open a TCP connection for each message.
    TcpNew(usize),
    /// So many connections of HTTP/2, and streams on each; gRPC.
    Grpc(usize, usize),
    /// So many streams of bytes.
    Bulk(usize),
    /// So many requests of HTTP/1.1 in a second.
    Open(f64),
    /// Connections that rest after a request of HTTP/1.1.
    IdleHttp,
    /// Connections that rest after a message.
    IdleTcp,
    /// Until the first answer.
    Start,
}

/// What goes to which port of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    Http1,
    Grpc,
    Echo,
    Bulk,
}

/// Connections of the open loop: enough that none is waited for.
pub(super) const OPEN_CONNECTIONS: usize = 32;

impl Load {
    pub(crate) const fn traffic(self) -> Traffic {
        match self {
            Self::Http(_) | Self::HttpNew(_) | Self::Open(_) | Self::IdleHttp | Self::Start => {
                Traffic::Http1
            }
            Self::Tail(_) | Self::Sized(..) | Self::Two(..) => Traffic::Http1,
            Self::Share(_) | Self::Paced(_) => Traffic::Http1,
            Self::Grpc(..) => Traffic::Grpc,
            Self::TcpNew(_) | Self::IdleTcp => Traffic::Echo,
            Self::Bulk(_) => Traffic::Bulk,
        }
    }

    /// Options for `cellwall-pair`: beside a load the policy has to deny calls, and to allow those of
    /// a second caller. What rests is measured without them.
    pub(super) fn options(self) -> impl Iterator<Item = &'static str> {
        let is_loaded = !matches!(self, Self::IdleHttp | Self::IdleTcp | Self::Start);
        let second = matches!(self, Self::Two(..)).then_some("--second");
        is_loaded.then_some("--denied").into_iter().chain(second)
    }

    /// About how long one measurement takes, of which `seconds` are the load.
    pub(super) const fn takes(self, seconds: Duration) -> Duration {
        match self {
            Self::IdleHttp | Self::IdleTcp | Self::Start => Duration::from_secs(2),
            Self::Http(_) | Self::HttpNew(_) | Self::TcpNew(_) | Self::Grpc(..) => seconds,
            Self::Bulk(_) | Self::Open(_) | Self::Tail(_) | Self::Sized(..) => seconds,
            Self::Two(..) | Self::Share(_) | Self::Paced(_) => seconds,
        }
    }
}

impl Traffic {
    pub(crate) const fn protocol(self) -> Protocol {
        match self {
            Self::Http1 => Protocol::Http1,
            Self::Grpc => Protocol::Http2,
            Self::Echo | Self::Bulk => Protocol::Tcp,
        }
    }
}

/// CPU of both proxies for a call, a message or a connection, microseconds.
pub(crate) const CPU: &str = "cpu_us_per_call";
/// CPU of both proxies for a GiB, seconds.
pub(crate) const CPU_PER_GIB: &str = "cpu_s_per_gib";
/// Resident memory of both proxies for an idle connection, KiB.
pub(crate) const KIB: &str = "kib_per_connection";
/// Resident memory of the larger side at rest, MiB.
pub(crate) const RSS: &str = "rss_mib_of_one_side";
/// From the start of the first process to the first answer, milliseconds.
pub(super) const START: &str = "start_ms";
/// The size of the program, MB.
pub(super) const PROGRAM: &str = "program_mb";
/// Half of the answers took no longer, microseconds.
pub(crate) const P50: &str = "p50_us";
/// 99 % took no longer.
pub(crate) const P99: &str = "p99_us";
/// What the proxies add at the half, microseconds: less what it is without them in this round.
pub(super) const ADDED_P50: &str = "added_p50_us";
/// The same at 99 %.
pub(super) const ADDED_P99: &str = "added_p99_us";

/// 99.9 % took no longer.
pub(crate) const P999: &str = "p999_us";
/// 99 % of a caller with few connections took no longer, beside one with many.
pub(super) const FEW_P99: &str = "few_p99_us";
/// Clients that never had an answer.
pub(super) const STARVED: &str = "starved";
/// How many requests a second there were to be.
pub(super) const RATE: &str = "wanted_per_second";
/// Resident memory of the caller's side for an idle connection, KiB.
pub(crate) const KIB_OF_CALLER: &str = "kib_per_connection_of_caller";
/// Calls that the policy denies and that had an answer as if it allowed them.
pub(crate) const DENIED_PASSED: &str = "denied_passed";
/// Calls that the policy denies and that the backend has seen.
pub(crate) const DENIED_SEEN: &str = "denied_seen";

pub(crate) const fn row(name: &'static str, title: &'static str, load: Load) -> Row {
    let figure = match load {
        Load::Bulk(_) => CPU_PER_GIB,
        Load::IdleHttp | Load::IdleTcp => KIB,
        Load::Start => START,
        Load::Tail(_) | Load::Share(_) => P999,
        Load::Two(..) => FEW_P99,
        Load::Http(_) | Load::HttpNew(_) | Load::TcpNew(_) | Load::Grpc(..) | Load::Open(_) => CPU,
        Load::Sized(..) | Load::Paced(_) => CPU,
    };
    Row { name, title, figure, load }
}

/// All rows, in the order of the table.
pub const ROWS: &[Row] = &[
    row("http1-1", "HTTP/1.1, 1 connection, closed loop", Load::Http(1)),
    row("http1-32", "HTTP/1.1, 32 connections, closed loop", Load::Http(32)),
    row("http1-256", "HTTP/1.1, 256 connections, closed loop", Load::Http(256)),
    row("http1-new", "HTTP/1.1, a new client connection for each request", Load::HttpNew(32)),
    row("tcp-new", "TCP, a new connection for each message, 32 at once", Load::TcpNew(32)),
    row("bulk-1", "bytes, one stream", Load::Bulk(1)),
    row("bulk-8", "bytes, eight streams", Load::Bulk(8)),
    row("grpc-1", "gRPC, 1 connection of 32 streams", Load::Grpc(1, 32)),
    row("grpc-8", "gRPC, 8 connections of 32 streams", Load::Grpc(8, 32)),
    row("open-4000", "HTTP/1.1, open loop, 4,000 requests a second", Load::Open(4000.0)),
    row("tail-256", "HTTP/1.1, 256 connections: the slowest", Load::Tail(256)),
    row("tail-1000", "HTTP/1.1, 1,000 connections: the slowest", Load::Tail(1000)),
    row("tail-50", "HTTP/1.1, a schedule of half of what each can do", Load::Share(0.5)),
    row("tail-80", "HTTP/1.1, a schedule of 80 % of what each can do", Load::Share(0.8)),
    row("tail-two", "a caller with 4 connections beside one with 1,000", Load::Two(1000, 4)),
    row("idle-http", "idle connections after a request of HTTP/1.1", Load::IdleHttp),
    row("idle-tcp", "idle connections after a message of TCP", Load::IdleTcp),
    row("start", "start to the first answer, identity included", Load::Start),
];
