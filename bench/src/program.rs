//! Where programs are.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Where a program is looked for: in these folders, beside this program, and where everybody looks.
pub fn folders(first: &[PathBuf]) -> Vec<PathBuf> {
    let here = env::current_exe().ok().and_then(|this| this.parent().map(Path::to_owned));
    let usual: OsString = env::var_os("PATH").unwrap_or_default();
    first.iter().cloned().chain(here).chain(env::split_paths(&usual)).collect()
}

/// The first file of this name in these folders.
pub fn find(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}
