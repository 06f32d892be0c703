//! The load of a row, put on whatever listens.

use std::time::Duration;

use super::{
    rows::{FEW_P99, Load, OPEN_CONNECTIONS, RATE},
    weigh::real,
};
use crate::{
    Bulk, ClosedLoop, Connections, Control, Exchange, LoadError, Loopback, OpenLoop, Pace, Report,
    Streams, Target, Way, bulk, echo_loop, lean::PATH, lean_loop, lean_open, open_loop,
    peer::Running, sized_loop, stream_loop,
};

/// Connections of a schedule near what proxies can: so many that it goes on while some wait.
const PACED_CONNECTIONS: usize = 128;

/// How long it takes at least to see what proxies can.
const RATED: Duration = Duration::from_millis(300);

/// What a load saw, with figures that only some loads have.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) report: Report,
    pub(crate) more: Vec<(&'static str, f64)>,
}

impl From<Report> for Applied {
    fn from(report: Report) -> Self {
        Self { report, more: Vec::new() }
    }
}

/// Warms up by the same load, and says what that load is: of one that goes by what the proxies can,
/// a rate.
pub(super) async fn begun(
    load: Load,
    running: &Running,
    warm_up: Duration,
) -> Result<Load, LoadError> {
    let Load::Share(share) = load else {
        apply(load, running, warm_up).await?;
        return Ok(load);
    };
    let most = apply(Load::Http(OPEN_CONNECTIONS), running, warm_up.max(RATED)).await?;
    Ok(Load::Paced(share * most.report.achieved_rate))
}

/// Puts the load of a row on whatever listens there.
pub(crate) async fn apply(
    load: Load,
    running: &Running,
    time: Duration,
) -> Result<Applied, LoadError> {
    if let Load::Two(many, few) = load {
        return two(running, (many, few), time).await;
    }
    let mut more = Vec::new();
    if let Load::Paced(rate) = load {
        more.push((RATE, rate));
    }
    let report = Box::pin(one(load, running.entry, time)).await?;
    Ok(Applied { report, more })
}

/// One caller with many connections and one with few, at the same time: what the few have.
async fn two(
    running: &Running,
    (many, few): (usize, usize),
    time: Duration,
) -> Result<Applied, LoadError> {
    let clients =
        |clients| ClosedLoop { clients, connections: Connections::Kept, duration: Some(time) };
    // Proxies that know no callers have the same entry for both.
    let other = running.second.unwrap_or(running.entry);
    let (large, small) = tokio::join!(
        Box::pin(lean_loop(running.entry, clients(many), Control::default())),
        Box::pin(lean_loop(other, clients(few), Control::default())),
    );
    let (mut report, small) = (large?, small?);
    let each = |report: &Report| report.shares.map_or(0.0, |shares| shares.mean);
    let ratio = if each(&report) > 0.0 { each(&small) / each(&report) } else { 0.0 };
    let more = vec![
        (FEW_P99, real(small.latency_us.p99)),
        ("few_p999_us", real(small.latency_us.p999)),
        ("few_share", ratio),
        ("few_starved", small.shares.map_or(0.0, |shares| real(shares.starved))),
    ];
    // What it cost is divided by the calls of both.
    report.ok += small.ok;
    report.sent += small.sent;
    for (kind, count) in small.errors {
        *report.errors.entry(kind).or_default() += count;
    }
    Ok(Applied { report, more })
}

async fn one(load: Load, entry: Loopback, time: Duration) -> Result<Report, LoadError> {
    let (duration, control) = (Some(time), Control::default());
    let clients = |clients, connections| ClosedLoop { clients, connections, duration };
    match load {
        Load::Http(count) | Load::Tail(count) => {
            Box::pin(lean_loop(entry, clients(count, Connections::Kept), control)).await
        }
        Load::Sized(count, bytes) => {
            let load = clients(count, Connections::Kept);
            Box::pin(sized_loop(entry, load, bytes, control)).await
        }
        Load::Paced(rate) => {
            let load = OpenLoop { rate, connections: PACED_CONNECTIONS, duration };
            Box::pin(lean_open(entry, load, control)).await
        }
        Load::HttpNew(count) => {
            Box::pin(lean_loop(entry, clients(count, Connections::PerRequest), control)).await
        }
        Load::TcpNew(count) => {
            Box::pin(echo_loop(entry, clients(count, Connections::PerRequest), control)).await
        }
        Load::Grpc(connections, streams) => {
            let exchange = Exchange::Grpc;
            let load = Streams { connections, streams, exchange, duration };
            Box::pin(stream_loop(entry, load, control)).await
        }
        Load::Bulk(streams) => {
            let load = Bulk { streams, way: Way::Down, pace: Pace::Full, duration };
            Box::pin(bulk(entry, load, control)).await
        }
        Load::Open(rate) => {
            let target = Target::new(entry.address(), &format!("GET {PATH}"));
            let target = target.map_err(|_| LoadError::Setting("the entry is no target"))?;
            let load = OpenLoop { rate, connections: OPEN_CONNECTIONS, duration };
            Box::pin(open_loop(target, load, control)).await
        }
        Load::IdleHttp | Load::IdleTcp | Load::Start | Load::Share(_) | Load::Two(..) => {
            Err(LoadError::Setting("this row has no load"))
        }
    }
}
