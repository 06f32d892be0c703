//! Child processes: found, started, waited for by what they log, and never left behind.

mod tail;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, ChildStdin, Command},
    time::Instant,
};

pub use self::tail::Tail;

/// How often a file is looked at while something is waited for.
const POLL: Duration = Duration::from_millis(5);

/// The same at first, and for how long: most of what is waited for takes as long as a start.
const AT_FIRST: Duration = Duration::from_millis(1);
const FIRST: Duration = Duration::from_millis(50);

/// How many lines of its log a process's failure shows.
const EXCERPT: usize = 20;

/// Where a program of this project is: in `CELLWALL_BIN_DIR` if that is set, otherwise where cargo
/// puts it, beside or above the running test.
///
/// # Errors
/// If it is in none of these places.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let mut folders = Vec::new();
    if let Some(folder) = std::env::var_os("CELLWALL_BIN_DIR") {
        folders.push(PathBuf::from(folder));
    } else {
        let this = std::env::current_exe().context("where this program is")?;
        folders.extend(this.ancestors().skip(1).take(2).map(Path::to_path_buf));
    }
    let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is in none of {folders:?}: build it first"))
}

/// What to start.
#[derive(Debug)]
pub struct Spawn {
    name: String,
    command: Command,
    folder: PathBuf,
}

impl Spawn {
    /// A program that logs to `NAME.out` and `NAME.err` in `folder`. It gets no input.
    pub fn new(name: &str, program: &Path, folder: &Path) -> Self {
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).kill_on_drop(true);
        Self { name: name.to_owned(), command, folder: folder.to_owned() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = I>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it as another user, of the group with the same number. Needs root.
    #[must_use]
    pub fn user(mut self, uid: u32) -> Self {
        self.command.uid(uid).gid(uid);
        self
    }

    /// Gives it an input that [`Process::say`] writes to.
    #[must_use]
    pub fn with_input(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Starts it. Files of an earlier process of this name are appended to.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(mut self) -> anyhow::Result<Process> {
        let path = |suffix| self.folder.join(format!("{}.{suffix}", self.name));
        let (stdout, stderr) = (path("out"), path("err"));
        let open = |path: &Path| {
            let file = File::options().create(true).append(true).open(path);
            file.with_context(|| path.display().to_string())
        };
        let (out, err) = (open(&stdout)?, open(&stderr)?);
        let begins = (out.metadata()?.len(), err.metadata()?.len());
        self.command.stdout(out).stderr(err);
        let mut child = self.command.spawn().with_context(|| format!("start {}", self.name))?;
        let id = child.id().context("a child that has just started has an id")?;
        let input = child.stdin.take();
        Ok(Process { name: self.name, id, child, input, stdout, stderr, begins })
    }
}

/// A child process. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    id: u32,
    child: Child,
    input: Option<ChildStdin>,
    stdout: PathBuf,
    stderr: PathBuf,
    /// How long the two files were when it started.
    begins: (u64, u64),
}

impl Process {
    /// Its process id.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it prints on stdout, from its start on.
    pub fn stdout(&self) -> Tail {
        Tail::new(&self.stdout, self.begins.0)
    }

    /// What it prints on stderr, from its start on.
    pub fn stderr(&self) -> Tail {
        Tail::new(&self.stderr, self.begins.1)
    }

    /// Waits for the first JSON line on stderr that fits, beginning with the first it ever wrote.
    ///
    /// # Errors
    /// If there is none within `deadline`, or the process ends without one; with the end of its
    /// log.
    pub async fn logged(
        &mut self,
        deadline: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let tail = self.stderr();
        self.line(tail, deadline, fits).await
    }

    /// Waits for the line whose `message` is this, as [`Process::logged`] does.
    ///
    /// # Errors
    /// As [`Process::logged`].
    pub async fn message(&mut self, message: &str, deadline: Duration) -> anyhow::Result<Value> {
        let line = self.logged(deadline, |line| line["message"] == message).await;
        line.with_context(|| format!("waiting for message {message:?}"))
    }

    /// Waits for the first JSON line on stdout that fits.
    ///
    /// # Errors
    /// As [`Process::logged`].
    pub async fn printed(
        &mut self,
        deadline: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let tail = self.stdout();
        self.line(tail, deadline, fits).await
    }

    /// Waits for a JSON line that `tail` has not given yet, so that a test can wait for what
    /// happens after something else.
    ///
    /// # Errors
    /// As [`Process::logged`].
    pub async fn line(
        &mut self,
        mut tail: Tail,
        deadline: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let began = Instant::now();
        loop {
            // Looked at first: what it wrote before it ended is still to be read.
            let ended = self.child.try_wait()?;
            if let Some(line) = tail.json()?.into_iter().find(&fits) {
                return Ok(line);
            }
            if let Some(status) = ended {
                bail!("{} ended with {status}{}", self.name, self.excerpt());
            }
            if began.elapsed() >= deadline {
                bail!("{}: no such line within {deadline:?}{}", self.name, self.excerpt());
            }
            tokio::time::sleep(if began.elapsed() < FIRST { AT_FIRST } else { POLL }).await;
        }
    }

    /// Writes a line to its input.
    ///
    /// # Errors
    /// If it was started without an input, or has closed it.
    pub async fn say(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.input.as_mut().with_context(|| format!("{} has no input", self.name))?;
        input.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(input.flush().await?)
    }

    /// Closes its input: it reads an end.
    pub fn hang_up(&mut self) {
        self.input = None;
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it has ended and was waited for, or the signal cannot be sent.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        // Only while it is not reaped does the number surely belong to it.
        let id = self.child.id().with_context(|| format!("{} has ended", self.name))?;
        let id = Pid::from_raw(i32::try_from(id)?);
        signal::kill(id, signal).with_context(|| format!("{signal} to {}", self.name))
    }

    /// Whether it has not ended yet.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn is_running(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it does not end within `deadline`.
    pub async fn ended(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        match tokio::time::timeout(deadline, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("{} did not end within {deadline:?}{}", self.name, self.excerpt()),
        }
    }

    /// Sends SIGTERM and waits for its end; one that has ended already is as good.
    ///
    /// # Errors
    /// If it does not end within `deadline`.
    pub async fn stop(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        if self.is_running()? {
            self.signal(Signal::SIGTERM)?;
        }
        self.ended(deadline).await
    }

    /// Kills it and waits for its end.
    ///
    /// # Errors
    /// If the kernel does not do it.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    fn excerpt(&self) -> String {
        let text = fs::read(&self.stderr).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().collect::<Vec<_>>();
        let from = lines.len().saturating_sub(EXCERPT);
        let end = lines.iter().skip(from).map(|line| format!("\n    {line}")).collect::<String>();
        format!(", {}:{end}", self.stderr.display())
    }
}
