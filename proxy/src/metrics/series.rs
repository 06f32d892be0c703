//! The series of calls that came before: found by their labels once, and at hand from then on.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use cellwall_policy::{By, Decision, Verdict};
use metrics::{Counter, Gauge, Histogram, SharedString, counter, gauge, histogram};

use super::label;
use crate::flow::{Direction, FlowRecord};

/// Kinds of calls whose series a thread has at hand. All are looked up anew once there are more.
const KEPT: usize = 1024;

thread_local! {
    static CALLS: RefCell<HashMap<Kind, Series>> = RefCell::default();
    static INBOUND: Always = Always::of(Direction::Inbound);
    static OUTBOUND: Always = Always::of(Direction::Outbound);
}

/// What tells the series of one call from those of another: all their labels.
#[derive(Debug, Eq, Hash, PartialEq)]
struct Kind {
    direction: Direction,
    src: Option<Arc<str>>,
    dst: Option<Arc<str>>,
    route: Option<Arc<str>>,
    decided: Option<(Verdict, By)>,
    code: Option<u16>,
}

/// Where a call is counted when it ends.
#[derive(Debug)]
struct Series {
    requests: Counter,
    duration: Histogram,
    decisions: Option<Counter>,
}

/// What is counted of every call.
struct Always {
    open: Gauge,
    overhead: Histogram,
}

/// Counts a call that has ended, and what was decided of it.
pub(super) fn call_ended(record: &FlowRecord) {
    let duration = record.duration.as_secs_f64();
    CALLS.with_borrow_mut(|calls| {
        let kind = Kind::of(record);
        if let Some(series) = calls.get(&kind) {
            return series.count(duration);
        }
        if calls.len() >= KEPT {
            calls.clear();
        }
        calls.entry(kind).or_insert_with(|| Series::of(record)).count(duration);
    });
}

/// Counts what was decided.
pub(super) fn decisions(record: &FlowRecord, decision: &Decision) -> Counter {
    let (src, dst) = (label(&record.caller), label(&record.callee));
    counter!("cellwall_authz_decisions_total", "dst" => dst, "src" => src,
        "verdict" => decision.verdict.as_str(), "by" => decision.by.to_string())
}

/// The calls that are open.
pub(super) fn calls_open(direction: Direction) -> Gauge {
    always(direction, |always| always.open.clone())
}

/// Records what the proxy itself took of a call, in seconds.
pub(super) fn overhead(direction: Direction, seconds: f64) {
    always(direction, |always| always.overhead.record(seconds));
}

fn always<T>(direction: Direction, then: impl FnOnce(&Always) -> T) -> T {
    match direction {
        Direction::Inbound => INBOUND.with(then),
        Direction::Outbound => OUTBOUND.with(then),
    }
}

impl Kind {
    fn of(record: &FlowRecord) -> Self {
        let decision = record.decision.as_ref();
        Self {
            direction: record.direction,
            src: record.caller.workload.clone(),
            dst: record.callee.workload.clone(),
            route: decision.and_then(|decision| decision.route.clone()),
            decided: decision.map(|decision| (decision.verdict, decision.by.clone())),
            code: record.status,
        }
    }
}

impl Series {
    fn of(record: &FlowRecord) -> Self {
        let direction = record.direction.as_str();
        let (src, dst) = (label(&record.caller), label(&record.callee));
        let decision = record.decision.as_ref();
        let route = decision.and_then(|decision| decision.route.clone());
        let route: SharedString = route.map_or_else(|| "unknown".into(), SharedString::from);
        let verdict = decision.map_or("none", |decision| decision.verdict.as_str());
        let code = record.status.map_or_else(|| "none".into(), |code| code.to_string());
        Self {
            requests: counter!("cellwall_requests_total", "direction" => direction,
                "src" => src.clone(), "dst" => dst.clone(), "route" => route.clone(),
                "verdict" => verdict, "code" => code),
            duration: histogram!("cellwall_request_duration_seconds", "direction" => direction,
                "src" => src, "dst" => dst, "route" => route),
            decisions: decision.map(|decision| decisions(record, decision)),
        }
    }

    fn count(&self, seconds: f64) {
        self.requests.increment(1);
        self.duration.record(seconds);
        if let Some(decisions) = &self.decisions {
            decisions.increment(1);
        }
    }
}

impl Always {
    fn of(direction: Direction) -> Self {
        let direction = direction.as_str();
        Self {
            open: gauge!("cellwall_calls_open", "direction" => direction),
            overhead: histogram!("cellwall_proxy_overhead_seconds", "direction" => direction),
        }
    }
}
