//! `cargo check-all`: every test there is, and one line at the end that counts them.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::Context as _;

use crate::{
    cargo::{self, Profile},
    demo, hygiene,
};

/// Options of `cargo check-all`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave out the demo.
    #[arg(long)]
    no_demo: bool,
}

/// How many held and how many did not.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// One thing that held or did not.
    pub(crate) fn one(held: bool) -> Self {
        Self { passed: u64::from(held), failed: u64::from(!held) }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let mut tally = Tally::default();
    step("format");
    tally.add(held(cargo::cargo()?.args(["fmt", "--all", "--check"])));
    step("lints");
    let mut clippy = cargo::cargo()?;
    clippy.args(["clippy", "-q", "--workspace", "--all-targets", "--locked", "--"]);
    tally.add(held(clippy.args(["-D", "warnings"])));
    step("dependencies");
    tally.add(hygiene::deny()?.print("cargo deny"));
    step("programs");
    let programs = cargo::build(Profile::Dev)?;
    step("tests");
    tally.add(tests(&programs)?);
    if !args.no_demo {
        step("demo");
        tally.add(demo::script(&programs)?);
    }
    println!("check-all took {:.0} s", started.elapsed().as_secs_f64());
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn step(name: &str) {
    println!("== {name}");
}

fn held(command: &mut Command) -> Tally {
    let result = cargo::run(command);
    if let Err(error) = &result {
        println!("FAILED: {error:#}");
    }
    Tally::one(result.is_ok())
}

/// Runs the test binaries against the programs in `folder`: by nextest where it is installed.
fn tests(folder: &Path) -> anyhow::Result<Tally> {
    let nextest = cargo::cargo()?
        .args(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let mut command = cargo::cargo()?;
    if nextest {
        command.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
    } else {
        command.args(["test", "--workspace", "--no-fail-fast"]);
    }
    command.env("CELLWALL_BIN_DIR", folder);
    let (tally, success) = counted(&mut command)?;
    // A build that fails runs no test: that is a failure too.
    let silent = !success && tally.failed == 0;
    Ok(Tally { failed: tally.failed + u64::from(silent), ..tally })
}

/// Passes a command's output on and adds up the results it prints.
fn counted(command: &mut Command) -> anyhow::Result<(Tally, bool)> {
    let mut tally = Tally::default();
    let success = read(command, |line| tally.add(results(line)))?;
    Ok((tally, success))
}

/// Passes a command's output on, line by line, and says whether it succeeded.
pub(crate) fn read(command: &mut Command, mut look: impl FnMut(&str)) -> anyhow::Result<bool> {
    let (reader, writer) = std::io::pipe().context("making a pipe")?;
    command.stdout(writer.try_clone()?).stderr(writer).stdin(Stdio::null());
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    // Our own ends of the pipe, or it would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for line in BufReader::new(reader).lines() {
        let line = line?;
        println!("{line}");
        look(&line);
    }
    Ok(child.wait()?.success())
}

/// The counts in a closing line of `cargo test`, or of nextest.
pub(crate) fn results(line: &str) -> Tally {
    let plain = line.trim_start();
    let Some(rest) = plain.strip_prefix("test result: ").or_else(|| plain.strip_prefix("Summary "))
    else {
        return Tally::default();
    };
    let mut tally = Tally::default();
    let words: Vec<&str> = rest.split([' ', ';', ',']).filter(|word| !word.is_empty()).collect();
    for pair in words.array_windows::<2>() {
        let Ok(count) = pair[0].parse::<u64>() else { continue };
        match pair[1] {
            "passed" => tally.passed += count,
            "failed" => tally.failed += count,
            _ => {}
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::{Tally, results};

    #[test]
    fn closing_lines_are_counted_and_nothing_else() {
        let table = [
            (
                "test result: ok. 25 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out",
                (25, 0),
            ),
            ("test result: FAILED. 3 passed; 2 failed; 0 ignored", (3, 2)),
            ("     Summary [   1.2s] 5 tests run: 4 passed (1 slow), 1 failed, 0 skipped", (4, 1)),
            ("test config::tests::all_mistakes ... ok", (0, 0)),
            ("7 passed, 0 failed", (0, 0)),
        ];
        for (line, (passed, failed)) in table {
            assert_eq!(results(line), Tally { passed, failed }, "{line}");
        }
    }
}
