//! `cargo hygiene`: what the dependencies are, whether one is known to be bad, and a list of them
//! for whoever receives the programs. A step that could not run says so and counts for nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::{
    cargo::{self, Profile},
    check::Tally,
};

/// The copy of the RustSec advisory database, beside the repository unless the environment names
/// another: a folder, or a `.tar.xz` of one.
const ADVISORIES: &str = "../shared/data/rustsec-advisory-db.tar.xz";
const ADVISORIES_VARIABLE: &str = "CELLWALL_ADVISORY_DB";

/// The folder's name that cargo-deny derives from the database's address.
const DATABASE: &str = "advisory-db-3157b0e258782691";

/// The programs that are shipped, by the crate that each is in.
const SHIPPED: [(&str, &str); 3] =
    [("proxy", "cellwall-proxy"), ("control-plane", "cellwalld"), ("cli", "cellwall")];

/// Options of `cargo hygiene`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    step: Option<Step>,
}

/// One step; all of them but `twice` without.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
enum Step {
    /// Advisories, licences, bans and sources, with cargo-deny and a local database.
    Deny,
    /// A CycloneDX list of the dependencies of each shipped program, with cargo-cyclonedx.
    Sbom,
    /// Builds `cellwall` twice, in two folders, and compares the bytes.
    Twice,
}

