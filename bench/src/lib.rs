//! Load for proxies and servers on this machine, with histograms that do not lie about stalls, and
//! comparisons of proxies.
//!
//! Open loop: requests start by a fixed schedule, whether or not earlier ones have been answered,
//! and a latency counts from the moment at which its request should have started (coordinated
//! omission). Closed loop: each client sends its next request when the last one was answered; for
//! saturation only.
//!
//! * Any HTTP/1.1 server: [`open_loop`], [`closed_loop`].
//! * A [`Backend`], or proxies before one: [`lean_loop`], [`stream_loop`], [`echo_loop`], [`bulk()`],
//!   [`Idle`]; what they get back is compared byte by byte.
//! * What it costs: [`process`], [`machine`].
//! * What one step of a call costs: [`micro`].
//! * What one call costs in system calls: [`calls`].
//! * What a control plane bears: [`fleet`].
//! * How both sides of a pair reach each other: [`network`].
//! * Proxies of others and ours, in one interleaved run: [`compare`], [`page`].
//! * Where the time of ours goes: [`flames`].
//! * What ours cost as something grows or changes: [`curves`].

mod backend;
mod bulk;
pub mod calls;
mod closed;
pub mod compare;
mod connection;
mod crowd;
pub mod curves;
mod echo;
pub mod flames;
pub mod fleet;
mod idle;
mod lean;
mod line;
pub mod machine;
mod measure;
pub mod micro;
pub mod network;
mod open;
mod pacer;
pub mod page;
pub mod peer;
mod perf;
pub mod process;
pub mod program;
mod relay;
mod scrape;
mod shares;
mod streams;
mod target;
mod witness;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use self::{
    backend::Backend,
    bulk::{Bulk, Pace, Way, bulk},
    closed::{ClosedLoop, Connections, closed_loop},
    echo::echo_loop,
    idle::{Idle, Spoken},
    lean::{lean_loop, sized_loop},
    measure::{Latency, Progress, Report},
    open::{OpenLoop, lean_open, open_loop},
    relay::relay,
    shares::Shares,
    streams::{Exchange, Streams, stream_loop},
    target::{Loopback, Target, TargetError},
};

/// How a run is watched and ended.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// Ends the run early: requests on their way are waited for, no new ones start.
    pub stop: CancellationToken,
    /// Gets one message each second. A full queue loses the message: its counts are in the next
    /// one, and in the report.
    pub progress: Option<mpsc::Sender<Progress>>,
}

/// A run that could not begin.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A number makes no sense.
    #[error("{0}")]
    Setting(&'static str),
    /// The kernel gives no thread for the schedule.
    #[error("no thread")]
    Pacer(#[source] std::io::Error),
    /// A load of others is not here, or did not do what it should.
    #[error("{0}")]
    Program(String),
    /// The histogram cannot be made.
    #[error("no histogram")]
    Histogram(#[source] hdrhistogram::CreationError),
}
