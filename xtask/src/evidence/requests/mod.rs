//! One reading of every request: what the issue asks to show.

mod confusion;
mod protocols;

use std::{collections::BTreeSet, fs};

use anyhow::Context as _;
use serde_json::Value;

use super::{Effort, Item, Shown, fuzz, mutants, steps};
use crate::{
    cargo::{self, Profile},
    interop::ready,
};

/// In the order of the issue.
pub(super) const ITEMS: &[Item] = &[
    Item { title: "h2spec at both doors; ten thousand handshakes", run: standards },
    Item { title: "raw requests, paths and spoofs, beside other proxies", run: confusion::corpus },
    Item { title: "resets at every byte of a payment", run: resets },
    Item { title: "every protocol with its own clients and servers", run: protocols::all },
    Item { title: "fuzzers: heads, HTTP/1, the frames of HTTP/2", run: fuzzed },
    Item { title: "mutants of what reads and forwards requests", run: changed },
    Item { title: "the origin witness in every end-to-end test", run: witnessed },
];

/// 1. HTTP/2 as its standard says (T2), and a handshake of its own for each connection (T3).
fn standards(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let programs = cargo::build(Profile::Dev)?;
    let number = |figures: &serde_json::Map<String, Value>, name: &str| {
        figures.get(name).and_then(Value::as_u64).unwrap_or_default()
    };
    match ready::h2spec(&programs) {
        Ok(program) => {
            let probe = ("cellwall-proxy", "main", "h2spec::both_doors_keep_the_rules");
            let figures =
                steps::figures_with(probe, ("CELLWALL_H2SPEC", &program.to_string_lossy()))?;
            let all = number(&figures, "inbound_tests");
            let passed = |door: &str| number(&figures, &format!("{door}_passed"));
            shown.goal("inbound: every case of h2spec", all > 0 && passed("inbound") == all);
            // The test itself says which, and why.
            shown.goal("outbound: every case but one", passed("outbound") + 1 == all);
            shown.figures.extend(figures);
        }
        Err(why) => shown.goal(&format!("h2spec is here (it did not run: {why:#})"), false),
    }
    let name = "handshakes::no_ticket_is_sent_and_no_session_resumed_however_many_there_are";
    let figures = steps::test_figures("cellwall-proxy", name, &programs, effort)?;
    let handshakes = number(&figures, "handshakes");
    let wanted = if effort == Effort::Quick { 1 } else { 10_000 };
    shown.goal("as many handshakes as were asked for", handshakes >= wanted);
    shown.goal("each of them whole", number(&figures, "full") == handshakes);
    shown.goal("no ticket", figures.get("tickets").and_then(Value::as_u64) == Some(0));
    shown.figures.extend(figures);
    for (name, figure) in &shown.figures {
        println!("  {name}: {figure}");
    }
    Ok(shown)
}

/// 3. A million payments over connections that are cut.
fn resets(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let profile = if effort == Effort::Quick { Profile::Dev } else { Profile::Release };
    let programs = cargo::build(profile)?;
    let name = "resets::a_payment_is_paid_once_or_not_and_its_caller_knows_what_is_known";
    let figures = steps::test_figures("cellwall-proxy", name, &programs, effort)?;
    for (name, figure) in &figures {
        shown.figure(name, figure.clone());
    }
    let number = |name: &str| figures.get(name).and_then(Value::as_u64);
    let wanted = if effort == Effort::Quick { 1 } else { 1_000_000 };
    shown.goal("as many calls as were asked for", number("calls") >= Some(wanted));
    shown.goal("none was paid twice", number("paid_twice") == Some(0));
    shown.goal("each caller was told the truth", number("told_wrongly") == Some(0));
    Ok(shown)
}

/// 5. What reads requests reads anything.
fn fuzzed(effort: Effort) -> anyhow::Result<Shown> {
    fuzz::targets(&fuzz::REQUESTS, effort)
}

/// 6. What is changed where requests are read, cleaned and sent on is noticed.
fn changed(effort: Effort) -> anyhow::Result<Shown> {
    mutants::shard("docs/mutants-requests.json", &["cellwall-proxy"], effort)
}

/// 7. What workloads saw in each end-to-end test, judged apart from the engine (T27).
fn witnessed(_: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let programs = cargo::build(Profile::Dev)?;
    let folder = tempfile::tempdir()?;
    let counts = folder.path().join("witness");
    let mut tests = cargo::cargo()?;
    tests.args(["test", "-q", "-p", "cellwall-proxy", "--test", "main"]);
    tests.env("CELLWALL_BIN_DIR", &programs).env("CELLWALL_WITNESS", &counts);
    let status = tests.status().context("running the sidecar's tests")?;
    shown.goal("the sidecar's end-to-end tests pass", status.success());
    let text = fs::read_to_string(&counts).context("no workload was judged")?;
    let (mut seen, mut denied, mut names) = (0, 0, BTreeSet::new());
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).context("a witness's count")?;
        let number = |name: &str| line.get(name).and_then(Value::as_u64).unwrap_or_default();
        seen += number("seen");
        denied += number("denied");
        names.insert(line.get("test").cloned().unwrap_or_default().to_string());
    }
    shown.figure("workloads_judged", text.lines().count());
    shown.figure("tests_with_a_witness", names.len());
    shown.figure("requests_seen", seen);
    shown.figure("denied_but_seen", denied);
    shown.goal("workloads saw requests", seen > 0);
    shown.goal("none of them one that no policy allows", denied == 0);
    Ok(shown)
}
