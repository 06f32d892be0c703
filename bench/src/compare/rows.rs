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
    pub(super) load: Load,
}

/// What is done to the proxies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Load {
    /// So many clients of HTTP/1.1 that keep their connections.
    Http(usize),
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
    pub(super) const fn traffic(self) -> Traffic {
        match self {
            Self::Http(_) | Self::HttpNew(_) | Self::Open(_) | Self::IdleHttp | Self::Start => {
                Traffic::Http1
            }
            Self::Grpc(..) => Traffic::Grpc,
            Self::TcpNew(_) | Self::IdleTcp => Traffic::Echo,
            Self::Bulk(_) => Traffic::Bulk,
        }
    }

    /// About how long one measurement takes, of which `seconds` are the load.
    pub(super) const fn takes(self, seconds: Duration) -> Duration {
        match self {
            Self::IdleHttp | Self::IdleTcp | Self::Start => Duration::from_secs(2),
            Self::Http(_) | Self::HttpNew(_) | Self::TcpNew(_) | Self::Grpc(..) => seconds,
            Self::Bulk(_) | Self::Open(_) => seconds,
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
pub(super) const CPU: &str = "cpu_us_per_call";
/// CPU of both proxies for a GiB, seconds.
pub(super) const CPU_PER_GIB: &str = "cpu_s_per_gib";
/// Resident memory of both proxies for an idle connection, KiB.
pub(super) const KIB: &str = "kib_per_connection";
/// Resident memory of the larger side at rest, MiB.
pub(super) const RSS: &str = "rss_mib_of_one_side";
/// From the start of the first process to the first answer, milliseconds.
pub(super) const START: &str = "start_ms";
/// The size of the program, MB.
pub(super) const PROGRAM: &str = "program_mb";
/// Half of the answers took no longer, microseconds.
pub(super) const P50: &str = "p50_us";
/// 99 % took no longer.
pub(super) const P99: &str = "p99_us";
/// What the proxies add at the half, microseconds: less what it is without them in this round.
pub(super) const ADDED_P50: &str = "added_p50_us";
/// The same at 99 %.
pub(super) const ADDED_P99: &str = "added_p99_us";

const fn row(name: &'static str, title: &'static str, load: Load) -> Row {
    let figure = match load {
        Load::Bulk(_) => CPU_PER_GIB,
        Load::IdleHttp | Load::IdleTcp => KIB,
        Load::Start => START,
        Load::Http(_) | Load::HttpNew(_) | Load::TcpNew(_) | Load::Grpc(..) | Load::Open(_) => CPU,
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
    row("idle-http", "idle connections after a request of HTTP/1.1", Load::IdleHttp),
    row("idle-tcp", "idle connections after a message of TCP", Load::IdleTcp),
    row("start", "start to the first answer, identity included", Load::Start),
];
