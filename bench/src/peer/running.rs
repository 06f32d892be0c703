//! A peer that runs: started by its script, watched, and ended with everything it started.

use std::{
    env, fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, SystemTime},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use super::{Contender, PeerError, Protocol};
use crate::{Loopback, machine::Pinning, network::Network};

/// How long a script may take to say that it has started both sides.
const STARTS: Duration = Duration::from_secs(30);

/// How long both sides may take to end.
const ENDS: Duration = Duration::from_secs(5);

/// How much of a log is shown, in bytes.
const EXCERPT: usize = 600;

/// What all peers of a comparison have in common.
#[derive(Debug)]
pub struct Scene {
    certificates: TempDir,
    path: String,
    pinning: Pinning,
    network: Network,
}

/// A pair of proxies. Dropping it kills both.
#[derive(Debug)]
pub struct Running {
    /// Its own words about its version.
    pub version: String,
    /// Where the load goes.
    pub entry: Loopback,
    /// Where somebody calls whom the policy denies; only of those that have a policy.
    pub denied: Option<Loopback>,
    /// Where a second caller calls, if there is one.
    pub second: Option<Loopback>,
    /// Where the caller's side and the callee's tell their metrics, if they do.
    pub admin: Option<[Loopback; 2]>,
    /// The processes of the caller's side, and of the callee's.
    pub pids: [Vec<u32>; 2],
    /// When the first of them was started.
    pub began: SystemTime,
    /// How both sides reach each other.
    pub(crate) network: Network,
    name: String,
    child: Child,
    group: Pid,
    _work: TempDir,
}

/// What came of a start.
#[derive(Debug)]
pub enum Started {
    /// It runs.
    Running(Box<Running>),
    /// It cannot be had here: why.
    Absent(String),
}

/// What a script says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    ready: bool,
    #[serde(default)]
    pids: [Vec<u32>; 2],
    #[serde(default)]
    version: String,
    #[serde(default)]
    why: String,
    /// Where it took other ports than it was given.
    entry: Option<SocketAddr>,
    denied: Option<SocketAddr>,
    second: Option<SocketAddr>,
    admin: Option<[SocketAddr; 2]>,
    /// In microseconds since 1970.
    began_us: Option<u64>,
}

impl Scene {
    /// Makes the certificates. Scripts look for their programs in `programs` first, then beside
    /// ours, then wherever everybody does.
    ///
    /// # Errors
    /// If there is no folder or no certificate.
    pub fn new(
        programs: &[PathBuf],
        pinning: Pinning,
        network: Network,
    ) -> Result<Self, PeerError> {
        let certificates = folder("cellwall-bench-certificates-")?;
        super::write_certificates(certificates.path())?;
        let here = env::current_exe().ok().and_then(|this| this.parent().map(Path::to_owned));
        let usual = env::var_os("PATH").unwrap_or_default();
        let folders = programs.iter().cloned().chain(here).chain(env::split_paths(&usual));
        let path = folders.map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(":");
        Ok(Self { certificates, path, pinning, network })
    }

