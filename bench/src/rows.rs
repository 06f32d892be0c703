//! What the flags name: rows and peers.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use cellwall_bench::peer::{Contender, contenders};

use crate::args::Peers;

/// The rows of these names, or all.
pub(crate) fn named<T>(
    all: &'static [T],
    names: &[String],
    name_of: fn(&T) -> &'static str,
) -> anyhow::Result<Vec<&'static T>> {
    if names.is_empty() {
        return Ok(all.iter().collect());
    }
    names.iter().map(|name| find(all, name, name_of)).collect()
}

/// The row of this name.
pub(crate) fn find<T>(
    all: &'static [T],
    name: &str,
    name_of: fn(&T) -> &'static str,
) -> anyhow::Result<&'static T> {
    let names = || all.iter().map(name_of).collect::<Vec<_>>().join(", ");
    let row = all.iter().find(|row| name_of(row) == name);
    row.with_context(|| format!("no row {name}; there are {}", names()))
}

/// Who takes part, and where their programs are.
pub(crate) struct Cast {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) programs: Vec<PathBuf>,
}

impl Cast {
    pub(crate) fn of(args: &Peers) -> anyhow::Result<Self> {
        let folder = fs::canonicalize(&args.peers_folder).context("--peers-folder")?;
        let programs = args.programs.iter().map(fs::canonicalize).collect::<Result<Vec<_>, _>>();
        let contenders = contenders(&folder, &args.peers)?;
        Ok(Self { contenders, programs: programs.context("--programs")? })
    }
}
