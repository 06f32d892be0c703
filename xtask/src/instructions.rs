//! `cargo instructions`: how many instructions the pure steps of a call take, against those that are
//! written down.
//!
//! valgrind counts them: it does not depend on what else the machine does. What would make two runs
//! differ is taken away. Hash tables have the same seeds each time, because the kernel's randomness
//! is zeros for the program that is counted; the C library copies and compares without AVX, whatever
//! the processor has; and the program calls `getppid` where its repetitions begin and where they
//! end, so that nothing before and after them counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::cargo::{self, Profile};

/// Options of `cargo instructions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Writes down what is counted now: the change is meant.
    #[arg(long)]
    bless: bool,
}

/// Where the counts are written down, in the repository.
const BASELINE: &str = "bench/instructions.json";

/// How much more a step may take, in percent.
const MORE: f64 = 3.0;

/// Repetitions of a step: whole turns of its 16 calls.
const REPETITIONS: u32 = 1600;

/// What the program calls where they begin and where they end; there callgrind writes what it has
/// counted so far, and begins again.
const MARK: &str = "getppid";

/// The C library's own copies of a function that it picks by the processor: those without AVX.
const PLAIN: &str = "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-BMI2,-ERMS,-FSRM";

/// Zeros instead of random bytes: what seeds hash tables.
const ZEROS: &str = r"#include <stddef.h>
#include <string.h>
#include <sys/types.h>
ssize_t getrandom(void *buffer, size_t length, unsigned flags) {
    (void)flags;
    memset(buffer, 0, length);
    return (ssize_t)length;
}
";

/// What was counted, and by what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counts {
    architecture: String,
    rustc: String,
    valgrind: String,
    /// Of one repetition, by the step's name.
    instructions: BTreeMap<String, u64>,
}

/// How the counts stand to those that are written down.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// Each is within what is allowed.
    Held,
    /// Some are not: which, and why.
    Missed(Vec<String>),
    /// They cannot be compared here: why. Neither held nor missed.
    NotCompared(String),
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.bless {
        let counter = Counter::new()?.map_err(anyhow::Error::msg)?;
        let text = serde_json::to_string_pretty(&counter.counts()?)?;
        fs::write(cargo::root()?.join(BASELINE), text + "\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(match guard()? {
        Stand::Held => ExitCode::SUCCESS,
        Stand::Missed(missed) => {
            missed.iter().for_each(|missed| println!("FAILED: {missed}"));
            ExitCode::FAILURE
        }
        Stand::NotCompared(why) => {
            println!("NOT COMPARED: {why}");
            ExitCode::from(2)
        }
    })
}

/// Counts, and compares.
pub(crate) fn guard() -> anyhow::Result<Stand> {
    let baseline = fs::read(cargo::root()?.join(BASELINE)).context(BASELINE)?;
    let baseline: Counts = serde_json::from_slice(&baseline).context(BASELINE)?;
    let counter = match Counter::new()? {
        Ok(counter) => counter,
        Err(why) => return Ok(Stand::NotCompared(why)),
    };
    let now = counter.counts()?;
    Ok(stand(&baseline, &now))
}

/// Each step's line is printed.
fn stand(baseline: &Counts, now: &Counts) -> Stand {
    let mut missed = Vec::new();
    let names = baseline.instructions.keys().chain(now.instructions.keys());
    for name in names.collect::<BTreeSet<_>>() {
        let counts = (baseline.instructions.get(name), now.instructions.get(name));
        let (Some(before), Some(after)) = counts else {
            missed.push(format!("{name} is new or gone: cargo instructions --bless"));
            continue;
        };
        let percent = percent(*before, *after);
        println!("  {name:<16} {before:>8} {after:>8}  {percent:+.2} %");
        if percent > MORE {
            missed.push(format!("{name}: {after} instructions, {percent:+.2} % of {before}"));
        }
    }
    let by =
        |counts: &Counts| format!("{}, {}, {}", counts.architecture, counts.rustc, counts.valgrind);
    if by(baseline) != by(now) {
        let (before, now) = (by(baseline), by(now));
        return Stand::NotCompared(format!("written down by {before}; here: {now}"));
    }
    if missed.is_empty() { Stand::Held } else { Stand::Missed(missed) }
}

fn percent(before: u64, after: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "some thousands of instructions")]
    let (before, after) = (before as f64, after as f64);
    100.0 * (after - before) / before.max(1.0)
}

/// `cellwall-bench` under callgrind.
pub(crate) struct Counter {
    program: PathBuf,
    valgrind: String,
    folder: TempDir,
}

impl Counter {
    /// Builds the program, unless the machine has nothing to count with: then why.
    pub(crate) fn new() -> anyhow::Result<Result<Self, String>> {
        let Some(valgrind) = version("valgrind") else {
            return Ok(Err("valgrind is not installed".to_owned()));
        };
        let program = program()?;
        let folder = tempfile::tempdir()?;
        let source = folder.path().join("zeros.c");
        fs::write(&source, ZEROS)?;
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(folder.path().join("zeros.so"));
        cargo::run(compile.arg(source))?;
        Ok(Ok(Self { program, valgrind, folder }))
    }

