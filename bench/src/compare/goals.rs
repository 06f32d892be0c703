//! The goals of each row, and the figures that they were set against.

use super::{
    result::{Estimate, Measured, Reached},
    rows::{
        ADDED_P50, ADDED_P99, CPU, CPU_PER_GIB, DENIED_PASSED, DENIED_SEEN, KIB, P50, P99, PROGRAM,
        RSS, START, STARVED,
    },
    summary::{NONE, OURS},
};

/// The most that ours may be. Set on one machine: where a peer was measured there (`against`), the
/// goal in another run is the same multiple of what that peer has in it.
struct Goal {
    row: &'static str,
    figure: &'static str,
    wanted: f64,
    against: Option<(&'static str, f64)>,
}

const fn goal(
    row: &'static str,
    figure: &'static str,
    wanted: f64,
    against: Option<(&'static str, f64)>,
) -> Goal {
    Goal { row, figure, wanted, against }
}

/// The table of targets of the design, with the figures that peers had when it was written.
const GOALS: &[Goal] = &[
    goal("http1-1", CPU, 74.0, Some(("nginx", 74.7))),
    goal("http1-1", P50, 110.0, Some(("nginx", 114.0))),
    goal("http1-32", CPU, 24.0, Some(("nginx", 26.4))),
    goal("http1-256", CPU, 22.0, Some(("nginx", 38.9))),
    goal("http1-256", P99, 10_000.0, None),
    goal("http1-new", CPU, 50.0, Some(("haproxy-http", 55.9))),
    // Multiplexed, and a full handshake each.
    goal("tcp-new", CPU, 145.0, Some(("nginx", 1188.0))),
    goal("tcp-new", CPU, 550.0, Some(("envoy-tcp", 718.0))),
    goal("bulk-1", CPU_PER_GIB, 0.60, Some(("nginx", 1.68))),
    goal("bulk-8", CPU_PER_GIB, 0.75, Some(("nginx", 1.76))),
    // Beside one that sees calls: what those that pass bytes cost is how many the load sends at once.
    goal("grpc-1", CPU, 16.0, Some(("envoy-http", 41.0))),
    goal("grpc-8", CPU, 16.0, Some(("envoy-http", 60.0))),
    goal("open-4000", CPU, 70.0, Some(("nginx", 75.0))),
    goal("open-4000", ADDED_P50, 80.0, None),
    goal("open-4000", ADDED_P99, 130.0, None),
    goal("tail-256", STARVED, 0.0, None),
    goal("tail-1000", STARVED, 0.0, None),
    goal("tail-two", "few_starved", 0.0, None),
    goal("idle-http", KIB, 8.0, None),
    goal("idle-http", RSS, 10.0, None),
    goal("idle-tcp", KIB, 40.0, None),
    goal("start", START, 40.0, None),
    goal("start", PROGRAM, 10.0, None),
];

/// A peer that no package registry has, and what it had beside one that was measured with it.
struct Elsewhere {
    row: &'static str,
    peer: &'static str,
    had: f64,
    beside: (&'static str, f64),
}

const fn elsewhere(
    row: &'static str,
    peer: &'static str,
    had: f64,
    beside: (&'static str, f64),
) -> Elsewhere {
    Elsewhere { row, peer, had, beside }
}

/// The design's tables of ztunnel and linkerd2-proxy.
const ELSEWHERE: &[Elsewhere] = &[
    elsewhere("http1-1", "ztunnel", 83.3, ("nginx", 74.7)),
    elsewhere("http1-1", "linkerd", 168.3, ("nginx", 74.7)),
    elsewhere("http1-32", "ztunnel", 27.3, ("nginx", 26.4)),
    elsewhere("http1-32", "linkerd", 48.8, ("nginx", 26.4)),
    elsewhere("http1-256", "ztunnel", 25.9, ("nginx", 38.9)),
    elsewhere("http1-256", "linkerd", 65.2, ("nginx", 38.9)),
    elsewhere("http1-new", "ztunnel", 157.0, ("haproxy-http", 55.9)),
    elsewhere("http1-new", "linkerd", 88.0, ("haproxy-http", 55.9)),
    elsewhere("tcp-new", "ztunnel", 157.0, ("nginx", 1188.0)),
    elsewhere("tcp-new", "linkerd", 702.0, ("nginx", 1188.0)),
    elsewhere("bulk-1", "ztunnel", 0.76, ("nginx", 1.68)),
    elsewhere("bulk-1", "linkerd", 2.47, ("nginx", 1.68)),
    elsewhere("bulk-8", "ztunnel", 0.93, ("nginx", 1.76)),
    elsewhere("bulk-8", "linkerd", 2.58, ("nginx", 1.76)),
    elsewhere("grpc-1", "ztunnel", 18.7, ("nginx", 12.3)),
    elsewhere("grpc-1", "linkerd", 38.1, ("envoy-http", 41.0)),
    elsewhere("grpc-8", "ztunnel", 15.9, ("nginx", 11.5)),
    elsewhere("grpc-8", "linkerd", 37.5, ("envoy-http", 60.0)),
    elsewhere("idle-http", "ztunnel", 9.4, ("nginx", 102.7)),
    elsewhere("idle-http", "linkerd", 15.4, ("nginx", 102.7)),
    elsewhere("idle-tcp", "ztunnel", 9.4, ("nginx", 102.7)),
    elsewhere("idle-tcp", "linkerd", 65.7, ("nginx", 102.7)),
];

/// What those peers would have had in this row.
pub(super) fn estimates(row: &Measured) -> Vec<Estimate> {
    let of = |there: &Elsewhere| {
        let (from, had) = there.beside;
        let ratio = there.had / had;
        let value = row.median(from, &row.figure)? * ratio;
        Some(Estimate { peer: there.peer.to_owned(), value, from: from.to_owned(), ratio })
    };
    ELSEWHERE.iter().filter(|there| there.row == row.name).filter_map(of).collect()
}

/// Every goal of these rows; and in each, to be ahead of every peer.
pub(super) fn reached(rows: &[Measured]) -> Vec<Reached> {
    let mut all = Vec::new();
    for row in rows {
        all.extend(GOALS.iter().filter(|goal| goal.row == row.name).map(|goal| goal.reached(row)));
        all.extend(ahead(row));
        all.extend(DENIED.iter().filter_map(|(figure, because)| denied(row, figure, because)));
    }
    all
}

/// What no policy may have let happen in any round.
const DENIED: &[(&str, &str)] = &[
    (DENIED_PASSED, "no call that the policy denies is answered"),
    (DENIED_SEEN, "none reaches the backend"),
];

fn denied(row: &Measured, figure: &str, because: &str) -> Option<Reached> {
    let ours = row.summaries.iter().find(|summary| summary.contender == OURS)?;
    let highest = ours.figures.get(figure)?.high;
    let mut reached = Reached::new(row, figure, 0.0, because.to_owned());
    (reached.ours, reached.is_reached) = (Some(highest), highest <= 0.0);
    Some(reached)
}

impl Goal {
    fn reached(&self, row: &Measured) -> Reached {
        let there = self.against.and_then(|(peer, had)| {
            let has = row.median(peer, self.figure)?;
            Some((peer, had, has * self.wanted / had))
        });
        let (wanted, because) = match there {
            Some((peer, had, wanted)) => {
                let ratio = self.wanted / had;
                (wanted, format!("{ratio:.2} times {peer}: {} where it had {had}", self.wanted))
            }
            None => (self.wanted, "as the design says".to_owned()),
        };
        Reached::new(row, self.figure, wanted, because)
    }
}

/// The libraries of ours with nothing of ours.
const BARE: &str = "bare";

/// Those that see no calls, whatever they pass.
const BLIND: &[&str] = &["nginx", "haproxy-tcp", "envoy-tcp", "stunnel", "ghostunnel", "ztunnel"];

/// Ahead of the best that was measured or estimated; not of what has no TLS or is only libraries, nor where
/// calls share connections of what sees none.
fn ahead(row: &Measured) -> Option<Reached> {
    let is_shared = row.name.starts_with("grpc-");
    let is_floor = |name: &str| [OURS, NONE, "relay", BARE].contains(&name);
    let is_peer = |name: &str| !(is_floor(name) || is_shared && BLIND.contains(&name));
    let measured = row.summaries.iter().filter(|summary| is_peer(&summary.contender));
    let measured = measured.filter_map(|summary| {
        Some((summary.contender.as_str(), summary.figures.get(&row.figure)?.median))
    });
    let estimated = row.estimates.iter().filter(|estimate| is_peer(&estimate.peer));
    let estimated = estimated.map(|estimate| (estimate.peer.as_str(), estimate.value));
    let best = measured.chain(estimated).min_by(|(_, a), (_, b)| a.total_cmp(b));
    let (peer, wanted) = best?;
    Some(Reached::new(row, &row.figure, wanted, format!("ahead of {peer}, the best peer")))
}

impl Reached {
    fn new(row: &Measured, figure: &str, wanted: f64, because: String) -> Self {
        let ours = row.median(OURS, figure);
        Self {
            row: row.name.clone(),
            figure: figure.to_owned(),
            ours,
            wanted,
            because,
            is_reached: ours.is_some_and(|ours| ours <= wanted),
            bare: row.median(BARE, figure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            result::{Spread, Summary},
            rows::ROWS,
        },
        *,
    };

    fn row(figures: &[(&str, f64)]) -> Measured {
        let summary = |(name, value): &(&str, f64)| Summary {
            contender: (*name).to_owned(),
            figures: [(CPU.to_owned(), Spread { median: *value, low: *value, high: *value })]
                .into(),
            to_ours: None,
            failed: 0,
        };
        let mut row = Measured {
            name: "http1-32".to_owned(),
            title: String::new(),
            figure: CPU.to_owned(),
            samples: Vec::new(),
            summaries: figures.iter().map(summary).collect(),
            estimates: Vec::new(),
        };
        row.estimates = estimates(&row);
        row
    }

    #[test]
    fn a_goal_moves_with_the_peer_that_it_was_set_against() {
        // A machine that is twice as slow: 24 where nginx had 26.4.
        let slow = row(&[("ours", 47.9), ("nginx", 52.8), ("none", 0.0), ("relay", 10.0)]);
        let goals = reached(&[slow]);
        assert_eq!(goals.len(), 2);
        assert!((goals[0].wanted - 48.0).abs() < 1e-9 && goals[0].is_reached, "{goals:?}");
        // nginx itself is the best here: ztunnel and linkerd follow by their ratios.
        assert_eq!((goals[1].wanted, goals[1].is_reached), (52.8, true));

        let missed = reached(&[row(&[("ours", 25.0), ("nginx", 26.4)])]);
        assert_eq!([missed[0].is_reached, missed[1].is_reached], [false, true]);
    }

    #[test]
    fn over_grpc_ours_is_beside_those_that_see_calls() {
        let of = |ours| {
            let mut row = row(&[("ours", ours), ("nginx", 3.0), ("envoy-http", 82.0)]);
            row.name = "grpc-1".to_owned();
            row.estimates = estimates(&row);
            reached(&[row]).iter().map(|goal| (goal.wanted, goal.is_reached)).collect::<Vec<_>>()
        };
        // linkerd by its ratio to Envoy: 76.2.
        let near = |goals: &[(f64, bool)], wanted: [f64; 2]| {
            goals.iter().zip(wanted).all(|((found, _), wanted)| (found - wanted).abs() < 0.01)
        };
        let goals = of(40.0);
        assert!(near(&goals, [32.0, 76.2]) && !goals[0].1 && goals[1].1, "{goals:?}");
        assert!(of(31.0).iter().all(|(_, is_reached)| *is_reached));
    }

    #[test]
    fn without_the_peer_a_goal_is_as_it_was_written_and_without_us_it_is_missed() {
        let goals = reached(&[row(&[("ours", 23.0)])]);
        assert_eq!(goals.len(), 1);
        assert_eq!((goals[0].wanted, goals[0].is_reached), (24.0, true));

        assert!(!reached(&[row(&[("nginx", 26.4)])])[0].is_reached);
    }

    #[test]
    fn one_round_in_which_a_denied_call_was_seen_misses_the_goal() {
        let mut row = row(&[("ours", 10.0)]);
        for (seen, is_reached) in [(0.0, true), (1.0, false)] {
            let spread = Spread { median: 0.0, low: 0.0, high: seen };
            row.summaries[0].figures.insert(DENIED_SEEN.to_owned(), spread);
            let goals = reached(std::slice::from_ref(&row));
            let goal = goals.iter().find(|goal| goal.figure == DENIED_SEEN).unwrap();
            assert_eq!((goal.ours, goal.is_reached), (Some(seen), is_reached));
        }
    }

    #[test]
    fn beside_a_goal_stands_what_the_libraries_have_by_themselves() {
        let of = |figures: &[(&str, f64)]| reached(&[row(figures)])[0].bare;
        assert_eq!(of(&[("ours", 36.0), ("nginx", 20.0), ("bare", 18.5)]), Some(18.5));
        assert_eq!(of(&[("ours", 36.0), ("nginx", 20.0)]), None);
    }

    #[test]
    fn those_who_are_not_here_are_told_by_ratio() {
        let row = row(&[("nginx", 52.8)]);
        let names = row.estimates.iter().map(|one| one.peer.as_str()).collect::<Vec<_>>();
        assert_eq!(names, ["ztunnel", "linkerd"]);
        assert!((row.estimates[0].value - 54.6).abs() < 1e-9, "{:?}", row.estimates);
    }

    #[test]
    fn every_goal_and_every_ratio_is_of_a_row_that_is_measured() {
        let is_row = |name: &str| ROWS.iter().any(|row| row.name == name);
        assert!(GOALS.iter().all(|goal| is_row(goal.row)));
        assert!(ELSEWHERE.iter().all(|there| is_row(there.row)));
        // And every row has a goal; those of schedules are to be ahead.
        let has = |name: &str| GOALS.iter().any(|goal| goal.row == name);
        assert!(ROWS.iter().all(|row| has(row.name) || ["tail-50", "tail-80"].contains(&row.name)));
    }
}
