//! `perf`, attached to processes and told when to look and when not to.

use std::{io, path::Path, process::Stdio, time::Duration};

use nix::{
    sys::{
        signal::{Signal, kill},
        stat::Mode,
    },
    unistd::{Pid, mkfifo},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::pipe,
    process::{Child, Command},
};

/// How long the kernel may take to turn on all that is looked at.
const ATTACHES: Duration = Duration::from_secs(60);

/// How long `perf` may take to write what it has seen.
const ENDS: Duration = Duration::from_secs(120);

/// It is there, and looks at nothing until it is told to.
#[derive(Debug)]
pub(crate) struct Perf {
    child: Child,
    control: pipe::Sender,
    answers: pipe::Receiver,
    folder: TempDir,
}

/// What it says of itself, if it can be started.
pub(crate) async fn version() -> Result<String, String> {
    let output = Command::new("perf").arg("--version").output().await;
    let output = output.map_err(|error| format!("perf: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Perf {
    /// Starts it for `work`, `record` for example, with further arguments, which may name files in a
    /// folder of its own.
    pub(crate) fn start(
        work: &str,
        arguments: impl FnOnce(&mut Command, &Path),
    ) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let [control, answers] = ["control", "answers"].map(|name| folder.path().join(name));
        for path in [&control, &answers] {
            mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        }
        let mut command = Command::new("perf");
        command.arg(work).arg("--delay=-1");
        command.arg(format!("--control=fifo:{},{}", control.display(), answers.display()));
        arguments(&mut command, folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::piped()).kill_on_drop(true);
        // Read and write both: opening one end waits for nobody then.
        let mut options = pipe::OpenOptions::new();
        options.read_write(true);
        let (control, answers) = (options.open_sender(&control)?, options.open_receiver(&answers)?);
        Ok(Self { child: command.spawn()?, control, answers, folder })
    }

    /// Gives an order, and waits until it is done.
    pub(crate) async fn tell(&mut self, order: &str) -> io::Result<()> {
        self.control.write_all(format!("{order}\n").as_bytes()).await?;
        let Self { child, answers, .. } = self;
        let answer = async {
            let mut answer = Vec::new();
            while !answer.ends_with(b"ack\n") && !answer.ends_with(b"ack\n\0") {
                answers.read_buf(&mut answer).await?;
            }
            Ok(())
        };
        let ended = async {
            let mut errors = String::new();
            if let Some(stderr) = &mut child.stderr {
                stderr.read_to_string(&mut errors).await?;
            }
            Err(io::Error::other(errors.trim().to_owned()))
        };
        // Either is right to be cut: an answer ends the waiting for the end, and the end for one.
        let done = async {
            tokio::select! { done = answer => done, done = ended => done }
        };
        tokio::time::timeout(ATTACHES, done).await?
    }

    /// Waits until it has written all, and returns its folder.
    pub(crate) async fn end(mut self) -> io::Result<TempDir> {
        interrupt(&mut self.child, ENDS).await?;
        Ok(self.folder)
    }
}

/// Asks a program to write what it has, and waits until it has ended.
pub(crate) async fn interrupt(child: &mut Child, within: Duration) -> io::Result<()> {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).filter(|id| *id > 1);
    if let Some(id) = id {
        // Not waited for yet, so that the number is surely its own.
        kill(Pid::from_raw(id), Signal::SIGINT)?;
    }
    tokio::time::timeout(within, child.wait()).await?.map(drop)
}
