//! What each optimisation of the sidecar brings: the sidecar before it and after it, built from its
//! commit and measured beside each other in one interleaved run. Some were tried and not kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;

use super::{Comparison, Row, read, settings};
use crate::{
    cargo::{self, Profile},
    evidence::{Effort, Shown, steps},
};

/// Which ones there are.
const LIST: &str = "bench/optimisations.json";

/// Above which part of what it cost before an optimisation brings nothing that can be told from
/// noise.
const NOTHING: f64 = 0.98;

/// One that was kept is a commit; one that was not is a patch to a commit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Optimisation {
    what: String,
    commit: String,
    /// What was before it, where it took several commits.
    #[serde(default)]
    since: Option<String>,
    #[serde(default)]
    patch: Option<String>,
    /// The rows in which it should show.
    rows: Vec<String>,
}

/// A state of the sources.
#[derive(Clone, Debug)]
pub(super) struct State {
    commit: String,
    patch: Option<String>,
}

/// Folders that this makes, and makes again.
pub(super) struct Places {
    /// A clone in which one state after the other is checked out. Not within this one: cargo would take
    /// the settings of today's `.cargo/config.toml` as well.
    tree: TempDir,
    target: PathBuf,
    /// A folder for each state with its sidecar.
    built: PathBuf,
    /// What `cellwall-bench` takes for proxies of others.
    peers: PathBuf,
}

/// 2. Before and after each that was kept, and some that were not.
pub(super) fn measured(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let root = cargo::root()?;
    let list = fs::read(root.join(LIST)).context(LIST)?;
    let list: Vec<Optimisation> = serde_json::from_slice(&list).context(LIST)?;
    let programs = cargo::build(Profile::Release)?;
    let places = Places::make(&root)?;
    let states: Vec<_> = list.iter().map(Optimisation::states).collect::<Result<_, _>>()?;
    // In the order of the list, which is that of the commits: what two have in common is built once.
    for state in states.iter().flatten() {
        let name = state.name();
        places.build(&root, state)?;
        places.contender(&name, &programs, &root)?;
    }
    let mut rows = BTreeMap::<_, BTreeSet<_>>::new();
    for (one, states) in list.iter().zip(&states) {
        for row in &one.rows {
            rows.entry(row.clone()).or_default().extend(states.iter().map(State::name));
        }
    }
    let compared = rows.iter().map(|(row, names)| places.compare(&programs, (row, names), effort));
    let compared = compared.collect::<Result<Vec<_>, _>>()?;
    let measured: Vec<_> = compared.into_iter().flat_map(|comparison| comparison.rows).collect();
    for (one, states) in list.iter().zip(&states) {
        one.show(&mut shown, states, &measured)?;
    }
    shown.goal("something was kept", list.iter().any(|one| one.patch.is_none()));
    shown.goal("three were not", list.iter().filter(|one| one.patch.is_some()).count() >= 3);
    Ok(shown)
}

impl Optimisation {
    /// Before it and after it.
    fn states(&self) -> anyhow::Result<[State; 2]> {
        let before = match (&self.since, &self.patch) {
            (Some(since), _) => since.clone(),
            (None, Some(_)) => self.commit.clone(),
            (None, None) => format!("{}^", self.commit),
        };
        let before = State::of(&before, None)?;
        Ok([before, State::of(&self.commit, self.patch.clone())?])
    }

    fn show(&self, shown: &mut Shown, states: &[State; 2], measured: &[Row]) -> anyhow::Result<()> {
        let [before, after] = states.each_ref().map(State::name);
        let mut best = f64::INFINITY;
        let mut rows = BTreeMap::new();
        for row in &self.rows {
            let (before, after) = (cost(measured, row, &before)?, cost(measured, row, &after)?);
            best = best.min(after / before);
            rows.insert(row, json!({"before": before, "after": after, "ratio": after / before}));
        }
        shown.figure(&self.what, json!({"kept": self.patch.is_none(), "rows": rows}));
        match self.patch {
            None => shown.goal(&format!("{}: cheaper", self.what), best < 1.0),
            Some(_) => {
                shown.goal(&format!("{}: not worth it", self.what), best > NOTHING);
            }
        }
        Ok(())
    }
}

/// What a call cost in `row`, in whatever is its figure.
fn cost(measured: &[Row], row: &str, contender: &str) -> anyhow::Result<f64> {
    let row = measured.iter().find(|found| found.name == row).context("no such row")?;
    let summary = row.summaries.iter().find(|summary| summary.contender == contender);
    let figure = summary.and_then(|summary| summary.figures.get(&row.figure)?.get("median"));
    figure
        .and_then(serde_json::Value::as_f64)
        .with_context(|| format!("{contender} was not measured in {}", row.name))
}

impl State {
    /// `commit` as this clone knows it.
    pub(super) fn of(commit: &str, patch: Option<String>) -> anyhow::Result<Self> {
        let (root, object) = (cargo::root()?, format!("{commit}^{{commit}}"));
        let found = steps::output(
            "git",
            &["-C", &root.to_string_lossy(), "rev-parse", "-q", "--verify", &object],
        );
        let found = found.with_context(|| format!("{LIST}: {commit} is not in this clone"))?;
        Ok(Self { commit: found, patch })
    }

