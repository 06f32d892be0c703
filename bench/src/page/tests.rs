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

/// Whether each tag is closed by its own, and nothing else looks like one.
pub(super) fn is_well_formed(svg: &str) -> bool {
    let mut open = Vec::new();
    for part in svg.split('<').skip(1) {
        let Some((tag, text)) = part.split_once('>') else { return false };
        let name = tag.split_whitespace().next().unwrap_or_default().trim_end_matches('/');
        if text.contains('>') || tag.matches('"').count() % 2 == 1 {
            return false;
        }
        if let Some(closed) = tag.strip_prefix('/') {
            if open.pop() != Some(closed) {
                return false;
            }
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    open.is_empty() && !svg.chars().any(|letter| letter.is_control() && letter != '\n')
}

/// Every plot of a comparison, by its name.
fn names(comparison: &Comparison) -> Vec<String> {
    pictures(comparison).into_iter().map(|picture| picture.name).collect()
}

#[test]
fn a_plot_stands_alone_is_whole_and_is_the_same_each_time() {
    let comparison = comparison();

    let drawn = pictures(&comparison);

    assert_eq!(drawn, pictures(&comparison));
    assert_eq!(names(&comparison), ["cpu-per-call.svg", "throughput.svg"]);
    for Picture { name, svg } in &drawn {
        assert!(is_well_formed(svg), "{name}: {svg}");
        assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox="), "{name}");
        assert_eq!(svg.matches("://").count(), 1, "{name}");
        for forbidden in ["<script", "href", "src=", "url(", "@import", "@font-face", "<image"] {
            assert!(!svg.contains(forbidden), "{name}: {forbidden}");
        }
        // Its own background, and bars of nginx and of ours.
        assert_eq!((svg.matches("fill=\"#ffffff\"").count(), svg.matches("<rect").count()), (1, 3));
        for word in ["1970-01-01", "no &lt;namespace&gt;", "Stopped before all was measured."] {
            assert!(svg.contains(word), "{name}: {word}");
        }
    }
}

#[test]
fn the_goal_that_was_set_is_marked_and_what_failed_is_named() {
    let mut comparison = comparison();
    let [row] = comparison.rows.as_mut_slice() else { panic!("{:?}", comparison.rows) };
    row.summaries[0].failed = 1;
    comparison.goals.push(Reached { wanted: 20.0, ..comparison.goals[0].clone() });

    let drawn = pictures(&comparison);

    let [cpu, rate] = drawn.as_slice() else { panic!("{drawn:?}") };
    assert_eq!(cpu.svg.matches(">goal 24.0<").count(), 1);
    assert!(!cpu.svg.contains("goal 20.0") && !rate.svg.contains(">goal"));
    assert!(cpu.svg.contains("Not measured in every round: nginx (http1-32)."), "{}", cpu.svg);
}

#[test]
fn of_many_peers_percentiles_have_ours_its_libraries_and_the_nearest_three() {
    let mut comparison = comparison();
    let peer = |name, slowest| summary(name, &[("p50_us", 90.0), ("p999_us", slowest)]);
    let peers = [("a", 4e3), ("b", 3e3), ("c", 2e3), ("d", 1e3), ("bare", 5e3), ("none", 1.0)];
    let mut summaries = peers.map(|(name, slowest)| peer(name, slowest)).to_vec();
    summaries.push(peer("ours", 9e3));
    comparison.rows[0].summaries = summaries;

    let drawn = pictures(&comparison);

    let [picture] = drawn.as_slice() else { panic!("{drawn:?}") };
    assert_eq!(picture.name, "latency-percentiles.svg");
    let seen = |name: &str| picture.svg.contains(&format!(">{name} p99.9<"));
    assert_eq!(
        ["a", "b", "c", "d", "bare", "none", "ours"].map(seen),
        [false, true, true, true, true, false, true]
    );
}

#[test]
fn what_a_result_does_not_have_is_not_drawn() {
    assert_eq!(names(&Comparison { rows: Vec::new(), ..comparison() }), Vec::<String>::new());
    let mut other = comparison();
    other.rows[0].name = "weather".to_owned();
    assert_eq!(names(&other), Vec::<String>::new());
}

#[test]
fn no_text_makes_a_plot_something_else_than_a_plot() {
    let mut comparison = comparison();
    comparison.rows[0].title = "</text><script>\u{0}\u{ffff}&amp".to_owned();

    let svg = &pictures(&comparison)[0].svg;

    assert!(is_well_formed(svg), "{svg}");
    assert!(svg.contains("&lt;/text&gt;&lt;script&gt; \u{fffd}&amp;amp"), "{svg}");
}
