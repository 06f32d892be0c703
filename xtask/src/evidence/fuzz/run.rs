//! One fuzz target, built and run by a fuzzer for some time.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use nix::{
    sys::wait::{Id, WaitPidFlag, waitid},
    unistd::{Pid, SysconfVar, sysconf},
};

use super::{super::steps, LANGUAGE};
use crate::cargo;

/// The longest input, as in the long runs.
const MAX_LEN: u32 = 8192;

/// Builds the targets without a sanitizer: every crate of ours forbids unsafe code.
pub(super) fn build() -> anyhow::Result<PathBuf> {
    let target = cargo::target()?.join("fuzz");
    let mut build = Command::new("rustup");
    build.args(["run", "nightly", "cargo", "fuzz", "build", "--release", "--sanitizer", "none"]);
    // The toolchain that runs us is not the one to build with.
    build.env_remove("CARGO").env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN");
    cargo::run(build.current_dir(cargo::root()?).env("CARGO_TARGET_DIR", &target))?;
    let host = steps::output("rustc", &["-vV"]).context("rustc -vV")?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).context("no host")?;
    Ok(target.join(host).join("release"))
}

/// What a run said.
pub(super) struct Ran {
    pub(super) held: bool,
    pub(super) executions: u64,
    /// How long it ran.
    pub(super) took: Duration,
    /// Of a processor.
    pub(super) seconds: f64,
    /// What it found, or the last lines that it printed.
    pub(super) end: String,
}

/// Runs a target on its corpus for so many seconds.
pub(super) fn run(program: &Path, target: &str, seconds: u32) -> anyhow::Result<Ran> {
    ensure!(program.is_file(), "{} is not there after the build", program.display());
    let fuzz = cargo::root()?.join("fuzz");
    // What is new goes to a folder of its own, and stays, as does what is found.
    let found = cargo::target()?.join("fuzz/found");
    let fresh = cargo::target()?.join("fuzz/fresh").join(target);
    for folder in [&found, &fresh] {
        fs::create_dir_all(folder)?;
    }
    let language = LANGUAGE.replays.iter().any(|(known, _)| *known == target);
    let words = if language { "policy.dict" } else { "http.dict" };
    let said = fresh.with_extension("log");
    let mut command = Command::new(program);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={MAX_LEN}"));
    command.arg(format!("-dict={}", fuzz.join(words).display()));
    command.arg(format!("-artifact_prefix={}/{target}-", found.display()));
    command.args(["-timeout=10", "-print_final_stats=1"]);
    command.arg(&fresh).arg(fuzz.join("corpus").join(target));
    command.stdout(Stdio::null()).stderr(File::create(&said)?);
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
    let seconds = ended(child.id())?;
    let (status, took) = (child.wait()?, started.elapsed());
    let text = String::from_utf8_lossy(&fs::read(&said)?).into_owned();
    let executions = text
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let panicked = lines.iter().position(|line| line.contains("panicked at"));
    let end = match panicked {
        Some(at) => lines.get(at..at + 2),
        None => lines.get(lines.len().saturating_sub(8)..),
    };
    let end = end.unwrap_or_default().join("\n");
    Ok(Ran { held: status.success(), executions, took, seconds, end })
}

/// Waits for the end of a process of ours, and says how long it took of a processor (proc(5)).
fn ended(process: u32) -> anyhow::Result<f64> {
    let id = Id::Pid(Pid::from_raw(process.try_into()?));
    waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').context("no name in stat")?;
    let ticks = |field: usize| rest.split_whitespace().nth(field)?.parse::<u32>().ok();
    // utime and stime, the 14th and 15th field; two stand before the rest.
    let ticks = ticks(11).zip(ticks(12)).context("no times in stat")?;
    let second = sysconf(SysconfVar::CLK_TCK)?.context("no CLK_TCK")?;
    Ok((f64::from(ticks.0) + f64::from(ticks.1)) / f64::from(u32::try_from(second)?))
}
