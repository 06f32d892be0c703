//! A running `cellwalld`, and its operators' API.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{bail, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::MeshConfig;
use crate::{
    client::{Server, request, request_json},
    process::{Process, Spawn, binary},
    sidecar::text,
    witness::ROOT,
};

/// How long it may take until it listens: it makes a trust domain first.
const LISTENING: Duration = Duration::from_secs(10);

/// How often it is asked while something is waited for.
const POLL: Duration = Duration::from_millis(20);

/// A running control plane. It is killed when this is dropped.
#[derive(Debug)]
pub struct Control {
    /// The process.
    pub process: Process,
    /// Where sidecars connect.
    pub mesh: SocketAddr,
    /// Health and metrics.
    pub health: SocketAddr,
    /// The Workload API's socket.
    pub workload_socket: PathBuf,
    /// The operators' API's socket.
    pub operator_socket: PathBuf,
    /// The public half of the policy-signing key.
    pub policy_key: PathBuf,
    /// Everything it keeps.
    pub data: PathBuf,
    flags: Vec<String>,
    folder: PathBuf,
}

impl Control {
    pub(super) async fn start(config: &MeshConfig, folder: &Path) -> anyhow::Result<Self> {
        let (data, run) = (folder.join("data"), folder.join("run"));
        let mut flags = ["run", "--dev", "--trust-domain", &config.trust_domain]
            .map(ToOwned::to_owned)
            .to_vec();
        let path = |path: &Path| path.display().to_string();
        flags.extend(["--data-dir".to_owned(), path(&data)]);
        flags.extend(["--workload-socket".to_owned(), path(&run.join("workload.sock"))]);
        flags.extend(["--operator-socket".to_owned(), path(&run.join("operator.sock"))]);
        flags.extend(["--health-listen", "127.0.0.1:0"].map(ToOwned::to_owned));
        if let Some(ttl) = config.svid_ttl {
            flags.extend(["--svid-ttl".to_owned(), format!("{}s", ttl.as_secs())]);
        }
        flags.extend(config.control_flags.iter().cloned());
        let spawn = spawn(folder, &flags, "127.0.0.1:0")?;
        let (process, line) = listening(spawn).await?;
        // Sidecars of other users cannot enter the data directory.
        let policy_key = run.join("policy-key.pem");
        fs::copy(data.join("policy-key.pem"), &policy_key)?;
        Ok(Self {
            process,
            mesh: text(&line, "mesh")?.parse()?,
            health: text(&line, "health")?.parse()?,
            workload_socket: text(&line, "workload_socket")?.into(),
            operator_socket: text(&line, "operator_socket")?.into(),
            policy_key,
            data,
            flags,
            folder: folder.to_owned(),
        })
    }

    /// Starts it again, after its process was stopped or killed, where sidecars look for it.
    ///
    /// # Errors
    /// If it does not listen in time.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        let spawn = spawn(&self.folder, &self.flags, &self.mesh.to_string())?;
        let (process, line) = listening(spawn).await?;
        self.process = process;
        self.health = text(&line, "health")?.parse()?;
        Ok(())
    }

    /// Asks the operators' API: the body of `GET PATH`.
    ///
    /// # Errors
    /// If the answer is not 200 with JSON.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let server = Server::Unix(self.operator_socket.clone());
        let answer = request(server, &format!("GET {path}")).await?;
        let body = String::from_utf8_lossy(answer.body());
        ensure!(answer.status() == 200, "GET {path}: {}: {body}", answer.status());
        Ok(serde_json::from_str(&body)?)
    }

    /// Tells the operators' API something: the status and the body of the answer to `POST PATH`.
    ///
    /// # Errors
    /// If there is no answer, or it is no JSON.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let server = Server::Unix(self.operator_socket.clone());
        let answer = request_json(server, &format!("POST {path}"), body).await?;
        Ok((answer.status().as_u16(), serde_json::from_slice(answer.body())?))
    }

    /// Applies a policy.
    pub(super) async fn load(&self, files: &BTreeMap<String, String>) -> anyhow::Result<()> {
        let body = json!({"sources": {"root": ROOT, "files": files}, "message": "by the mesh"});
        match self.post("/v1/policy", &body).await? {
            (200, _) => Ok(()),
            (status, problem) => bail!("the policy was refused: {status}: {problem:#}"),
        }
    }

    /// Waits until so many sidecars are connected and all of them enforce the policy.
    pub(super) async fn synced(&self, wanted: usize, deadline: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + deadline;
        loop {
            let status = self.get("/v1/status").await?;
            let version = status.get("policy_version").cloned().unwrap_or_default();
            let proxies = self.get("/v1/proxies").await?;
            let proxies = proxies.get("proxies").and_then(Value::as_array);
            let proxies = proxies.cloned().unwrap_or_default();
            let follows =
                |proxy: &&Value| proxy["sync"] == "synced" && proxy["policy_version"] == version;
            if proxies.iter().filter(follows).count() >= wanted {
                return Ok(());
            }
            if Instant::now() >= end {
                bail!("not all enforce version {version} within {deadline:?}: {proxies:#?}");
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn spawn(folder: &Path, flags: &[String], mesh: &str) -> anyhow::Result<Spawn> {
    let spawn = Spawn::new("cellwalld", &binary("cellwalld")?, &folder.join("logs"));
    Ok(spawn.args(flags).args(["--mesh-listen", mesh]))
}

async fn listening(spawn: Spawn) -> anyhow::Result<(Process, Value)> {
    let mut process = spawn.start()?;
    let line = process.message("listening", LISTENING).await?;
    Ok((process, line))
}