    /// Instructions of one repetition of a step.
    pub(crate) fn count(&self, step: &str) -> anyhow::Result<u64> {
        let out = self.folder.path().join(step);
        let mut command = Command::new("valgrind");
        command.args(["-q", "--tool=callgrind", &format!("--dump-before={MARK}")]);
        command.arg(format!("--callgrind-out-file={}", out.display()));
        command.arg(&self.program).args(["repeat", step, &REPETITIONS.to_string()]);
        // Nothing of this machine's but what is needed: where the stack begins depends on it.
        command.env_clear().env("GLIBC_TUNABLES", PLAIN);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("LD_PRELOAD", self.folder.path().join("zeros.so"));
        must(&mut command)?;
        // The first is what came before the mark; there is no third.
        let [second, third] =
            [2, 3].map(|number| self.folder.path().join(format!("{step}.{number}")));
        ensure!(!third.exists(), "{MARK} is called elsewhere too");
        Ok(summary(&fs::read_to_string(second).context("nothing was counted")?)?
            / u64::from(REPETITIONS))
    }

    fn counts(&self) -> anyhow::Result<Counts> {
        let steps = must(Command::new(&self.program).arg("pure-steps"))?;
        let instructions = steps.lines().map(|step| Ok((step.to_owned(), self.count(step)?)));
        Ok(Counts {
            architecture: std::env::consts::ARCH.to_owned(),
            rustc: version("rustc").unwrap_or_default(),
            valgrind: self.valgrind.clone(),
            instructions: instructions.collect::<anyhow::Result<_>>()?,
        })
    }
}

/// Builds `cellwall-bench`, in release and with the features that the whole workspace asks for: what
/// `cargo build --workspace` makes.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    let mut build = cargo::cargo()?;
    cargo::run(build.args(["build", "-q", "--release", "--workspace", "--bin", "cellwall-bench"]))?;
    Ok(cargo::target()?.join(Profile::Release.folder()).join("cellwall-bench"))
}

/// `summary: N` or `totals: N`, in what callgrind has written.
fn summary(text: &str) -> anyhow::Result<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("summary: ").or_else(|| line.strip_prefix("totals: ")));
    Ok(line.context("callgrind counted nothing")?.trim().parse()?)
}

/// The first line that a program says of itself.
fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned)
}

fn must(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {errors}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rustc: &str, instructions: &[(&str, u64)]) -> Counts {
        let instructions =
            instructions.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Counts {
            architecture: "x86_64".to_owned(),
            rustc: rustc.to_owned(),
            valgrind: "valgrind-3.19.0".to_owned(),
            instructions,
        }
    }

    #[test]
    fn three_percent_more_is_held_and_anything_above_is_not() {
        let baseline = counts("1.95", &[("decide-10", 1000), ("path", 200)]);
        let check = |instructions: &[(&str, u64)]| stand(&baseline, &counts("1.95", instructions));

        assert_eq!(check(&[("decide-10", 1030), ("path", 1)]), Stand::Held);
        let missed = ["decide-10: 1031 instructions, +3.10 % of 1000".to_owned()];
        assert_eq!(check(&[("decide-10", 1031), ("path", 200)]), Stand::Missed(missed.into()));
    }

    #[test]
    fn a_step_without_its_count_is_missed() {
        let baseline = counts("1.95", &[("path", 200)]);
        let missed = |name| vec![format!("{name} is new or gone: cargo instructions --bless")];

        let new = counts("1.95", &[("path", 200), ("decide-10", 1)]);
        assert_eq!(stand(&baseline, &new), Stand::Missed(missed("decide-10")));
        assert_eq!(stand(&baseline, &counts("1.95", &[])), Stand::Missed(missed("path")));
    }

    #[test]
    fn counts_of_another_compiler_are_not_compared() {
        let (baseline, now) = (counts("1.95", &[("path", 1)]), counts("1.96", &[("path", 9)]));
        let Stand::NotCompared(why) = stand(&baseline, &now) else { panic!("compared") };
        let words = "written down by x86_64, 1.95, valgrind-3.19.0; here: x86_64, 1.96, \
            valgrind-3.19.0";
        assert_eq!(why, words);
    }

    #[test]
    fn the_count_is_read_from_what_callgrind_writes() {
        assert_eq!(summary("version: 1\nevents: Ir\nsummary: 16000\n\nfn=(0)\n").unwrap(), 16_000);
        assert!(summary("events: Ir\n").is_err());
    }

    #[test]
    fn what_is_written_down_is_read() {
        let text = fs::read(cargo::root().unwrap().join(BASELINE)).unwrap();
        let counts: Counts = serde_json::from_slice(&text).unwrap();
        assert!(counts.instructions.values().all(|count| *count > 0), "{counts:?}");
        assert!(counts.instructions.contains_key("decide-10000"), "{counts:?}");
    }
}