/// What came of a step.
pub(crate) enum Outcome {
    Held(String),
    Failed(String),
    /// Why it could not run.
    Absent(String),
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut tally = Tally::default();
    let steps = args.step.map_or_else(|| vec![Step::Deny, Step::Sbom], |step| vec![step]);
    for step in steps {
        tally.add(match step {
            Step::Deny => deny()?.print("cargo deny"),
            Step::Sbom => sbom()?.print("sbom"),
            Step::Twice => twice()?.print("built twice"),
        });
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Outcome {
    /// Says it, and counts it: a step that did not run is neither passed nor failed.
    pub(crate) fn print(&self, name: &str) -> Tally {
        match self {
            Self::Held(what) => println!("{name}: ok: {what}"),
            Self::Failed(why) => println!("{name}: FAILED: {why}"),
            Self::Absent(why) => println!("{name}: did not run: {why}"),
        }
        match self {
            Self::Held(_) => Tally::one(true),
            Self::Failed(_) => Tally::one(false),
            Self::Absent(_) => Tally::default(),
        }
    }
}

/// OPS-01.
pub(crate) fn deny() -> anyhow::Result<Outcome> {
    if let Some(absent) = missing("deny", "cargo-deny@0.20.2")? {
        return Ok(absent);
    }
    let rules = cargo::root()?.join("deny.toml");
    let folder = cargo::target()?.join("hygiene");
    fs::create_dir_all(&folder)?;
    let check = |rules: &Path, parts: &[&str]| {
        let mut check = cargo::cargo()?;
        check.args(["deny", "--offline", "--locked", "--config"]).arg(rules);
        cargo::run(check.args(["check", "--hide-inclusion-graph"]).args(parts))
    };
    let Some(database) = advisories()? else {
        // Half a check is not the check.
        return Ok(match check(&rules, &["bans", "licenses", "sources"]) {
            Ok(()) => Outcome::Absent(format!(
                "bans, licences and sources are fine, advisories were not looked at: no \
                 {ADVISORIES}, and {ADVISORIES_VARIABLE} is not set"
            )),
            Err(error) => Outcome::Failed(format!("{error:#}")),
        });
    };
    unpack(&database, &folder.join(DATABASE))?;
    // The same rules, with the database in our folder and not in the user's.
    let place = format!("[advisories]\ndb-path = {:?}\n", folder.display().to_string());
    let text = fs::read_to_string(rules)?.replacen("[advisories]\n", &place, 1);
    let rules = folder.join("deny.toml");
    fs::write(&rules, text)?;
    let held = format!("with the advisories of {}", database.display());
    Ok(match check(&rules, &[]) {
        Ok(()) => Outcome::Held(held),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    })
}

/// The advisory database, if there is one.
fn advisories() -> anyhow::Result<Option<PathBuf>> {
    if let Some(path) = std::env::var_os(ADVISORIES_VARIABLE).map(PathBuf::from) {
        ensure!(path.exists(), "{ADVISORIES_VARIABLE}: {} is not there", path.display());
        return Ok(Some(path));
    }
    let beside = cargo::root()?.join(ADVISORIES);
    Ok(beside.is_file().then_some(beside))
}

/// Lays the database out as cargo-deny wants it: a git repository of one commit.
fn unpack(database: &Path, folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let mut copy = if database.is_dir() {
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(database.join(".")).arg(folder);
        copy
    } else {
        let mut tar = Command::new("tar");
        tar.arg("-xJf").arg(database).arg("-C").arg(folder).arg("--strip-components=1");
        tar
    };
    cargo::run(&mut copy)?;
    if folder.join(".git").exists() {
        return Ok(());
    }
    let git = |arguments: &[&str]| {
        let author = ["-c", "user.name=advisories", "-c", "user.email=advisories@localhost"];
        cargo::run(Command::new("git").current_dir(folder).args(author).args(arguments))
    };
    git(&["init", "-q"])?;
    git(&["add", "-A"])?;
    git(&["commit", "-q", "-m", "advisories"])
}

/// OPS-04.
pub(crate) fn sbom() -> anyhow::Result<Outcome> {
    if let Some(absent) = missing("cyclonedx", "cargo-cyclonedx@0.5.9")? {
        return Ok(absent);
    }
    let folder = cargo::target()?.join("sbom");
    fs::create_dir_all(&folder)?;
    let mut listed = Vec::new();
    for (krate, program) in SHIPPED {
        let krate = cargo::root()?.join(krate);
        // cargo-cyclonedx writes beside each manifest; nothing of it stays there.
        let mut list = cargo::cargo()?;
        list.args(["cyclonedx", "-q", "--format", "json", "--spec-version", "1.5"]);
        list.args(["--no-build-deps", "--target", "x86_64-unknown-linux-gnu"]);
        list.arg("--override-filename").arg(format!("{program}.sbom"));
        cargo::run(list.arg("--manifest-path").arg(krate.join("Cargo.toml")))?;
        // Where it was built is nobody's business.
        let here = cargo::root()?.display().to_string();
        let written = sweep(program, &krate)?.replace(&here, "/cellwall");
        let file = folder.join(format!("{program}.cdx.json"));
        let list: Value = serde_json::from_str(&written).context("the list is no JSON")?;
        let format = list.get("bomFormat").and_then(Value::as_str);
        ensure!(format == Some("CycloneDX"), "{program}: not a CycloneDX document");
        let count = list.get("components").and_then(Value::as_array).map_or(0, Vec::len);
        ensure!(count > 0, "{program}: no component is listed");
        fs::write(&file, written)?;
        listed.push(format!("{program} {count} components"));
    }
    Ok(Outcome::Held(format!("{}, in {}", listed.join(", "), folder.display())))
}

/// Takes what was written for the crate in `krate` and removes it, there and in other crates.
fn sweep(program: &str, krate: &Path) -> anyhow::Result<String> {
    let name = format!("{program}.sbom.json");
    let text = fs::read_to_string(krate.join(&name)).with_context(|| format!("no {name}"))?;
    for entry in fs::read_dir(cargo::root()?)? {
        let stray = entry?.path().join(&name);
        if stray.is_file() {
            fs::remove_file(stray)?;
        }
    }
    Ok(text)
}

/// Why a cargo subcommand cannot be used, if so.
fn missing(subcommand: &str, package: &str) -> anyhow::Result<Option<Outcome>> {
    let mut version = cargo::cargo()?;
    version.args([subcommand, "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    let there = version.status().is_ok_and(|status| status.success());
    let how = format!("not installed; cargo install --locked {package}");
    Ok((!there).then_some(Outcome::Absent(how)))
}

/// OPS-04: the same source in another folder, with another target folder, gives the same program.
fn twice() -> anyhow::Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let mut built = Vec::new();
    for name in ["one", "another/folder"] {
        let clone = folder.path().join(name).join("cellwall");
        let mut git = Command::new("git");
        cargo::run(git.args(["clone", "-q"]).arg(cargo::root()?).arg(&clone))?;
        let target = folder.path().join(name).join("target");
        let mut build = cargo::reproducible(&clone, &target)?;
        cargo::run(build.args(["-q", "--locked", "-p", "cellwall-cli"]))?;
        built.push(fs::read(target.join(Profile::Dev.folder()).join("cellwall"))?);
    }
    match built.as_slice() {
        [one, another] if one == another => {
            Ok(Outcome::Held(format!("cellwall, dev profile, {} bytes, equal", one.len())))
        }
        [one, another] => {
            let differ = one.iter().zip(another).filter(|(a, b)| a != b).count();
            Ok(Outcome::Failed(format!(
                "{} and {} bytes, {differ} differ in place",
                one.len(),
                another.len()
            )))
        }
        _ => bail!("not two programs"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Tally};

    #[test]
    fn a_step_that_did_not_run_is_neither_passed_nor_failed() {
        let outcome = |of: fn(String) -> Outcome| of("why".to_owned()).print("a step");
        assert_eq!(outcome(Outcome::Absent), Tally::default());
        assert_eq!(outcome(Outcome::Held), Tally { passed: 1, failed: 0 });
        assert_eq!(outcome(Outcome::Failed), Tally { passed: 0, failed: 1 });
    }
}
