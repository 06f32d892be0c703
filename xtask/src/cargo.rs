//! Running cargo, and knowing where it puts things.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};

/// The programs that the mesh is made of.
pub(crate) const PROGRAMS: [&str; 5] =
    ["cellwall", "cellwall-bench", "cellwall-proxy", "cellwall-workload", "cellwalld"];

/// How the programs are built.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

impl Profile {
    /// Its folder in a target folder.
    pub(crate) const fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}

/// The repository's root.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(xtask.parent().context("xtask has no parent folder")?.to_owned())
}

/// The cargo that runs us, in the repository.
pub(crate) fn cargo() -> anyhow::Result<Command> {
    let mut command = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    command.current_dir(root()?);
    Ok(command)
}

/// Builds the programs and returns the folder that they are in.
pub(crate) fn build(profile: Profile) -> anyhow::Result<PathBuf> {
    let mut command = cargo()?;
    command.args(["build", "--workspace", "--bins"]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    run(&mut command)?;
    let folder = target()?.join(profile.folder());
    for program in PROGRAMS {
        let path = folder.join(program);
        ensure!(path.is_file(), "{} is not there after the build", path.display());
    }
    Ok(folder)
}

/// Runs a command to its end, its output passed on.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    if status.success() { Ok(()) } else { bail!("{command:?} ended with {status}") }
}

/// `cargo build` of the repository in `folder`, so that neither the place nor the hour of the build
/// is in what it makes (docs/release.md).
pub(crate) fn reproducible(folder: &Path, target: &Path) -> anyhow::Result<Command> {
    let home = match std::env::var_os("CARGO_HOME").map(PathBuf::from) {
        Some(home) => home,
        None => std::env::home_dir().context("no home folder")?.join(".cargo"),
    };
    let places = [(folder, "/cellwall"), (target, "/target"), (home.as_path(), "/cargo")];
    let places = places.map(|(from, to)| (from.display().to_string(), to));
    let rust = places.iter().map(|(from, to)| format!("--remap-path-prefix={from}={to}"));
    let c = places.iter().map(|(from, to)| format!("-ffile-prefix-map={from}={to}"));
    let mut command = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    command.current_dir(folder).arg("build").env("CARGO_TARGET_DIR", target);
    command.env("CARGO_ENCODED_RUSTFLAGS", rust.collect::<Vec<_>>().join("\u{1f}"));
    command.env("CFLAGS", c.collect::<Vec<_>>().join(" ")).env("SOURCE_DATE_EPOCH", "1");
    Ok(command)
}

/// The target folder, wherever the environment or a configuration put it.
pub(crate) fn target() -> anyhow::Result<PathBuf> {
    let output = cargo()?.args(["metadata", "--format-version=1", "--no-deps"]).output()?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
    let folder = metadata.get("target_directory").and_then(serde_json::Value::as_str);
    Ok(folder.context("cargo metadata names no target directory")?.into())
}
