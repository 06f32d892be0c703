//! The slice under pressure: certificates that end, policies that change, a control plane that dies,
//! and somebody who lies.

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::{
    Effort, Item, Shown, abuse, mutants,
    steps::{self, Probe},
};
use crate::{
    cargo::{self, Profile},
    demo,
    instructions::{self, Counter},
    interop::{self, verdicts},
};

const PROXY: &str = "cellwall-proxy";
const MAIN: &str = "main";

/// In the order of the issue.
pub(super) const ITEMS: &[Item] = &[
    Item {
        title: "mutants of what decides who may what",
        run: |effort| mutants::shard("docs/mutants.json", &[], effort),
    },
    Item { title: "corpora: certificates, names, headers, snapshots, messages", run: corpora },
    Item { title: "500 open streams of each protocol, each cause of an end", run: ending },
    Item { title: "a TCP connection over 30 lives of its SVIDs, and cheats", run: reproof },
    Item { title: "the control plane killed three times under load", run: away },
    Item { title: "what a decision costs at 10, 1,000 and 10,000 rules", run: decide },
    Item { title: "the demo, with a live edit and a killed control plane", run: acts },
    Item { title: "independent peers, and the abuse cases", run: peers },
];

fn run(probe: Probe, effort: Effort) -> anyhow::Result<Map<String, Value>> {
    let programs = cargo::build(Profile::Dev)?;
    steps::figures_of(probe, &programs, effort)
}

/// 2. Each corpus, by the test that runs it, and the figure that has to be 0.
const CORPORA: &[(Probe, &str)] = &[
    ((PROXY, MAIN, "corpus::no_hostile_certificate_reaches_a_workload_or_gets_a_call"), "accepted"),
    (
        (
            "cellwall-policy",
            "policy",
            "near_misses::whoever_is_almost_an_allowed_caller_is_denied_or_nobody",
        ),
        "allowed",
    ),
    ((PROXY, MAIN, "near_misses::whoever_is_almost_the_allowed_caller_is_denied"), "allowed"),
    (
        (
            PROXY,
            MAIN,
            "near_misses::\
             whoever_spells_the_allowed_name_another_way_does_not_get_through_the_handshake",
        ),
        "allowed",
    ),
    (
        (
            PROXY,
            MAIN,
            "spoofs::no_spelling_of_our_header_gives_the_workload_another_caller_over_http_1",
        ),
        "spoofed",
    ),
    (
        (
            PROXY,
            MAIN,
            "spoofs::no_spelling_of_our_header_gives_the_workload_another_caller_over_http_2",
        ),
        "spoofed",
    ),
    (("cellwall-policy", "policy", "tampered::no_field_and_no_byte_can_be_changed"), "accepted"),
    (
        (PROXY, MAIN, "workload_api::a_message_that_is_not_right_is_discarded_whole_and_said_so"),
        "taken",
    ),
];

fn corpora(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    for (probe, zero) in CORPORA {
        let figures = run(*probe, effort)?;
        let held = figures.get(*zero) == Some(&json!(0));
        shown.figure(probe.2, figures);
        shown.goal(&format!("{}: {zero} 0", probe.2), held);
    }
    let programs = cargo::build(Profile::Dev)?;
    let judged = verdicts::run_all(&programs)?;
    shown.figure("peers", verdicts::table(&judged));
    for one in &judged {
        // A peer that could not be had is named; what it lets in is its own affair.
        shown.goal(one.leg.peer, one.leg.held() != Some(false));
    }
    Ok(shown)
}

/// 3. From the event to the last byte.
fn ending(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let test = (PROXY, MAIN, "ending::streams_end_in_time_and_nobody_elses");
    let figures = run(test, effort)?;
    let rows = figures.get("rows").and_then(Value::as_array).context("no rows")?;
    for row in rows {
        println!("  {row}");
    }
    let lost = rows.iter().all(|row| row.get("others_lost") == Some(&json!(0)));
    let within = rows.iter().all(|row| row.get("within_limit") == Some(&json!(true)));
    shown.goal("other connections lost: 0", lost);
    shown.goal("each stream ended within its limit", within);
    shown.figures.extend(figures);
    Ok(shown)
}

