use std::collections::BTreeMap;

use super::*;
use crate::{
    compare::{Reached, SCHEMA, Sample, Settings, Spread, Stand},
    machine::{Machine, Pinning},
};

fn summary(contender: &str, figures: &[(&str, f64)]) -> Summary {
    let spread = |value: f64| Spread { median: value, low: value / 2.0, high: value * 2.0 };
    let figures = figures.iter().map(|(name, value)| ((*name).to_owned(), spread(*value)));
    Summary {
        contender: contender.to_owned(),
        figures: figures.collect(),
        to_ours: None,
        failed: 0,
    }
}

pub(super) fn conditions() -> Conditions {
    Conditions {
        schema: SCHEMA,
        was_stopped: true,
        at: 1,
        machine: Machine::here(),
        pinning: Pinning::None("one core".to_owned()),
        network: "loopback: no <namespace>".to_owned(),
        settings: Settings {
            rounds: 3,
            seconds: 5.0,
            warm_up_seconds: 1.0,
            idle_connections: 10,
            load: "own".to_owned(),
        },
    }
}

fn comparison() -> Comparison {
    let figures = [("cpu_us_per_call", 26.4), ("p50_us", 800.0), ("calls_per_second", 36_813.0)];
    let starved = [&figures[..], &[("load_busy", 0.99), ("proxies_busy", 0.5)]].concat();
    let failed = Sample {
        contender: "envoy-http".to_owned(),
        round: 2,
        figures: BTreeMap::new(),
        error: Some("no answer <at all>".to_owned()),
        report: None,
    };
    Comparison {
        conditions: conditions(),
        contenders: vec![Stand {
            name: "nginx".to_owned(),
            layer: 4,
            about: "stream".to_owned(),
            version: "<script>alert(1)</script>".to_owned(),
        }],
        absent: BTreeMap::from([("stunnel".to_owned(), "it is not installed".to_owned())]),
        rows: vec![Measured {
            name: "http1-32".to_owned(),
            title: "HTTP/1.1".to_owned(),
            figure: "cpu_us_per_call".to_owned(),
            samples: vec![failed],
            summaries: vec![summary("nginx", &starved), summary("ours", &figures)],
            estimates: Vec::new(),
        }],
        goals: vec![Reached {
            row: "http1-32".to_owned(),
            figure: "cpu_us_per_call".to_owned(),
            ours: Some(26.4),
            wanted: 24.0,
            because: "0.91 times nginx".to_owned(),
            bare: Some(23.5),
            is_reached: false,
        }],
    }
}

#[test]
fn a_page_needs_nothing_from_elsewhere_and_runs_nothing() {
    let text = page(&[("one".to_owned(), comparison())]);

    for forbidden in ["http://", "https://", "<script", "src=", "url(", "@import", "<link"] {
        assert!(!text.contains(forbidden), "{forbidden}");
    }
    assert!(text.contains("&lt;script&gt;alert(1)"));
    assert!(text.contains("no answer &lt;at all&gt;"));
    assert!(text.contains("loopback: no &lt;namespace&gt;"));
}

#[test]
fn whoever_failed_or_was_absent_and_every_missed_goal_is_on_it() {
    let text = page(&[("one".to_owned(), comparison())]);

    assert!(text.contains("stunnel</td><td class=\"miss\">did not take part: it is not installed"));
    assert!(text.contains("envoy-http, round 2"));
    assert!(text.contains("stopped before all was measured"));
    assert_eq!(text.matches("the load was the limit").count(), 1);
    assert!(text.contains("one: nginx: the load was the limit"));
    assert!(text.contains("missed</td><td>http1-32"));
    // beside it what the libraries have by themselves
    assert!(text.contains("24.0</td><td class=\"n\">23.5</td>"), "{text}");
    // CPU, rate and latency: three plots with two bars each.
    assert_eq!((text.matches("<svg").count(), text.matches("<rect").count()), (3, 6));
}

#[test]
fn two_comparisons_stand_beside_each_other() {
    let text = page(&[("before".to_owned(), comparison()), ("after".to_owned(), comparison())]);

    assert_eq!(text.matches("<rect").count(), 12);
    // The same one beside itself.
    let [before, after, other] = ["nginx (before)", "nginx (after)", "ours (before)"]
        .map(|label| text.find(&format!(">{label}<")).unwrap());
    assert!(before < after && after < other);
    assert!(text.contains(">nginx p50 (after)<"));
}
