//! What survives a restart while the control plane is away: the last policy, how new the newest
//! was, and where destinations were. Never a key (SEC-04).
//!
//! One folder for each SPIFFE ID, so that the mark of one outlives a time under another. Functions
//! here wait for the disk: call them where that holds nobody up.

mod files;
mod forms;

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cellwall_policy::{Digest, Publication, SignedSnapshot};
use spiffe::SpiffeId;

pub use self::files::FolderError;
use self::{
    files::Durable,
    forms::{Damaged, HighWater, Hints, Policy},
};
use crate::directory::Endpoints;

/// How new the newest policy was that this ID enforced.
const HIGH_WATER: &str = "high-water";
/// The policy in force, as it came.
const POLICY: &str = "policy";
/// A policy that was found here and not believed.
const REFUSED: &str = "policy.refused";
/// Where destinations were last.
const ADDRESSES: &str = "addresses";

/// A folder that this process alone uses.
#[derive(Debug)]
pub struct PolicyStore {
    root: PathBuf,
    /// What was written last: work that waited for the disk must not undo what overtook it.
    newest: Mutex<Option<Publication>>,
    /// Keeps other processes out for as long as it is open.
    _lock: File,
}

/// What was found for one SPIFFE ID. Nothing of it has been verified.
#[derive(Debug)]
pub(crate) struct Found {
    /// Nothing older may be enforced.
    pub(crate) high_water: Option<Publication>,
    pub(crate) policy: Result<Option<SignedSnapshot>, ReadError>,
    pub(crate) addresses: Result<Endpoints, ReadError>,
}

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}", .path.display())]
pub(crate) struct ReadError {
    path: PathBuf,
    #[source]
    source: ReadCause,
}

/// Why.
#[derive(Debug, thiserror::Error)]
enum ReadCause {
    #[error("cannot be read")]
    Io(#[source] io::Error),
    #[error("damaged")]
    Damaged(#[source] Damaged),
}

/// A policy is in force and not on the disk.
#[derive(Debug, thiserror::Error)]
#[error("{}: not written; {left}", .path.display())]
pub(crate) struct KeepError {
    path: PathBuf,
    left: Left,
    #[source]
    source: io::Error,
}

/// What a restart would find instead.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
enum Left {
    #[error("a restart without the control plane will deny")]
    Nothing,
    #[error("a restart would find the same publication as it came before")]
    Same,
    #[error(
        "an older one cannot be removed either: remove it, or a restart without the control \
             plane could put it in force"
    )]
    Older,
    #[error("the policy is there without it")]
    NoMark,
}

impl PolicyStore {
    /// Takes the folder, which is made if absent.
    ///
    /// # Errors
    ///
    /// [`FolderError`] when it cannot be made, is not ours alone, or another process uses it.
    pub fn open(root: &Path) -> Result<Self, FolderError> {
        let root = std::path::absolute(root)
            .map_err(|source| FolderError::Io { path: root.to_owned(), source })?;
        let io_error = |path: &Path, source| FolderError::Io { path: path.to_owned(), source };
        files::make(&root).map_err(|source| io_error(&root, source))?;
        files::check(&root)?;
        let path = root.join("lock");
        let lock = files::open_lock(&path).map_err(|source| io_error(&path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root, newest: Mutex::default(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse(root)),
            Err(TryLockError::Error(source)) => Err(io_error(&path, source)),
        }
    }

    /// What was kept for `callee`.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when the high-water mark is there and cannot be believed: then nothing may be
    /// put in force, because nobody knows what would be too old.
    pub(crate) fn find(&self, callee: &SpiffeId) -> Result<Found, ReadError> {
        let folder = self.folder(callee);
        let high_water = read(&folder, HIGH_WATER, |bytes| HighWater::read(bytes, callee))?;
        Ok(Found {
            high_water,
            policy: read(&folder, POLICY, Policy::read),
            addresses: read(&folder, ADDRESSES, |bytes| Hints::read(bytes, callee))
                .map(Option::unwrap_or_default),
        })
    }

    /// Keeps what is about to be in force: when this returns it survives a power cut. The policy
    /// goes first: it is signed, and newer than its mark does no harm.
    ///
    /// # Errors
    ///
    /// [`KeepError`] when a part of it is not on the disk. An older policy is then not there
    /// either, or refused by the mark, if the disk allows for anything at all.
    pub(crate) fn keep(
        &self,
        callee: &SpiffeId,
        publication: &Publication,
        signed: &SignedSnapshot,
    ) -> Result<(), KeepError> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.is_some_and(|newest| newest.admit(publication).is_err()) {
            return Ok(());
        }
        let folder = self.folder(callee);
        let policy = self.write_policy(&folder, signed, *newest == Some(*publication));
        let marked = write_mark(&folder, callee, publication);
        policy?;
        *newest = Some(*publication);
        marked
    }

