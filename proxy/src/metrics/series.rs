//! The series of calls that came before: found by their labels once, and at hand from then on.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use cellwall_policy::{By, Decision, Verdict};
use metrics::{Counter, Gauge, Histogram, SharedString, counter, gauge, histogram};

use super::label;
use crate::flow::{Direction, FlowRecord};

/// How many sets of labels a thread has the series of at hand. All are looked up anew once there are more.
const KEPT: usize = 1024;

thread_local! {
    static CALLS: RefCell<HashMap<Labels, Series, foldhash::fast::RandomState>> = RefCell::default();
    static INBOUND: Always = Always::of(Direction::Inbound);
    static OUTBOUND: Always = Always::of(Direction::Outbound);
}

/// What tells the series of one call from those of another: all their labels.
#[derive(Debug, Eq, Hash, PartialEq)]
struct Labels {
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

/// What is counted of every connection and every call.
struct Always {
    connections: Gauge,
    calls: Gauge,
    overhead: Histogram,
}

/// Counts a call that has ended, and what was decided of it.
pub(super) fn call_ended(record: &FlowRecord) {
    let duration = record.duration.as_secs_f64();
    CALLS.with_borrow_mut(|calls| {
        let labels = Labels::of(record);
        if let Some(series) = calls.get(&labels) {
            return series.count(duration);
        }
        if calls.len() >= KEPT {
            calls.clear();
        }
        calls.entry(labels).or_insert_with(|| Series::of(record)).count(duration);
    });
}

/// Where a decision is counted.
pub(super) fn decisions(record: &FlowRecord, decision: &Decision) -> Counter {
    let (src, dst) = (label(&record.caller), label(&record.callee));
    counter!("cellwall_authz_decisions_total", "dst" => dst, "src" => src,
        "verdict" => decision.verdict.as_str(), "by" => decision.by.to_string())
}

/// The connections that are open.
pub(super) fn connections_open(direction: Direction) -> Gauge {
    always(direction, |always| always.connections.clone())
}

/// The calls that are open.
pub(super) fn calls_open(direction: Direction) -> Gauge {
    always(direction, |always| always.calls.clone())
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

impl Labels {
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
            connections: gauge!("cellwall_connections_open", "direction" => direction),
            calls: gauge!("cellwall_calls_open", "direction" => direction),
            overhead: histogram!("cellwall_proxy_overhead_seconds", "direction" => direction),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cellwall_policy::{By, Decision, PolicyVersion, Verdict};
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::{CALLS, KEPT, call_ended};
    use crate::flow::{Direction, FlowRecord, Kind};

    fn record() -> FlowRecord {
        let remote = "127.0.0.1:9".parse().unwrap();
        let mut record = FlowRecord::begun(Kind::Call, Direction::Inbound, remote);
        record.caller.workload = Some("checkout".into());
        record.callee.workload = Some("payments".into());
        record.decision = Some(Decision {
            verdict: Verdict::Allow,
            by: By::Rule("may-pay".into()),
            route: Some("/v1/payments".into()),
            version: PolicyVersion(1),
            until: None,
        });
        record.status = Some(200);
        record
    }

    fn decision(record: &mut FlowRecord) -> &mut Decision {
        record.decision.as_mut().unwrap()
    }

    #[test]
    fn calls_that_differ_in_one_label_are_counted_apart() {
        let edits: [fn(&mut FlowRecord); 10] = [
            |_| (),
            |record| record.direction = Direction::Outbound,
            |record| record.caller.workload = Some("notifier".into()),
            |record| record.callee.workload = None,
            |record| decision(record).route = None,
            |record| decision(record).route = Some("/v1/others".into()),
            |record| decision(record).verdict = Verdict::Audit,
            |record| decision(record).by = By::Grant("may-pay".into()),
            |record| record.status = Some(403),
            |record| record.decision = None,
        ];
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            for edit in edits {
                let mut record = record();
                edit(&mut record);
                // The second one finds what the first one left at hand.
                call_ended(&record);
                call_ended(&record);
            }
        });
        let text = recorder.handle().render();
        let series = |name: &str, labels: &[&str]| {
            let mut found = text.lines().filter(|line| {
                line.starts_with(name) && labels.iter().all(|label| line.contains(label))
            });
            let value = found.next().and_then(|line| line.rsplit(' ').next()).map(str::to_owned);
            assert_eq!(found.next(), None, "{name} {labels:?}");
            value
        };
        let usual = [
            "direction=\"inbound\"",
            "src=\"checkout\"",
            "dst=\"payments\"",
            "route=\"/v1/payments\"",
            "verdict=\"allow\"",
        ];
        let requests = "cellwall_requests_total{";
        let one = Some("4".to_owned()); // by the rule, and by the grant
        assert_eq!(series(requests, &[&usual[..], &["code=\"200\""]].concat()), one);
        let two = Some("2".to_owned());
        assert_eq!(series(requests, &[&usual[..], &["code=\"403\""]].concat()), two);
        for label in [
            "direction=\"outbound\"",
            "src=\"notifier\"",
            "dst=\"unknown\"",
            "route=\"/v1/others\"",
            "verdict=\"audit\"",
            "verdict=\"none\"",
        ] {
            assert_eq!(series(requests, &[label]), two, "{label}");
        }
        let decisions = "cellwall_authz_decisions_total{";
        assert_eq!(series(decisions, &["by=\"grant/may-pay\""]), two);
        assert_eq!(series(decisions, &["verdict=\"audit\""]), two);
    }

    #[test]
    fn no_more_series_are_kept_at_hand_than_a_policy_may_use_at_once() {
        for number in 0..=KEPT {
            let mut record = record();
            record.callee.workload = Some(Arc::from(number.to_string()));
            call_ended(&record);
        }
        assert_eq!(CALLS.with_borrow(|calls| calls.len()), 1);
    }
}
