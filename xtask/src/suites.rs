//! Every test of the repository, told package by package.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{
    cargo,
    check::{self, Tally},
};

/// Runs all tests against the programs in `folder`. As one command, so that no package is built
/// another time for itself.
pub(crate) fn run(folder: &Path) -> anyhow::Result<BTreeMap<String, Tally>> {
    let mut suites = Suites { packages: packages()?, ..Suites::default() };
    let mut command = tests()?;
    command.arg("--no-fail-fast").env("CELLWALL_BIN_DIR", folder);
    let success = check::read(&mut command, |line| suites.read(line))?;
    let failed = suites.tallies.values().any(|tally| tally.failed > 0);
    ensure!(success || failed, "the tests did not run to their end");
    Ok(suites.tallies)
}

fn tests() -> anyhow::Result<Command> {
    let mut command = cargo::cargo()?;
    command.args(["test", "--workspace"]);
    Ok(command)
}

/// Which package each test program is of, by the program's file name.
fn packages() -> anyhow::Result<BTreeMap<String, String>> {
    let mut command = tests()?;
    command.args(["--no-run", "--message-format=json"]).stderr(Stdio::inherit());
    let output = command.output().context("building the tests")?;
    ensure!(output.status.success(), "the tests cannot be built");
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(artifact).collect())
}

/// The program that a message of cargo is about, and its package.
fn artifact(line: &str) -> Option<(String, String)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let program = Path::new(message.get("executable")?.as_str()?).file_name()?;
    let package = package_name(message.get("package_id")?.as_str()?)?;
    Some((program.to_string_lossy().into_owned(), package.to_owned()))
}

/// `path+file:///repository/bench#cellwall-bench@0.1.0`, or `..file:///repository/bench#0.1.0` where
/// the folder is called as the package is.
fn package_name(id: &str) -> Option<&str> {
    let (place, fragment) = id.rsplit_once('#')?;
    match fragment.split_once('@') {
        Some((name, _)) => Some(name),
        None => place.rsplit('/').next(),
    }
}

/// What has been read of the output so far.
#[derive(Debug, Default)]
struct Suites {
    packages: BTreeMap<String, String>,
    /// Whose tests run now.
    now: String,
    tallies: BTreeMap<String, Tally>,
}

impl Suites {
    fn read(&mut self, line: &str) {
        let line = line.trim_start();
        if let Some(library) = line.strip_prefix("Doc-tests ") {
            self.now = library.trim().replace('_', "-");
        } else if line.starts_with("Running ") && line.ends_with(')') {
            let program = line.trim_end_matches(')').rsplit(['(', '/']).next().unwrap_or_default();
            let package = self.packages.get(program).cloned();
            self.now = package.unwrap_or_else(|| program.to_owned());
        } else {
            let found = check::results(line);
            if found != Tally::default() {
                self.tallies.entry(self.now.clone()).or_default().add(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_belong_to_the_package_of_the_program_that_ran() {
        let message = |executable: &str, id: &str| {
            let message = serde_json::json!({"executable": executable, "package_id": id});
            artifact(&message.to_string()).unwrap()
        };
        let packages = [
            message("/t/debug/deps/main-1a", "path+file:///r/proxy#cellwall-proxy@0.1.0"),
            message("/t/debug/deps/main-2b", "path+file:///r/bench#0.1.0"),
        ];
        let mut suites = Suites { packages: packages.into(), ..Suites::default() };
        for line in [
            "     Running tests/main.rs (target/debug/deps/main-1a)",
            "test result: ok. 5 passed; 0 failed; 0 ignored",
            "     Running unittests src/lib.rs (/t/debug/deps/main-2b)",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored",
            "   Doc-tests cellwall_proxy",
            "test result: ok. 1 passed; 0 failed; 0 ignored",
            "   Doc-tests empty",
            "test result: ok. 0 passed; 0 failed; 0 ignored",
        ] {
            suites.read(line);
        }
        let tally = |passed, failed| Tally { passed, failed };
        let expected =
            [("bench".to_owned(), tally(2, 1)), ("cellwall-proxy".to_owned(), tally(6, 0))];
        assert_eq!(suites.tallies, expected.into());
    }
}