    /// Starts both sides of a peer before this backend, on their core.
    ///
    /// # Errors
    /// If it does not start, with the end of its log.
    pub async fn start(
        &self,
        contender: &Contender,
        protocol: Protocol,
        backend: SocketAddr,
    ) -> Result<Started, PeerError> {
        let name = &contender.name;
        let kernel = |what| move |source| PeerError::Kernel { name: name.clone(), what, source };
        let work = folder("cellwall-bench-peer-")?;
        let [entry, between] = self.free_ports().map_err(kernel("free ports"))?;
        let log = work.path().join("run.err");
        let errors = fs::File::create(&log).map_err(|error| PeerError::File(log.clone(), error))?;
        let mut command = self.command(contender, work.path()).map_err(kernel("this program"))?;
        command.env("ENTRY", entry.to_string()).env("BETWEEN", between.to_string());
        command.env("BACKEND", backend.to_string()).env("PROTOCOL", protocol.as_str());
        let direct = SocketAddr::from((self.network.callee(), backend.port()));
        command.env("DIRECT", direct.to_string()).stderr(errors);
        let child = self.pinning.on_the_other(|| command.spawn());
        let mut child = child
            .map_err(|error| kernel("move to a core")(error.into()))?
            .map_err(kernel("start bash"))?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
        let mut guard = Group(Some(Pid::from_raw(id)));
        let began = SystemTime::now();
        let said = tokio::time::timeout(STARTS, first_line(&mut child)).await;
        let failed = |what: String| PeerError::Start { name: name.clone(), what, log: tail(&log) };
        let line = match said {
            Ok(Ok(line)) => line,
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed(format!("silent for {STARTS:?}"))),
        };
        let said = serde_json::from_str::<Said>(&line);
        let said = said.map_err(|error| failed(format!("said {line:?}: {error}")))?;
        if !said.ready {
            return Ok(Started::Absent(said.why));
        }
        let here =
            |address| self.network.target(address).map_err(|error| failed(error.to_string()));
        let entry = here(said.entry.unwrap_or(entry))?;
        let [denied, second] = [said.denied, said.second].map(|there| there.map(here).transpose());
        let admin = said.admin.map(|[client, server]| Ok([here(client)?, here(server)?]));
        let told = said.began_us.map(|us| SystemTime::UNIX_EPOCH + Duration::from_micros(us));
        Ok(Started::Running(Box::new(Running {
            version: said.version,
            entry,
            denied: denied?,
            second: second?,
            admin: admin.transpose()?,
            pids: said.pids,
            began: told.unwrap_or(began),
            network: self.network.clone(),
            name: name.clone(),
            child,
            group: guard.0.take().unwrap_or_else(|| Pid::from_raw(id)),
            _work: work,
        })))
    }

    /// A contender's script, with what it always gets.
    fn command(&self, contender: &Contender, work: &Path) -> io::Result<Command> {
        let mut command = Command::new("bash");
        command.arg(contender.folder.join("run")).current_dir(work);
        command.env("CERTS", self.certificates.path()).env("WORK", work);
        command.env("LAYER", contender.layer.to_string()).env("PATH", &self.path);
        command.env("PAIR", contender.pair.join(" "));
        command.env("CALLER", self.network.caller().to_string());
        command.env("CALLEE", self.network.callee_path().unwrap_or_default());
        command.env("WITHIN", env::current_exe()?);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // A group of its own: whatever it starts can be ended by one number.
        command.process_group(0).kill_on_drop(true);
        Ok(command)
    }

    /// Two ports that are free now, of the caller's side and of the callee's. Somebody else may take one
    /// before the peer does; then it fails.
    fn free_ports(&self) -> io::Result<[SocketAddr; 2]> {
        let entry = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok([entry.local_addr()?, self.network.free_callee_port()?])
    }
}

impl Running {
    /// What it is called in results.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks both sides to end, and makes them if they do not.
    ///
    /// # Errors
    /// If the kernel does not tell of their end.
    pub async fn stop(mut self) -> Result<(), PeerError> {
        let error = |source| PeerError::Kernel { name: self.name.clone(), what: "stop", source };
        if self.child.try_wait().map_err(error)?.is_none() {
            // Not waited for yet, so that the number is surely its own.
            kill(self.group, Signal::SIGTERM).map_err(|number| error(number.into()))?;
        }
        match tokio::time::timeout(ENDS, self.child.wait()).await {
            Ok(ended) => ended.map(drop).map_err(error),
            // Dropping it kills all.
            Err(_) => Ok(()),
        }
    }

    /// The end of what it wrote to its standard error.
    pub fn log(&self) -> String {
        tail(&self._work.path().join("run.err"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(Group(Some(self.group)));
    }
}

/// Kills a process group that we have made.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        // Most often all have ended, and there is no such group. Numbers below 2 are nobody's or
        // everybody's.
        if let Some(group) = self.0.filter(|group| group.as_raw() > 1) {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

async fn first_line(child: &mut Child) -> io::Result<String> {
    let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let line = BufReader::new(output).lines().next_line().await?;
    line.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "it ended without a word"))
}

fn folder(prefix: &str) -> Result<TempDir, PeerError> {
    let folder = tempfile::Builder::new().prefix(prefix).tempdir();
    folder.map_err(|error| PeerError::File(env::temp_dir(), error))
}

fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let from = bytes.len().saturating_sub(EXCERPT);
    String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).trim().to_owned()
}