    /// All that a build of it depends on: the commit, the patch and the compiler.
    fn sources(&self, root: &Path) -> anyhow::Result<String> {
        let patch = self.patch.as_ref().map(|name| {
            let patch = root.join("bench/patches").join(name);
            fs::read_to_string(&patch).with_context(|| patch.display().to_string())
        });
        let compiler = steps::output("rustc", &["-Vv"]).context("rustc says no version")?;
        Ok(format!("{}\n{compiler}\n{}", self.commit, patch.transpose()?.unwrap_or_default()))
    }

    /// As a contender is called.
    fn name(&self) -> String {
        let commit = self.commit.get(..10).unwrap_or(&self.commit);
        let patch = self.patch.as_deref().map(|patch| patch.trim_end_matches(".patch"));
        patch.unwrap_or(commit).to_owned()
    }
}

impl Places {
    pub(super) fn make(root: &Path) -> anyhow::Result<Self> {
        let all = cargo::target()?.join("optimisations");
        let [target, built, peers] = ["target", "built", "peers"].map(|name| all.join(name));
        for folder in [&target, &built, &peers] {
            fs::create_dir_all(folder)?;
        }
        fs::copy(root.join("bench/peers/pair.sh"), peers.join("pair.sh"))?;
        let tree = tempfile::tempdir()?;
        let mut clone = Command::new("git");
        clone.args(["clone", "-q", "--shared", "--no-checkout"]).arg(root).arg(tree.path());
        cargo::run(&mut clone)?;
        Ok(Self { tree, target, built, peers })
    }

    /// Builds the sidecar as it is in `state`, unless it was built of the same sources before.
    pub(super) fn build(&self, root: &Path, state: &State) -> anyhow::Result<()> {
        let (folder, sources) = (self.sidecar(state), state.sources(root)?);
        let made_of = folder.join("sources");
        if fs::read_to_string(&made_of).is_ok_and(|before| before == sources) {
            return Ok(());
        }
        let git = |arguments: &[&str]| {
            let mut command = Command::new("git");
            cargo::run(command.current_dir(self.tree.path()).args(arguments))
        };
        git(&["checkout", "-q", "--force", "--detach", &state.commit])?;
        if let Some(patch) = &state.patch {
            let patch = root.join("bench/patches").join(patch);
            git(&["apply", &patch.to_string_lossy()])?;
        }
        println!("  building {}", state.name());
        let mut build = Command::new(option_env!("CARGO").unwrap_or("cargo"));
        build.args(["build", "-q", "--release", "-p", "cellwall-proxy"]);
        build.current_dir(self.tree.path());
        cargo::run(build.env("CARGO_TARGET_DIR", &self.target))?;
        fs::create_dir_all(&folder)?;
        let built = self.target.join(Profile::Release.folder()).join("cellwall-proxy");
        fs::copy(&built, folder.join("cellwall-proxy")).context("the sidecar")?;
        fs::write(made_of, sources)?;
        Ok(())
    }

    /// The folder of the sidecar as it is in `state`.
    pub(super) fn sidecar(&self, state: &State) -> PathBuf {
        self.built.join(state.name())
    }

    /// Makes it one that `cellwall-bench` can start: as ours, with another sidecar.
    fn contender(&self, name: &str, programs: &Path, root: &Path) -> anyhow::Result<()> {
        let (folder, built) = (self.peers.join(name), self.built.join(name));
        fs::create_dir_all(&folder)?;
        let pair = built.join("cellwall-pair");
        if !pair.exists() {
            symlink(programs.join("cellwall-pair"), &pair)?;
        }
        let about = json!([{
            "name": name, "layer": 7, "protocols": ["http1", "http2", "tcp"], "about": "ours",
        }]);
        fs::write(folder.join("about.json"), about.to_string())?;
        let ours = fs::read_to_string(root.join("bench/peers/ours/run"))?;
        let run = ours.replacen("\n.", &format!("\nPATH={}:$PATH\n.", built.display()), 1);
        ensure!(run != ours, "bench/peers/ours/run is not as it was");
        fs::write(folder.join("run"), run)?;
        fs::set_permissions(folder.join("run"), fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// Those that should differ in `row`, in one interleaved run.
    fn compare(
        &self,
        programs: &Path,
        (row, names): (&str, &BTreeSet<String>),
        effort: Effort,
    ) -> anyhow::Result<Comparison> {
        let root = cargo::root()?;
        let out = root.join("evidence").join(format!("bench-optimisations-{row}.json"));
        fs::create_dir_all(root.join("evidence"))?;
        let mut compare = Command::new(programs.join("cellwall-bench"));
        compare.current_dir(&root).arg("compare").args(settings(effort)).args(["--rows", row]);
        for name in names {
            compare.arg("--peers").arg(name);
        }
        compare.arg("--peers-folder").arg(&self.peers);
        cargo::run(compare.arg("--out").arg(&out))?;
        read(&out)
    }
}
