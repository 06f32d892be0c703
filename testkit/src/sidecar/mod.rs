//! A running `cellwall-proxy`, and two of them that talk without a control plane.

mod pair;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use serde_json::Value;

pub use self::pair::{Beside, PairConfig, Place, Side, SidecarPair, sign_snapshot};
use crate::{
    client,
    process::{Process, Spawn, Tail, binary},
    scrape::Metrics,
};

/// How long a sidecar may take until it listens.
const LISTENING: Duration = Duration::from_secs(5);

/// The program's name.
pub const PROGRAM: &str = "cellwall-proxy";

/// What a sidecar is started with.
#[derive(Clone, Debug)]
pub struct SidecarConfig {
    /// Names its log files.
    pub name: String,
    /// Where its log files are.
    pub folder: PathBuf,
    /// Where other sidecars connect, on a free port; loopback in tests.
    pub inbound: IpAddr,
    /// Its workload.
    pub workload: SocketAddr,
    /// Its destinations: `[ENV/]WORKLOAD[@ADDR,...]`; each gets a free local port.
    pub outbound: Vec<String>,
    /// The control plane.
    pub control: SocketAddr,
    /// The file with the policy-signing key's public half.
    pub policy_key: PathBuf,
    /// The Workload API's endpoint.
    pub workload_api: String,
    /// Where it keeps its last policy; nowhere if not given.
    pub state: Option<PathBuf>,
    /// The program; found by [`binary`] if not given.
    pub program: Option<PathBuf>,
    /// Further flags.
    pub flags: Vec<String>,
    /// Words of a command that becomes the program: what starts it somewhere else.
    pub before: Vec<String>,
    /// The user to run as; our own if not given.
    pub user: Option<u32>,
}

/// A running sidecar. It is killed when this is dropped.
#[derive(Debug)]
pub struct Sidecar {
    /// The process.
    pub process: Process,
    /// Where other sidecars connect.
    pub inbound: SocketAddr,
    /// The local port of each destination, by its name.
    pub outbound: BTreeMap<String, SocketAddr>,
    /// Health, metrics and configuration.
    pub admin: SocketAddr,
}

impl Sidecar {
    /// Starts one and waits until it listens; not until it is ready.
    ///
    /// # Errors
    /// If it does not listen in time.
    pub async fn start(config: &SidecarConfig) -> anyhow::Result<Self> {
        let mut process = spawn(config)?.start()?;
        let line = process.message("listening", LISTENING).await?;
        let outbound = text(&line, "outbound")?;
        Ok(Self {
            inbound: text(&line, "inbound")?.parse()?,
            outbound: serde_json::from_str(outbound).with_context(|| outbound.to_owned())?,
            admin: text(&line, "admin")?.parse()?,
            process,
        })
    }

    /// Waits until it says that it has an identity and a policy.
    ///
    /// # Errors
    /// If it does not within `deadline`.
    pub async fn ready(&mut self, deadline: Duration) -> anyhow::Result<()> {
        self.process.message("ready", deadline).await.map(drop)
    }

    /// The local port for a destination.
    ///
    /// # Errors
    /// If it has none of this name.
    pub fn to(&self, destination: &str) -> anyhow::Result<SocketAddr> {
        let address = self.outbound.get(destination).copied();
        address.with_context(|| format!("{} has no {destination}", self.process.name()))
    }

    /// Its metrics now.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn metrics(&self) -> anyhow::Result<Metrics> {
        Metrics::scrape(self.admin).await
    }

    /// The status of a `GET` to its admin listener, `/readyz` for example.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn admin_status(&self, path: &str) -> anyhow::Result<u16> {
        let answer = client::request(self.admin, &format!("GET {path}")).await?;
        Ok(answer.status().as_u16())
    }

    /// Its `/config` document.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn config(&self) -> anyhow::Result<Value> {
        let answer = client::request(self.admin, "GET /config").await?;
        Ok(serde_json::from_slice(answer.body())?)
    }

    /// Its access log.
    pub fn access_log(&self) -> Tail {
        self.process.stdout()
    }
}

fn spawn(config: &SidecarConfig) -> anyhow::Result<Spawn> {
    let program = match &config.program {
        Some(program) => program.clone(),
        None => binary(PROGRAM)?,
    };
    let spawn = match config.before.split_first() {
        None => Spawn::new(&config.name, &program, &config.folder),
        Some((first, more)) => {
            Spawn::new(&config.name, Path::new(first), &config.folder).args(more).arg(program)
        }
    };
    let spawn = spawn
        .arg("run")
        .args(["--inbound", &format!("{}:0={}", config.inbound, config.workload)])
        .args(["--admin", "127.0.0.1:0"])
        .args(["--control", &config.control.to_string()])
        .args([Path::new("--policy-key"), &config.policy_key])
        .args(["--workload-api", &config.workload_api])
        .args(config.state.iter().flat_map(|folder| [Path::new("--state-dir"), folder]))
        .args(&config.flags);
    let destinations = config.outbound.iter();
    let outbound = destinations.flat_map(|to| ["--outbound".to_owned(), format!("0={to}")]);
    let spawn = spawn.args(outbound);
    Ok(match config.user {
        Some(user) => spawn.user(user),
        None => spawn,
    })
}

/// A text field of a log line.
pub(crate) fn text<'a>(line: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    line[field].as_str().with_context(|| format!("no field {field:?} in {line}"))
}
