//! Getting the peers: from the machine, or from a package registry into the target folder.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use crate::cargo;

/// py-spiffe, pinned: the client that the legs were written against.
const PY_SPIFFE: &str = "spiffe==0.3.2";

/// A Python that has py-spiffe, in a virtual environment of the target folder.
pub(super) fn py_spiffe(programs: &Path) -> anyhow::Result<PathBuf> {
    let folder = programs.parent().context("a target folder")?.join("interop");
    let venv = folder.join("py-spiffe");
    let python = venv.join("bin/python");
    if !python.is_file() {
        cargo::run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    let has = Command::new(&python).args(["-c", "import spiffe"]).output()?.status.success();
    if !has {
        let mut pip = Command::new(&python);
        cargo::run(pip.args(["-m", "pip", "install", "-q", PY_SPIFFE]))?;
    }
    Ok(python)
}

/// The version line of a program of the machine.
pub(super) fn installed(program: &str, version: &str) -> anyhow::Result<String> {
    let output = Command::new(program)
        .arg(version)
        .output()
        .with_context(|| format!("{program} is not installed"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
