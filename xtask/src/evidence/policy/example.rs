//! The manual's example: its tests, a plan of a careless change, and recorded calls replayed.

use std::{
    fmt::Write as _,
    fs,
    io::{BufWriter, Write as _},
    path::Path,
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{Effort, Shown};
use crate::cargo::{self, Profile};

/// The change: a caller loses its rule, a segment is enforced, a call is opened.
const CHANGES: [(&str, &str); 3] = [
    ("from: [fraud, payments]", "from: fraud"),
    ("mode: audit", "mode: enforce"),
    (
        "      - http: POST /v1/payments/{id}/capture\n",
        "      - http: POST /v1/payments/{id}/capture\n      - http: POST /v1/payments/{id}/refund\n",
    ),
];

/// A row of a ledger.
type Row = (&'static str, &'static str, &'static str, &'static str, u64, &'static str);

/// Recorded calls: caller, callee, call, verdict, how many, the last one.
const RECORDED: [Row; 4] = [
    ("payments", "ledger", "ledger.v1.Ledger/GetEntry", "allow", 88_120, "2026-03-02T10:07:00Z"),
    ("checkout", "notifier", "POST /v1/messages", "audit", 1_204, "2026-03-02T00:14:00Z"),
    ("checkout", "payments", "POST /v1/payments/{id}/refund", "deny", 318, "2026-03-02T09:55:00Z"),
    ("checkout", "payments", "POST /v1/payments", "allow", 45_923_130, "2026-03-02T10:14:00Z"),
];

/// Calls of the large record, all in all, and its rows.
const LARGE_CALLS: u64 = 50_000_000;
const LARGE_ROWS: u64 = 100_000;

/// 1. By the program itself.
pub(super) fn plan(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let profile = if effort == Effort::Quick { Profile::Dev } else { Profile::Release };
    let program = cargo::build(profile)?.join("cellwall");
    let folder = tempfile::tempdir()?;
    let home = folder.path();
    let example = cargo::root()?.join("policy-language/tests/example");
    for name in ["old", "policy"] {
        fs::create_dir_all(home.join(name).join("segments"))?;
        for file in ["cellwall.yaml", "segments/payments.yaml"] {
            fs::copy(example.join(file), home.join(name).join(file))?;
        }
    }
    let tested = run(&program, home, &["policy", "test", "old"])?;
    shown.goal("the example's 13 tests pass", tested.text.ends_with("13 passed, 0 failed\n"));
    let changed = home.join("policy/segments/payments.yaml");
    let mut text = fs::read_to_string(&changed)?;
    for (from, to) in CHANGES {
        ensure!(text.contains(from), "the example has no `{from}`");
        text = text.replacen(from, to, 1);
    }
    fs::write(&changed, text)?;
    let rows: Vec<String> = RECORDED.iter().map(|row| edge(row).to_string()).collect();
    fs::write(home.join("edges.jsonl"), rows.join("\n"))?;
    let arguments = ["policy", "plan", "--against", "old", "--replay", "edges.jsonl"];
    let planned = run(&program, home, &arguments)?;
    println!("{}", planned.text);
    shown.goal("the plan is blocked, with exit code 3", planned.code == Some(3));
    let says = |text: &str| planned.text.contains(text);
    shown.goal(
        "1 edge opens, 2 close, 1 mode changes",
        says("1 edge opens, 2 close, 1 mode change"),
    );
    shown.goal(
        "89,324 observed calls would be denied",
        says("89,324 observed calls would be DENIED"),
    );
    let document = run(&program, home, &[&arguments[..], &["-o", "json"]].concat())?;
    shown
        .figure("plan", serde_json::from_str::<Value>(&document.text).context("the plan as JSON")?);
    large(&mut shown, &program, home)?;
    lines(&mut shown, &program, home, effort)?;
    Ok(shown)
}

struct Ran {
    code: Option<i32>,
    text: String,
    seconds: f64,
}

fn run(program: &Path, home: &Path, arguments: &[&str]) -> anyhow::Result<Ran> {
    let started = Instant::now();
    let output = Command::new(program)
        .args(arguments)
        .current_dir(home)
        .env("NO_COLOR", "1")
        .output()
        .with_context(|| format!("starting {}", program.display()))?;
    let text = String::from_utf8(output.stdout).context("what it printed is not text")?;
    Ok(Ran { code: output.status.code(), text, seconds: started.elapsed().as_secs_f64() })
}

fn edge(row: &Row) -> Value {
    let (caller, callee, call, verdict, count, last) = row;
    let id = |name: &str| format!("spiffe://pay.example/prod/{name}");
    json!({
        "caller": id(caller), "callee": id(callee), "call": call, "verdict": verdict,
        "count": count, "last_at": last,
    })
}

/// A ledger of a year: as many calls as a busy mesh has in two weeks, in rows of a day each.
fn large(shown: &mut Shown, program: &Path, home: &Path) -> anyhow::Result<()> {
    let mut text = String::new();
    for row in 0..LARGE_ROWS {
        let kind = usize::try_from(row)? % RECORDED.len();
        let (caller, callee, call, verdict, _, last) =
            RECORDED.get(kind).copied().context("a recorded call")?;
        let count = LARGE_CALLS / LARGE_ROWS;
        let _ = writeln!(text, "{}", edge(&(caller, callee, call, verdict, count, last)));
    }
    fs::write(home.join("large.jsonl"), text)?;
    let arguments = ["policy", "plan", "--against", "old", "--replay", "large.jsonl", "-o", "json"];
    let ran = run(program, home, &arguments)?;
    shown.figure("aggregated_calls", LARGE_CALLS);
    shown.figure("aggregated_rows", LARGE_ROWS);
    shown.figure("aggregated_seconds", ran.seconds);
    let all = ran.text.contains("50000000");
    shown.goal("50 million aggregated calls were counted", ran.code == Some(3) && all);
    shown.goal("within 10 seconds", ran.seconds < 10.0);
    Ok(())
}

/// Lines as a sidecar writes them, one for each call.
fn lines(shown: &mut Shown, program: &Path, home: &Path, effort: Effort) -> anyhow::Result<()> {
    let count: u32 = if effort == Effort::Quick { 50_000 } else { 2_000_000 };
    let mut file = BufWriter::new(fs::File::create(home.join("access.log"))?);
    for number in 0..count {
        writeln!(
            file,
            r#"{{"ts":"2026-03-02T10:14:07.218431Z","level":"info","kind":"call","cellwall.verdict":"allow","cellwall.by":"checkout-initiates","cellwall.policy.version":42,"cellwall.direction":"inbound","cellwall.caller.id":"spiffe://pay.example/prod/checkout","cellwall.callee.id":"spiffe://pay.example/prod/payments","network.peer.address":"10.2.4.17","network.peer.port":{},"http.request.method":"POST","http.route":"/v1/payments","http.response.status_code":200,"duration_s":0.0021,"request_bytes":62,"response_bytes":120}}"#,
            1024 + number % 60_000
        )?;
    }
    file.flush()?;
    let arguments = ["policy", "plan", "--against", "old", "--replay", "access.log", "-o", "json"];
    let ran = run(program, home, &arguments)?;
    shown.figure("raw_lines", count);
    shown.figure("raw_lines_per_second", (f64::from(count) / ran.seconds).round());
    shown.goal("each line was counted", ran.text.contains(&count.to_string()));
    Ok(())
}
