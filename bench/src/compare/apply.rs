//! The load of a row by this program, put on whatever listens.

use std::time::Duration;

use super::{
    own,
    rows::{FEW_P99, Load, OPEN_CONNECTIONS, RATE},
    weigh::real,
};
use crate::{ClosedLoop, Connections, Control, LoadError, Report, lean_loop, peer::Running};

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
    let report = Box::pin(own::one(load, running.entry, time)).await?;
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
