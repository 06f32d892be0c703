//! The data directory: who may read it, and that only one process uses it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;

/// The names in a data directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DataDir {
    root: PathBuf,
}

/// Keeps other processes out for as long as it lives.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The operating system refused.
    #[error("{}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else may read or write what is ours alone.
    #[error("{}: open to other users (mode {mode:04o}); run: chmod {fix} {}",
        .path.display(), .path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What it has.
        mode: u32,
        /// What to do.
        fix: &'static str,
    },
    /// It belongs to another user.
    #[error("{}: belongs to user {owner}, cellwalld runs as {us}", .path.display())]
    Owner {
        /// Which file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// Another cellwalld runs on it.
    #[error("{}: in use by another cellwalld", .0.display())]
    InUse(PathBuf),
}

impl DataDir {
    /// The directory at this path, which becomes absolute.
    ///
    /// # Errors
    ///
    /// [`FilesError::Io`] when there is no current directory to start from.
    pub fn new(root: &Path) -> Result<Self, FilesError> {
        let absolute = std::path::absolute(root).map_err(|source| io_error(root, source))?;
        Ok(Self { root: absolute })
    }

    /// Makes the directory, 0700, if absent.
    ///
    /// # Errors
    ///
    /// [`FilesError::Io`] when it cannot be made.
    pub fn create(&self) -> Result<(), FilesError> {
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&self.root);
        made.map_err(|source| io_error(&self.root, source))
    }

    /// Checks that others cannot write the directory, nor read what is secret in it, and takes
    /// its lock.
    ///
    /// # Errors
    ///
    /// [`FilesError`] with the command that mends it, or when another process holds the lock.
    pub fn secure(&self, sealing_key: &Path) -> Result<Lock, FilesError> {
        check_directory(&self.root)?;
        let database = self.database();
        let wal = database.with_extension("db-wal");
        for secret in [sealing_key, &database, &wal] {
            check_secret(secret)?;
        }
        self.lock()
    }

    fn lock(&self) -> Result<Lock, FilesError> {
        let path = self.root.join("lock");
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|source| io_error(&path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => Err(FilesError::InUse(self.root.clone())),
            Err(TryLockError::Error(source)) => Err(io_error(&path, source)),
        }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `cellwall.db`
    pub fn database(&self) -> PathBuf {
        self.root.join("cellwall.db")
    }

    /// `sealing.key`, unless another was named.
    pub fn sealing_key(&self) -> PathBuf {
        self.root.join("sealing.key")
    }

    /// `policy-key.pem`: public.
    pub fn policy_key(&self) -> PathBuf {
        self.root.join("policy-key.pem")
    }

    /// `bundle.pem`: public.
    pub fn bundle(&self) -> PathBuf {
        self.root.join("bundle.pem")
    }

    /// `workload.sock`
    pub fn workload_socket(&self) -> PathBuf {
        self.root.join("workload.sock")
    }

    /// `operator.sock`
    pub fn operator_socket(&self) -> PathBuf {
        self.root.join("operator.sock")
    }
}

/// Writes a file that everyone may read, whole or not at all.
///
/// # Errors
///
/// [`FilesError::Io`] when it cannot be written.
pub fn write_public(path: &Path, text: &str) -> Result<(), FilesError> {
    let beside = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| io_error(path, source))
}

fn check_directory(path: &Path) -> Result<(), FilesError> {
    let metadata = fs::metadata(path).map_err(|source| io_error(path, source))?;
    check_owner(path, &metadata)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(FilesError::Open { path: path.to_owned(), mode, fix: "go-w" });
    }
    Ok(())
}

fn check_secret(path: &Path) -> Result<(), FilesError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(io_error(path, source)),
    };
    check_owner(path, &metadata)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FilesError::Open { path: path.to_owned(), mode, fix: "600" });
    }
    Ok(())
}

fn check_owner(path: &Path, metadata: &fs::Metadata) -> Result<(), FilesError> {
    let (owner, us) = (metadata.uid(), geteuid().as_raw());
    if owner == us || owner == 0 {
        return Ok(());
    }
    Err(FilesError::Owner { path: path.to_owned(), owner, us })
}

fn io_error(path: &Path, source: io::Error) -> FilesError {
    FilesError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::{fs, fs::Permissions, os::unix::fs::PermissionsExt, path::Path};

    use super::{DataDir, FilesError, write_public};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn fixture() -> (tempfile::TempDir, DataDir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::new(&temp.path().join("data")).unwrap();
        dir.create().unwrap();
        for path in [dir.sealing_key(), dir.database()] {
            fs::write(&path, "x").unwrap();
            set(&path, 0o600);
        }
        (temp, dir)
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused_with_the_fix() {
        let (_temp, dir) = fixture();
        assert_eq!(mode(dir.root()), 0o700);
        drop(dir.secure(&dir.sealing_key()).unwrap());
        for path in [dir.sealing_key(), dir.database()] {
            for bad in [0o640, 0o604, 0o620] {
                set(&path, bad);
                let error = dir.secure(&dir.sealing_key()).unwrap_err().to_string();
                let path = path.display();
                let expected =
                    format!("{path}: open to other users (mode {bad:04o}); run: chmod 600 {path}");
                assert_eq!(error, expected);
            }
            set(&path, 0o600);
        }
        for bad in [0o770, 0o702] {
            set(dir.root(), bad);
            let refused = dir.secure(&dir.sealing_key());
            assert!(matches!(refused, Err(FilesError::Open { fix: "go-w", .. })));
        }
    }

    #[test]
    fn one_process_at_a_time_uses_a_directory() {
        let (_temp, dir) = fixture();
        let lock = dir.secure(&dir.sealing_key()).unwrap();
        assert!(matches!(dir.secure(&dir.sealing_key()), Err(FilesError::InUse(_))));
        drop(lock);
        dir.secure(&dir.sealing_key()).unwrap();
    }

    #[test]
    fn a_public_file_is_replaced_whole_and_readable() {
        let (_temp, dir) = fixture();
        for text in ["one", "two"] {
            write_public(&dir.bundle(), text).unwrap();
            assert_eq!(fs::read_to_string(dir.bundle()).unwrap(), text);
        }
        assert_eq!(mode(&dir.bundle()), 0o644);
    }
}
