//! Processes that the agent attests: each is a program of its own name, and passes connections on.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use nix::unistd::geteuid;
use tokio::{
    io::AsyncReadExt as _,
    net::{UnixListener, UnixStream},
    process::{Child, Command},
};
use tokio_util::task::TaskTracker;

use super::FleetError;
use crate::crowd::AGAIN;

/// The first of the users that lodgers are, where we are root. Nobody is asked who they are.
const FIRST_USER: u32 = 59_000;

/// How long one may take to listen.
const LISTENS: Duration = Duration::from_secs(20);

/// Passes each connection to `listen` on to `to`, for as long as somebody holds our standard input
/// open. Whoever listens at `to` sees this process as the caller.
///
/// # Errors
/// If it cannot listen.
pub async fn lodge(listen: &Path, to: &Path) -> io::Result<()> {
    let (listener, tasks) = (UnixListener::bind(listen)?, TaskTracker::new());
    let mut input = tokio::io::stdin();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Nothing is ever written: it ends with whoever started us.
            _ = input.read_u8() => return Ok(()),
        };
        match accepted {
            Ok((near, _)) => drop(tasks.spawn(pass(near, to.to_owned()))),
            // Out of files: connections that end make room.
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

async fn pass(mut near: UnixStream, to: PathBuf) {
    let Ok(mut far) = UnixStream::connect(to).await else { return };
    // How it ends is for both ends to judge.
    drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
}

/// How many users lodgers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Users {
    /// All of them ours.
    One,
    /// Each another: we are root.
    Each,
}

impl Users {
    pub(super) fn here() -> Self {
        if geteuid().is_root() { Self::Each } else { Self::One }
    }
}

/// This program under a name of its own: what a process of it is attested by.
#[derive(Debug)]
pub(super) struct Room {
    number: u32,
    folder: PathBuf,
    pub(super) program: PathBuf,
}

impl Room {
    /// Puts the program there: as another name of the same file, or else as a copy.
    pub(super) fn new(folder: &Path, number: u32) -> Result<Self, FleetError> {
        let room = folder.join(format!("room-{number}"));
        let program = room.join("lodger");
        let this = std::env::current_exe().map_err(FleetError::system("this program"))?;
        let made = || -> io::Result<()> {
            fs::create_dir(&room)?;
            if fs::hard_link(&this, &program).is_err() {
                fs::copy(&this, &program)?;
            }
            fs::set_permissions(&room, fs::Permissions::from_mode(0o755))?;
            if Users::here() == Users::Each {
                let user = Some(FIRST_USER + number);
                chown(&room, user, user)?;
            }
            Ok(())
        };
        made().map_err(FleetError::system("a lodger's program"))?;
        Ok(Self { number, folder: room, program })
    }
}

/// A running one. It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Lodger {
    _child: Child,
    listens: PathBuf,
}

impl Lodger {
    /// Starts one that passes connections on to `socket`.
    pub(super) async fn start(room: &Room, socket: &Path) -> Result<Self, FleetError> {
        let listens = room.folder.join("lodger.sock");
        drop(fs::remove_file(&listens));
        let mut command = Command::new(&room.program);
        command.arg("lodge").arg("--listen").arg(&listens).arg("--to").arg(socket);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
        if Users::here() == Users::Each {
            let user = FIRST_USER + room.number;
            command.uid(user).gid(user);
        }
        let child = command.spawn().map_err(FleetError::system("start a lodger"))?;
        let lodger = Self { _child: child, listens };
        let end = Instant::now() + LISTENS;
        while let Err(error) = UnixStream::connect(&lodger.listens).await {
            if Instant::now() >= end {
                return Err(FleetError::System { what: "a lodger listens", source: error });
            }
            tokio::time::sleep(AGAIN).await;
        }
        Ok(lodger)
    }

    /// A connection to whatever it passes on to.
    pub(super) async fn connect(&self) -> Result<UnixStream, FleetError> {
        let connected = UnixStream::connect(&self.listens).await;
        connected.map_err(FleetError::system("connect to a lodger"))
    }
}
