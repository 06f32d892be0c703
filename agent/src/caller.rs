//! The process at the other end of a connection, pinned so that it cannot become another one.

use std::os::fd::{AsFd, OwnedFd};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        getsockopt,
        sockopt::{PeerCredentials, PeerPidfd},
    },
};

use crate::{Process, ProcessError};

/// The process that opened a connection. Not the one that holds it now: a connection that was
/// handed on still answers for the process that opened it, and ends with it (ATT-05).
#[derive(Debug)]
pub struct Caller {
    process: Process,
    pidfd: OwnedFd,
}

/// Why a caller is nobody.
#[derive(Debug, thiserror::Error)]
pub enum AttestationError {
    /// The kernel does not tell who opened the connection.
    #[error("the kernel does not say who called (SO_PEERPIDFD needs Linux 6.5)")]
    Credentials(#[source] Errno),
    /// The caller lives where this process cannot see it.
    #[error("the caller is in a process namespace that cannot be seen from here")]
    Namespace,
    /// `/proc` does not say what the caller is.
    #[error("the caller's process cannot be read")]
    Process(#[source] ProcessError),
    /// The process that opened the connection has ended.
    #[error("process {pid} has exited")]
    Exited {
        /// Its number.
        pid: i32,
    },
    /// The process is not what it was when the connection was accepted.
    #[error("process {pid} has changed since it connected")]
    Changed {
        /// Its number.
        pid: i32,
    },
}

impl AttestationError {
    /// A short name from a closed set, for metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Credentials(_) => "credentials",
            Self::Namespace => "namespace",
            Self::Process(_) => "process",
            Self::Exited { .. } => "exited",
            Self::Changed { .. } => "changed",
        }
    }
}

impl Caller {
    /// Attests whoever opened `connection`. To be asked at accept: the kernel's answer is that of
    /// the moment of `connect`, and the sooner it is compared with `/proc` the better.
    ///
    /// # Errors
    ///
    /// [`AttestationError`] when the process is gone, hidden, or no longer what it was when it
    /// connected. `SO_PEERPIDFD` is needed: without it a recycled pid could pass for the caller,
    /// and `nix` has no `pidfd_open` to fall back to.
    pub fn attest(connection: &impl AsFd) -> Result<Self, AttestationError> {
        let credentials =
            getsockopt(connection, PeerCredentials).map_err(AttestationError::Credentials)?;
        let pidfd = getsockopt(connection, PeerPidfd).map_err(AttestationError::Credentials)?;
        let pid = credentials.pid();
        if pid <= 0 {
            return Err(AttestationError::Namespace);
        }
        let process = Process::read(pid).map_err(AttestationError::Process)?;
        // ATT-01: alive after the reading means that the pid was not another's during it.
        ensure_alive(&pidfd, pid)?;
        if (process.uid, process.gid) != (credentials.uid(), credentials.gid()) {
            return Err(AttestationError::Changed { pid });
        }
        Ok(Self { process, pidfd })
    }

    /// What was attested.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Attests again: alive, started at the same time, the same selectors (ATT-01, WAPI-30). To
    /// be asked before each response.
    ///
    /// # Errors
    ///
    /// [`AttestationError`] when the process ended or is no longer what it was.
    pub fn recheck(&self) -> Result<(), AttestationError> {
        let pid = self.process.pid;
        let now = Process::read(pid);
        ensure_alive(&self.pidfd, pid)?;
        if now.map_err(AttestationError::Process)? != self.process {
            return Err(AttestationError::Changed { pid });
        }
        Ok(())
    }
}

/// A pidfd is readable once its process has exited (pidfd_open(2)).
fn ensure_alive(pidfd: &OwnedFd, pid: i32) -> Result<(), AttestationError> {
    let mut polled = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    match poll(&mut polled, PollTimeout::ZERO) {
        Ok(0) => Ok(()),
        Ok(_) => Err(AttestationError::Exited { pid }),
        Err(error) => Err(AttestationError::Credentials(error)),
    }
}

#[cfg(test)]
impl Caller {
    /// Lets a descriptor stand in for the pidfd: once it is readable, the process has exited.
    pub(crate) fn exits_with(mut self, descriptor: OwnedFd) -> Self {
        self.pidfd = descriptor;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::net::UnixStream, process};

    use super::{AttestationError, Caller};
    use crate::Process;

    #[test]
    fn a_caller_in_this_process_is_this_process() {
        let (here, _there) = UnixStream::pair().unwrap();
        let caller = Caller::attest(&here).unwrap();
        assert_eq!(*caller.process(), Process::read(process::id().cast_signed()).unwrap());
        caller.recheck().unwrap();
    }

    #[test]
    fn a_caller_that_is_no_longer_what_it_was_is_nobody() {
        let (here, _there) = UnixStream::pair().unwrap();
        let mut caller = Caller::attest(&here).unwrap();
        caller.process.started += 1;
        assert!(matches!(caller.recheck(), Err(AttestationError::Changed { .. })));
    }

    #[test]
    fn a_caller_that_has_exited_is_nobody_even_if_its_pid_lives_on() {
        // ATT-01
        let (here, _there) = UnixStream::pair().unwrap();
        let (readable, mut writer) = UnixStream::pair().unwrap();
        let caller = Caller::attest(&here).unwrap().exits_with(readable.into());
        caller.recheck().unwrap();
        writer.write_all(b"x").unwrap();
        assert!(matches!(caller.recheck(), Err(AttestationError::Exited { .. })));
    }
}
