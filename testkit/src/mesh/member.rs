//! A workload with its sidecar.

use std::{
    fs::{self, DirBuilder},
    io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{DirBuilderExt as _, chown},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use super::{Control, WorkloadSpec};
use crate::{
    client,
    process::{Process, Spawn, binary},
    sidecar::{self, Sidecar, SidecarConfig, text},
    workload::Stats,
};

/// How long a workload may take until it listens.
const LISTENING: Duration = Duration::from_secs(5);

/// Where nobody listens (discard), for a member without a workload.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// A member of a mesh.
#[derive(Debug)]
pub struct Member {
    /// The workload; none for a member that only calls.
    pub workload: Option<RunningWorkload>,
    /// Its sidecar.
    pub sidecar: Sidecar,
    /// The workload's request log.
    pub requests: PathBuf,
    spec: WorkloadSpec,
}

/// A workload's process.
#[derive(Debug)]
pub struct RunningWorkload {
    /// The process.
    pub process: Process,
    /// Where it listens; only its sidecar should connect there.
    pub address: SocketAddr,
    /// Where it serves `GET /stats`.
    pub stats: SocketAddr,
}

impl Member {
    pub(super) async fn start(
        spec: &WorkloadSpec,
        control: &Control,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let requests = folder.join("requests").join(spec.file_name());
        fs::create_dir(&requests)?;
        if let Some(user) = spec.user {
            chown(&requests, Some(user), Some(user))?;
        }
        let requests = requests.join("requests.jsonl");
        let workload = RunningWorkload::start(spec, &requests, folder).await?;
        let address = workload.as_ref().map_or(NOWHERE, |workload| workload.address);
        let sidecar = start_sidecar(spec, address, control, folder).await?;
        let mut member = Self { workload, sidecar, requests, spec: spec.clone() };
        member.tell_workload().await?;
        Ok(member)
    }

    pub(super) async fn start_sidecar(
        &mut self,
        control: &Control,
        folder: &Path,
    ) -> anyhow::Result<()> {
        let address = self.workload.as_ref().map_or(NOWHERE, |workload| workload.address);
        self.sidecar = start_sidecar(&self.spec, address, control, folder).await?;
        self.tell_workload().await
    }

    /// Tells the workload where its sidecar's local ports are.
    async fn tell_workload(&mut self) -> anyhow::Result<()> {
        let Some(workload) = &mut self.workload else { return Ok(()) };
        workload.process.say(&serde_json::to_string(&self.sidecar.outbound)?).await
    }

    /// What the workload counted.
    ///
    /// # Errors
    /// If there is no workload, or it does not answer.
    pub async fn stats(&self) -> anyhow::Result<Stats> {
        let workload = self.workload.as_ref();
        let workload = workload.with_context(|| format!("{} only calls", self.spec.key()))?;
        let answer = client::request(workload.stats, "GET /stats").await?;
        Ok(serde_json::from_slice(answer.body())?)
    }

    pub(super) async fn stop(&mut self, deadline: Duration) -> anyhow::Result<()> {
        let status = self.sidecar.process.stop(deadline).await?;
        ensure!(status.success(), "the sidecar ended with {status}");
        if let Some(workload) = &mut self.workload {
            let status = workload.process.stop(deadline).await?;
            ensure!(status.success(), "the workload ended with {status}");
        }
        Ok(())
    }
}

impl RunningWorkload {
    async fn start(
        spec: &WorkloadSpec,
        requests: &Path,
        folder: &Path,
    ) -> anyhow::Result<Option<Self>> {
        let Some(protocol) = spec.protocol else { return Ok(None) };
        let name = format!("{}-workload", spec.file_name());
        let program = linked("cellwall-workload", &folder.join("run"))?;
        let routes = spec.routes.iter().flat_map(|route| ["--on".to_owned(), route.clone()]);
        let spawn = Spawn::new(&name, &program, &folder.join("logs"))
            .args(["--name", &spec.name, "--environment", &spec.environment])
            .args(["--protocol", protocol.as_str()])
            .args([Path::new("--log"), requests])
            .args(routes)
            .with_input();
        let spawn = match spec.user {
            Some(user) => spawn.user(user),
            None => spawn,
        };
        let mut process = spawn.start()?;
        let line = process.printed(LISTENING, |line| line["listening"].is_string()).await?;
        let (address, stats) = (text(&line, "listening")?.parse()?, text(&line, "stats")?.parse()?);
        Ok(Some(Self { process, address, stats }))
    }
}

async fn start_sidecar(
    spec: &WorkloadSpec,
    workload: SocketAddr,
    control: &Control,
    folder: &Path,
) -> anyhow::Result<Sidecar> {
    // A test does not wait for connections that its own ends keep open.
    let mut flags = spec.sidecar_flags.clone();
    if !flags.iter().any(|flag| flag.starts_with("--drain-seconds")) {
        flags.push("--drain-seconds=2".to_owned());
    }
    let state = folder.join("state").join(spec.file_name());
    DirBuilder::new().recursive(true).mode(0o700).create(&state)?;
    if let Some(user) = spec.user {
        chown(&state, Some(user), Some(user))?;
    }
    let config = SidecarConfig {
        name: format!("{}-sidecar", spec.file_name()),
        folder: folder.join("logs"),
        inbound: Ipv4Addr::LOCALHOST.into(),
        workload,
        outbound: spec.destinations.clone(),
        control: control.mesh,
        policy_key: control.policy_key.clone(),
        workload_api: format!("unix:{}", control.workload_socket.display()),
        state: Some(state),
        program: Some(own_program(spec, &folder.join("proxies"))?),
        flags,
        before: Vec::new(),
        user: spec.user,
    };
    Sidecar::start(&config).await
}

/// The proxy under a path of the workload's own: what `unix:path` selectors tell workloads by.
fn own_program(spec: &WorkloadSpec, proxies: &Path) -> anyhow::Result<PathBuf> {
    let folder = proxies.join(&spec.environment).join(&spec.name);
    fs::create_dir_all(&folder)?;
    linked(sidecar::PROGRAM, &folder)
}

/// A program in a folder that other users can enter, too.
fn linked(program: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let (original, link) = (binary(program)?, folder.join(program));
    match fs::hard_link(&original, &link) {
        Ok(()) => {}
        // Another member made it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        // On another file system there is only a copy.
        Err(_) => drop(fs::copy(&original, &link)?),
    }
    Ok(link)
}
