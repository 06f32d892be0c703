//! `cargo evidence TOPIC [N]`: runs what was asked to be shown, afresh, and prints its figures.

mod abuse;
mod at_rest;
mod bench;
mod fuzz;
mod mutants;
mod policy;
mod requests;
mod slice;
mod steps;
mod trust;

use std::{
    fs,
    path::Path,
    process::ExitCode,
    time::{Instant, SystemTime},
};

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

use crate::cargo;

pub(crate) use at_rest::at_rest;
pub(crate) use fuzz::long as fuzzed;

/// Options of `cargo evidence`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `slice`: one payment call, end to end. `trust`: the same under pressure. `policy`: the
    /// language and its tools. `requests`: what is judged is what is sent. `bench`: what it costs,
    /// beside others.
    topic: String,
    /// One item of the topic; all of them without.
    item: Option<usize>,
    /// A shorter form, for CI: the same checks, fewer seconds.
    #[arg(long)]
    quick: bool,
}

/// One thing to show.
struct Item {
    title: &'static str,
    run: fn(Effort) -> anyhow::Result<Shown>,
}

/// How long to look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Effort {
    Quick,
    Full,
}

/// What was seen, and whether the goal holds.
#[derive(Debug, Default)]
struct Shown {
    figures: Map<String, Value>,
    missed: Vec<String>,
}

impl Shown {
    /// A figure, printed at once.
    fn figure(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        match &value {
            Value::String(text) if text.contains('\n') => println!("  {name}:\n{}", indent(text)),
            value => println!("  {name}: {value}"),
        }
        self.figures.insert(name.to_owned(), value);
    }

    /// A goal: what was missed is said at the end and fails the command.
    fn goal(&mut self, name: &str, held: bool) {
        println!("  {} {name}", if held { "ok  " } else { "FAIL" });
        if !held {
            self.missed.push(name.to_owned());
        }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let items = match args.topic.as_str() {
        "slice" => slice::ITEMS,
        "trust" => trust::ITEMS,
        "policy" => policy::ITEMS,
        "requests" => requests::ITEMS,
        "bench" => bench::ITEMS,
        other => bail!("no topic `{other}`; there are: slice, trust, policy, requests, bench"),
    };
    let effort = if args.quick { Effort::Quick } else { Effort::Full };
    let chosen: Vec<usize> = match args.item {
        Some(number) if (1..=items.len()).contains(&number) => vec![number],
        Some(number) => bail!("{} has items 1 to {}, not {number}", args.topic, items.len()),
        None => (1..=items.len()).collect(),
    };
    let mut missed = 0;
    for number in chosen {
        let item = items.get(number - 1).context("an item that was checked to be there")?;
        missed += usize::from(!show(&args.topic, number, item, effort)?);
    }
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(topic: &str, number: usize, item: &Item, effort: Effort) -> anyhow::Result<bool> {
    println!("{topic} {number}: {}", item.title);
    let started = Instant::now();
    let shown = (item.run)(effort).unwrap_or_else(|error| {
        let missed = vec![format!("could not be shown: {error:#}")];
        println!("  FAIL {error:#}");
        Shown { missed, ..Shown::default() }
    });
    let held = shown.missed.is_empty();
    let seconds = started.elapsed().as_secs_f64();
    println!("  {} in {seconds:.1} s", if held { "holds" } else { "does not hold" });
    let document = json!({
        "topic": topic,
        "item": number,
        "title": item.title,
        "quick": effort == Effort::Quick,
        "at": SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs(),
        "commit": commit(),
        "machine": machine(),
        "seconds": seconds,
        "holds": held,
        "missed": shown.missed,
        "figures": shown.figures,
    });
    let folder = cargo::root()?.join("evidence");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{topic}-{number}.json"));
    fs::write(&path, serde_json::to_vec_pretty(&document)?)?;
    Ok(held)
}

/// The figures that a test of `package` prints, with the programs in `folder`.
pub(crate) fn figures(
    package: &str,
    test: &str,
    folder: &Path,
) -> anyhow::Result<Map<String, Value>> {
    steps::test_figures(package, test, folder, Effort::Quick)
}

fn commit() -> String {
    let root = cargo::root().unwrap_or_default();
    steps::output("git", &["-C", &root.to_string_lossy(), "describe", "--always", "--dirty"])
        .unwrap_or_default()
}

fn machine() -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find(|line| line.starts_with("model name"));
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "cpu": model.and_then(|line| line.split_once(": ")).map(|(_, name)| name),
        "cores": cores,
        "kernel": kernel.trim(),
    })
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
