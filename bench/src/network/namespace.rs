//! A network namespace without a name: it ends with the last process and the last file that hold it,
//! so that nothing of it is left behind however we end.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{self, Command},
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};

/// One of ours.
#[derive(Debug)]
pub(super) struct Namespace(File);

impl Namespace {
    /// A new one, in which nothing is up.
    pub(super) fn new() -> io::Result<Self> {
        apart(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net").map(Self)
        })
    }

    /// Does something in it, on a thread of its own: the namespace is the thread's.
    pub(super) fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        apart(|| {
            self.enter()?;
            work()
        })
    }

    /// This thread, and what it starts from now on, is in it.
    pub(super) fn enter(&self) -> io::Result<()> {
        Ok(setns(&self.0, CloneFlags::CLONE_NEWNET)?)
    }

    /// Where processes of ours find it while we hold it.
    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd()).into()
    }

    pub(super) fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

/// Sockets of closed connections are used again after a second, as the kernel does by itself on loopback
/// alone: the load of new connections has more of them than there are ports. For the namespace of this
/// thread.
pub(super) fn reuse_ports() -> io::Result<()> {
    fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "1")
}

/// Where the congestion control of the namespace of this thread is read and set.
const CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// Sets the congestion control that Linux has by default. A machine may have another one that paces what it
/// sends: between two ends of one machine that is a timer for each write, which costs more than TLS. A
/// kernel without it keeps its own.
pub(super) fn set_control() {
    drop(fs::write(CONTROL, "cubic"));
}

/// The congestion control of the namespace of this thread.
pub(super) fn control() -> io::Result<String> {
    Ok(fs::read_to_string(CONTROL)?.trim_end().to_owned())
}

fn apart<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread ended early")))
    })
}

/// Becomes another program in the namespace at `path`, under the same number. Returns only if that
/// fails.
pub fn within(path: &Path, program: &Path, arguments: &[OsString]) -> io::Error {
    let entered = File::open(path).and_then(|file| Namespace(file).enter());
    match entered {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    }
}