/// 4. Re-proof, honest and not.
fn reproof(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let busy = (PROXY, MAIN, "reproof::a_busy_connection_lives_through_many_svids");
    let figures = run(busy, effort)?;
    let zero = |name: &str| figures.get(name) == Some(&json!(0));
    shown.goal("bytes lost 0", zero("bytes_lost"));
    shown.goal("closed 0", zero("closed"));
    shown.figure("busy_connection", figures);
    let cheats = (PROXY, MAIN, "reproof::no_cheat_carries_a_connection_over_its_end");
    let figures = run(cheats, effort)?;
    shown.goal("each cheat refused", figures.get("extended") == Some(&json!(0)));
    shown.figure("cheats", figures);
    Ok(shown)
}

/// 5. Without the control plane: with the agent inside it, and with another Workload API.
fn away(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let mesh = "outage::calls_go_on_until_the_svids_end_are_denied_then_and_come_back";
    let figures = run(("cellwall-testkit", "processes", mesh), effort)?;
    let zero = |name: &str| figures.get(name) == Some(&json!(0));
    shown.goal("failed calls before the SVIDs' end 0", zero("failed_before_end"));
    shown.goal("passed after it 0", zero("passed_after_end"));
    let back = figures.get("back_after_seconds").and_then(Value::as_array).into_iter().flatten();
    let mut back = back.filter_map(Value::as_f64);
    shown.goal("back within 5 s", back.all(|seconds| seconds < 5.0));
    shown.figure("agent_inside", figures);
    let scripted = "outage::calls_go_on_while_the_control_plane_is_away_and_sidecars_are_restarted";
    let figures = run((PROXY, MAIN, scripted), effort)?;
    shown.goal("failed calls 0", figures.get("calls_failed") == Some(&json!(0)));
    shown.figure("another_workload_api", figures);
    let fleet =
        run((PROXY, "lib", "pauses::tests::a_fleet_comes_back_scattered_and_soon"), effort)?;
    shown.figure("a_fleet_comes_back", fleet);
    Ok(shown)
}

/// 6. The step `decide` of `cellwall-bench`: time, and instructions under callgrind.
fn decide(effort: Effort) -> anyhow::Result<Shown> {
    const SIZES: [&str; 3] = ["10", "1000", "10000"];
    let mut shown = Shown::default();
    let program = instructions::program()?;
    let rounds = if effort == Effort::Quick { 3 } else { 11 };
    // Interleaved: what else the machine does meets all sizes alike.
    let mut times: [Vec<f64>; 3] = Default::default();
    for _ in 0..rounds {
        for (size, times) in SIZES.iter().zip(&mut times) {
            let step = format!("decide-{size}");
            times.push(steps::must(&program, &["repeat", &step, "1000000"])?.trim().parse()?);
        }
    }
    let mut medians = Vec::new();
    for (size, mut times) in SIZES.into_iter().zip(times) {
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2).copied().context("no rounds")?;
        shown.figure(&format!("ns_per_decision_{size}_rules"), median);
        medians.push(median);
    }
    let (least, most) = spread(&medians);
    shown.goal("within 2x of each other", most < 2.0 * least);
    let counter = match Counter::new()? {
        Ok(counter) => counter,
        Err(why) => {
            shown.figure("instructions", format!("{why}: not counted"));
            return Ok(shown);
        }
    };
    let mut counts = Vec::new();
    for size in SIZES {
        let count = counter.count(&format!("decide-{size}"))?;
        shown.figure(&format!("instructions_per_decision_{size}_rules"), count);
        counts.push(f64::from(u32::try_from(count)?));
    }
    let (least, most) = spread(&counts);
    shown.goal("instructions within 2x of each other", most < 2.0 * least);
    Ok(shown)
}

fn spread(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    (least, values.iter().copied().fold(0.0, f64::max))
}

/// 7. The demo.
fn acts(_: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let programs = cargo::build(Profile::Dev)?;
    let tally = demo::script(&programs)?;
    shown.figure("acts", tally.passed + tally.failed);
    shown.goal("each act holds", tally.failed == 0 && tally.passed > 0);
    Ok(shown)
}

/// 8. What others say to the running pieces, and each abuse case, tried.
fn peers(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let programs = cargo::build(Profile::Dev)?;
    for leg in interop::run_all(&programs)? {
        shown.figure(leg.peer, leg.transcript.trim_end());
        shown.goal(leg.peer, leg.held() == Some(true));
    }
    for (case, probe) in abuse::CASES {
        let result = steps::test_output(*probe, &programs, effort);
        if let Err(error) = &result {
            println!("{error:#}");
        }
        shown.goal(&format!("{case}: {}", probe.2), result.is_ok());
    }
    Ok(shown)
}
