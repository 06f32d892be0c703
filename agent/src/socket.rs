//! The Workload API's socket in the file system: everyone may connect, only we may replace it.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;
use tokio::net::UnixListener;

/// A bound socket.
#[derive(Debug)]
pub struct Socket {
    pub(crate) listener: UnixListener,
    path: PathBuf,
}

/// Why a socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The path is relative, so that it means another place after a change of directory.
    #[error("socket {}: the path must be absolute", .0.display())]
    Relative(PathBuf),
    /// Others could replace the socket by their own and read every key that goes through it.
    #[error("socket {}: others can write to its directory (mode {mode:04o}); run: chmod go-w {}",
        .path.display(), .directory.display())]
    Directory {
        /// The socket.
        path: PathBuf,
        /// Its directory.
        directory: PathBuf,
        /// The directory's mode.
        mode: u32,
    },
    /// Its owner could replace the socket.
    #[error("socket {}: its directory belongs to user {owner}, not to this one or root",
        .path.display())]
    Owner {
        /// The socket.
        path: PathBuf,
        /// Who owns the directory.
        owner: u32,
    },
    /// Something that is not a socket lies there, or somebody serves it.
    #[error("socket {}: in use, or not a socket", .0.display())]
    InUse(PathBuf),
    /// The operating system refused.
    #[error("socket {}", .path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Socket {
    /// Binds `path` with mode `mode`, in a directory that is made (0755) if absent and that only
    /// its owner may write. A socket left by an earlier process is replaced.
    ///
    /// # Errors
    ///
    /// [`SocketError`] when the path is in use, the directory is open to others or the operating
    /// system refuses.
    pub fn bind(path: &Path, mode: u32) -> Result<Self, SocketError> {
        let io = |source| SocketError::Io { path: path.to_owned(), source };
        let directory = match path.parent() {
            Some(directory) if path.is_absolute() => directory,
            Some(_) | None => return Err(SocketError::Relative(path.to_owned())),
        };
        if !directory.exists() {
            DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(io)?;
            // Whatever our umask: workloads of every user have to come this way.
            fs::set_permissions(directory, Permissions::from_mode(0o755)).map_err(io)?;
        }
        let metadata = fs::metadata(directory).map_err(io)?;
        let found = metadata.mode() & 0o7777;
        if found & 0o022 != 0 {
            return Err(SocketError::Directory {
                path: path.to_owned(),
                directory: directory.to_owned(),
                mode: found,
            });
        }
        if metadata.uid() != 0 && metadata.uid() != geteuid().as_raw() {
            return Err(SocketError::Owner { path: path.to_owned(), owner: metadata.uid() });
        }
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(io)?;
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(io)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// The next connection.
    ///
    /// # Errors
    ///
    /// The operating system's, for example when descriptors run out.
    pub async fn accept(&self) -> io::Result<tokio::net::UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Nobody listens any more; whoever binds next would remove it too.
        let _ = fs::remove_file(&self.path);
    }
}

fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let io = |source| SocketError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io(error)),
        Ok(found) if found.file_type().is_socket() && UnixStream::connect(path).is_err() => {
            fs::remove_file(path).map_err(io)
        }
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
        path::Path,
    };

    use super::{Socket, SocketError};

    #[tokio::test]
    async fn everyone_may_connect_and_the_file_goes_with_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/workload.sock");
        let socket = Socket::bind(&path, 0o666).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        assert!(matches!(Socket::bind(&path, 0o666), Err(SocketError::InUse(_))));
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_a_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("workload.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(Socket::bind(&path, 0o666).unwrap());
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::bind(&path, 0o666), Err(SocketError::InUse(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_directory_that_others_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let refused = Socket::bind(&dir.path().join("workload.sock"), 0o666);
        assert!(matches!(refused, Err(SocketError::Directory { mode: 0o777, .. })));
        let relative = Socket::bind(Path::new("workload.sock"), 0o666);
        assert!(matches!(relative, Err(SocketError::Relative(_))));
    }
}