    /// Keeps how new the policy is that was found here and is about to be in force again.
    ///
    /// # Errors
    ///
    /// [`KeepError`] when the mark is not on the disk.
    pub(crate) fn recalled(
        &self,
        callee: &SpiffeId,
        publication: &Publication,
        mark: Option<&Publication>,
    ) -> Result<(), KeepError> {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(*publication);
        if mark == Some(publication) {
            return Ok(());
        }
        write_mark(&self.folder(callee), callee, publication)
    }

    fn write_policy(
        &self,
        folder: &Path,
        signed: &SignedSnapshot,
        again: bool,
    ) -> Result<(), KeepError> {
        let header = Policy::header(signed);
        let written = self.make(folder).and_then(|()| {
            files::replace(folder, POLICY, &[header.as_bytes(), &signed.payload], Durable::Yes)
        });
        let Err(source) = written else { return Ok(()) };
        let left = match again {
            true => Left::Same,
            // What has just been withdrawn must not be in force again after a restart.
            false if files::remove(folder, POLICY).is_ok() => Left::Nothing,
            false => Left::Older,
        };
        Err(KeepError { path: folder.join(POLICY), left, source })
    }

    /// Keeps where destinations are. Hints: they may be lost with the power.
    pub(crate) fn keep_addresses(&self, callee: &SpiffeId, known: &Endpoints) -> io::Result<()> {
        let folder = self.folder(callee);
        self.make(&folder)?;
        let hints = Hints::write(callee, known);
        files::replace(&folder, ADDRESSES, &[hints.as_bytes()], Durable::No)
    }

    /// Puts a policy that is not believed where it is not found again, for somebody to look at.
    pub(crate) fn set_aside(&self, callee: &SpiffeId) -> io::Result<()> {
        let folder = self.folder(callee);
        fs::rename(folder.join(POLICY), folder.join(REFUSED))
    }

    /// Where the files of `callee` are. An ID may be longer than a file's name.
    pub(crate) fn folder(&self, callee: &SpiffeId) -> PathBuf {
        self.root.join(Digest::of(callee.to_string().as_bytes()).to_string())
    }

    fn make(&self, folder: &Path) -> io::Result<()> {
        if folder.exists() {
            return Ok(());
        }
        files::make(folder)?;
        File::open(&self.root)?.sync_all()
    }
}

/// Work that waits for the disk, beside the calls; `None` when it takes too long, and then it goes
/// on by itself.
pub(crate) async fn on_disk<T: Send + 'static>(
    store: &Arc<PolicyStore>,
    deadline: Duration,
    work: impl FnOnce(&PolicyStore) -> T + Send + 'static,
) -> Option<T> {
    let store = store.clone();
    let working = tokio::task::spawn_blocking(move || work(&store));
    tokio::time::timeout(deadline, working).await.ok()?.ok()
}

fn write_mark(
    folder: &Path,
    callee: &SpiffeId,
    publication: &Publication,
) -> Result<(), KeepError> {
    let mark = HighWater::write(callee, publication);
    let written = files::replace(folder, HIGH_WATER, &[mark.as_bytes()], Durable::Yes);
    let path = folder.join(HIGH_WATER);
    written.map_err(|source| KeepError { path, left: Left::NoMark, source })
}

fn read<T>(
    folder: &Path,
    name: &str,
    parse: impl FnOnce(&[u8]) -> Result<T, Damaged>,
) -> Result<Option<T>, ReadError> {
    let refused = |source| ReadError { path: folder.join(name), source };
    let bytes = files::read(folder, name, forms::MAX_BYTES);
    let bytes = bytes.map_err(|source| refused(ReadCause::Io(source)))?;
    let parsed = bytes.map(|bytes| parse(&bytes)).transpose();
    parsed.map_err(|source| refused(ReadCause::Damaged(source)))
}

#[cfg(test)]
mod tests;
