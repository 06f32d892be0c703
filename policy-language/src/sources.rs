//! The files of a policy: the root `cellwall.yaml` and what its `include` names.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::read::includes;

/// The root file of every policy.
pub(crate) const ROOT: &str = "cellwall.yaml";
/// The longest file, in bytes (AZ-07).
pub(crate) const MAX_FILE_BYTES: usize = 1024 * 1024;
/// The most files of one policy.
pub(crate) const MAX_FILES: usize = 512;

/// The texts of a policy. Paths are relative to the policy's folder, with `/` between.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// The path of the root file: `cellwall.yaml`.
    pub root: String,
    /// Every file, the root too, by its path.
    pub files: BTreeMap<String, String>,
}

/// Why the files of a policy could not be read.
#[derive(Debug, Error)]
pub enum SourcesError {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is too long.
    #[error("{} is longer than {MAX_FILE_BYTES} bytes", .0.display())]
    TooLong(PathBuf),
    /// A file is not text.
    #[error("{} is not UTF-8 text", .0.display())]
    NotText(PathBuf),
    /// A file lies outside of the policy's folder, behind a symbolic link.
    #[error("{} leads out of the policy's folder", .0.display())]
    Outside(PathBuf),
    /// There are too many files.
    #[error("more than {MAX_FILES} files")]
    TooMany,
}

impl Sources {
    /// A policy of one file.
    pub fn single(text: impl Into<String>) -> Self {
        Self { root: ROOT.to_owned(), files: BTreeMap::from([(ROOT.to_owned(), text.into())]) }
    }

    /// Reads `cellwall.yaml` in `folder`, and the files below it that its `include` names.
    ///
    /// # Errors
    ///
    /// [`SourcesError`] when a file cannot be read, is too long, or lies outside of `folder`. What
    /// the files say is not judged here.
    pub fn from_dir(folder: &Path) -> Result<Self, SourcesError> {
        let home = folder.canonicalize().map_err(|source| io_error(folder, source))?;
        let root = read(&home, &home.join(ROOT))?;
        let patterns = includes(&root);
        let mut sources = Self::single(root);
        for pattern in patterns.iter().filter(|pattern| is_pattern(pattern)) {
            let parts: Vec<_> = pattern.split('/').collect();
            sources.add(&home, &parts, String::new())?;
        }
        Ok(sources)
    }

    /// Adds the files below `folder` that match what is left of a pattern.
    fn add(&mut self, folder: &Path, parts: &[&str], prefix: String) -> Result<(), SourcesError> {
        let Some((part, rest)) = parts.split_first() else { return Ok(()) };
        let home = folder;
        let here = home.join(&prefix);
        let mut names = Vec::new();
        for entry in fs::read_dir(&here).map_err(|source| io_error(&here, source))? {
            let entry = entry.map_err(|source| io_error(&here, source))?;
            if let Ok(name) = entry.file_name().into_string()
                && matches_part(part, &name)
            {
                names.push((name, entry.path()));
            }
        }
        names.sort();
        for (name, path) in names {
            let relative = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            if path.is_dir() {
                self.add(home, rest, relative)?;
            } else if rest.is_empty() && !self.files.contains_key(&relative) {
                if self.files.len() >= MAX_FILES {
                    return Err(SourcesError::TooMany);
                }
                self.files.insert(relative, read(home, &path)?);
            }
        }
        Ok(())
    }
}

/// Whether an `include` may be followed: relative, downwards, YAML files only.
pub(crate) fn is_pattern(pattern: &str) -> bool {
    let part = |part: &str| !matches!(part, "" | "." | ".." | "**") && !part.contains(['\\', '\0']);
    pattern.ends_with(".yaml") && pattern.split('/').all(part)
}

/// Whether a path matches a pattern: `*` stands for any characters but `/`.
pub(crate) fn matches_pattern(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) =
        (pattern.split('/').collect(), path.split('/').collect());
    pattern.len() == path.len()
        && pattern.iter().zip(path).all(|(pattern, name)| matches_part(pattern, name))
}

fn matches_part(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut pieces: Vec<_> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    // A hidden file is meant only by its own name.
    if name.starts_with('.') && first.is_empty() {
        return false;
    }
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn read(home: &Path, path: &Path) -> Result<String, SourcesError> {
    let real = path.canonicalize().map_err(|source| io_error(path, source))?;
    if !real.starts_with(home) {
        return Err(SourcesError::Outside(path.to_owned()));
    }
    let about = fs::metadata(&real).map_err(|source| io_error(path, source))?;
    if !about.is_file() {
        return Err(SourcesError::NotText(path.to_owned()));
    }
    if about.len() > u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX) {
        return Err(SourcesError::TooLong(path.to_owned()));
    }
    let bytes = fs::read(&real).map_err(|source| io_error(path, source))?;
    String::from_utf8(bytes).map_err(|_| SourcesError::NotText(path.to_owned()))
}

fn io_error(path: &Path, source: io::Error) -> SourcesError {
    SourcesError::Io { path: path.to_owned(), source }
}
