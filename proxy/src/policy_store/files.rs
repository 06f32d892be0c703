//! Files that are replaced whole: a reader finds the old one or the new one, also after a crash.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The operating system refused.
    #[error("{}", .path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others may read or write in it.
    #[error("{}: open to other users (mode {mode:04o}); run: chmod 700 {}",
        .path.display(), .path.display())]
    Open {
        /// Which folder.
        path: PathBuf,
        /// What it has.
        mode: u32,
    },
    /// It belongs to another user.
    #[error("{}: belongs to user {owner}, we run as {us}", .path.display())]
    Owner {
        /// Which folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// Another process uses it.
    #[error("{}: in use by another cellwall-proxy; each needs a folder of its own",
        .0.display())]
    InUse(PathBuf),
}

/// Makes a folder that is ours alone, if it is absent.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Checks that a folder is ours alone: who can write it can take a permission back to life.
pub(super) fn check(folder: &Path) -> Result<(), FolderError> {
    let found = fs::metadata(folder)
        .map_err(|source| FolderError::Io { path: folder.to_owned(), source })?;
    let (owner, us) = (found.uid(), geteuid().as_raw());
    if owner != us {
        return Err(FolderError::Owner { path: folder.to_owned(), owner, us });
    }
    let mode = found.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FolderError::Open { path: folder.to_owned(), mode });
    }
    Ok(())
}

/// Opens a file of ours alone, for a lock.
pub(super) fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Whether a file that was written must survive a power cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Durable {
    Yes,
    No,
}

/// Replaces the file NAME in `folder`, by way of NAME.new.
pub(super) fn replace(
    folder: &Path,
    name: &str,
    content: &[&[u8]],
    durable: Durable,
) -> io::Result<()> {
    let (path, beside) = (folder.join(name), folder.join(format!("{name}.new")));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    content.iter().try_for_each(|part| file.write_all(part))?;
    if durable == Durable::Yes {
        file.sync_all()?;
    }
    fs::rename(&beside, &path)?;
    if durable == Durable::Yes { sync(folder) } else { Ok(()) }
}

/// Removes the file NAME in `folder`, for good. One that is not there is as good.
pub(super) fn remove(folder: &Path, name: &str) -> io::Result<()> {
    match fs::remove_file(folder.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync(folder),
    }
}

/// Reads the file NAME in `folder`, if it is there and not longer than `limit` bytes.
pub(super) fn read(folder: &Path, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let path = folder.join(name);
    let found = match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    if found.len() > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than what we write"));
    }
    fs::read(&path).map(Some)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
