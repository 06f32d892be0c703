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
    let folder = target()?.join(match profile {
        Profile::Dev => "debug",
        Profile::Release => "release",
    });
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

/// The target folder, wherever the environment or a configuration put it.
fn target() -> anyhow::Result<PathBuf> {
    let output = cargo()?.args(["metadata", "--format-version=1", "--no-deps"]).output()?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
    let folder = metadata.get("target_directory").and_then(serde_json::Value::as_str);
    Ok(folder.context("cargo metadata names no target directory")?.into())
}
