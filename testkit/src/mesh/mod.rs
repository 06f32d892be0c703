//! A whole mesh of processes: the control plane, and a workload with its sidecar per member.

mod control;
mod member;
mod spec;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

pub use self::{
    control::Control,
    member::{Member, RunningWorkload},
    spec::{MeshConfig, PROXIES, WorkloadSpec},
};
use crate::{
    process::Tail,
    witness::{Judgement, Report, Witness, read_folder, read_log},
    workload::Record,
};

/// How long everything may take to be ready, and a policy to be enforced everywhere.
const READY: Duration = Duration::from_secs(20);

/// How long a process may take to end after SIGTERM.
const STOP: Duration = Duration::from_secs(10);

/// For how long after a policy was replaced a sidecar may still enforce it. The witness judges a
/// request in this time by both.
const CONVERGENCE: Duration = Duration::from_secs(2);

/// A running mesh. All of it is killed when this is dropped.
#[derive(Debug)]
pub struct Mesh {
    /// The control plane.
    pub control: Control,
    members: BTreeMap<String, Member>,
    applied: Vec<Applied>,
    config: MeshConfig,
    folder: TempDir,
}

/// A policy, and since when.
#[derive(Debug)]
struct Applied {
    since: SystemTime,
    witness: Witness,
}

impl Mesh {
    /// Starts everything and waits until every sidecar has its identity and its policy.
    ///
    /// # Errors
    /// If something does not start, or is not ready in time; with the end of its log.
    pub async fn start(config: MeshConfig) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("cellwall-mesh-").tempdir()?;
        for name in ["run", "logs", "proxies", "requests", "state"] {
            fs::create_dir(folder.path().join(name))?;
        }
        if config.workloads.iter().any(|workload| workload.user.is_some()) {
            // Other users must reach sockets, programs and their own logs.
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        }
        let control = Control::start(&config, folder.path()).await?;
        let (members, applied) = (BTreeMap::new(), Vec::new());
        let mut mesh = Self { control, members, applied, config, folder };
        mesh.load(&mesh.config.policy.clone()).await?;
        for spec in mesh.config.workloads.clone() {
            let member = Member::start(&spec, &mesh.control, mesh.folder.path()).await?;
            ensure!(
                mesh.members.insert(spec.key(), member).is_none(),
                "{} is there twice",
                spec.key()
            );
        }
        for member in mesh.members.values_mut() {
            member.sidecar.ready(READY).await?;
        }
        mesh.synced().await?;
        Ok(mesh)
    }

    /// Applies another policy folder and waits until every sidecar enforces it.
    ///
    /// # Errors
    /// If the control plane refuses it, or a sidecar does not follow in time.
    pub async fn apply(&mut self, policy: &Path) -> anyhow::Result<()> {
        self.load(policy).await?;
        self.synced().await
    }

    async fn load(&mut self, policy: &Path) -> anyhow::Result<()> {
        let proxies = self.folder.path().join("proxies");
        let files = read_folder(policy)?;
        let place = |text: String| text.replace(PROXIES, &proxies.to_string_lossy());
        let files = files.into_iter().map(|(name, text)| (name, place(text)));
        let files = files.collect::<BTreeMap<_, _>>();
        let witness = Witness::from_files(&files)?;
        let since = SystemTime::now();
        self.control.load(&files).await?;
        self.applied.push(Applied { since, witness });
        Ok(())
    }

    /// Waits until the control plane has heard from every sidecar that it enforces the policy.
    ///
    /// # Errors
    /// If one does not in time.
    pub async fn synced(&self) -> anyhow::Result<()> {
        let wanted = self.members.len();
        self.control.synced(wanted, READY).await
    }

    /// A member by `ENV/WORKLOAD`, or `ENV/WORKLOAD.INSTANCE`.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn member(&self, name: &str) -> anyhow::Result<&Member> {
        self.members.get(name).with_context(|| format!("no member {name}"))
    }

    /// As [`Mesh::member`], to be changed.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn member_mut(&mut self, name: &str) -> anyhow::Result<&mut Member> {
        self.members.get_mut(name).with_context(|| format!("no member {name}"))
    }

    /// All members by name.
    pub const fn members(&self) -> &BTreeMap<String, Member> {
        &self.members
    }

    /// Where the logs are: `logs/NAME.out` and `.err` of each process, `requests/` of workloads.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a member's sidecar again, with new ports, and tells its workload.
    ///
    /// # Errors
    /// If it is not ready in time.
    pub async fn restart_sidecar(&mut self, name: &str) -> anyhow::Result<()> {
        self.respawn_sidecar(name).await?;
        self.member_mut(name)?.sidecar.ready(READY).await
    }

    /// The same, without waiting until it is ready: while the control plane is away, for example.
    ///
    /// # Errors
    /// If it does not listen in time.
    pub async fn respawn_sidecar(&mut self, name: &str) -> anyhow::Result<()> {
        let member = self.members.get_mut(name).with_context(|| format!("no member {name}"))?;
        member.sidecar.process.stop(STOP).await?;
        member.start_sidecar(&self.control, self.folder.path()).await
    }

    /// Asks the origin witness about every request that any workload saw since the start (T27).
    ///
    /// # Errors
    /// If a log cannot be read.
    pub fn witness(&self) -> anyhow::Result<Report> {
        let mut report = Report::default();
        for member in self.members.values().filter(|member| member.workload.is_some()) {
            for record in read_log(&member.requests)? {
                let judgement = self.judge(&record)?;
                report.add(record, judgement);
            }
        }
        Ok(report)
    }

    /// By the policies that may have been in force when the request came; the mildest counts.
    fn judge(&self, record: &Record) -> anyhow::Result<Judgement> {
        let at = SystemTime::from(OffsetDateTime::parse(&record.ts, &Rfc3339)?);
        let ends = self.applied.iter().skip(1).map(|next| Some(next.since + CONVERGENCE));
        let policies = self.applied.iter().zip(ends.chain([None]));
        let in_force =
            policies.filter(|(policy, end)| policy.since <= at && end.is_none_or(|end| at <= end));
        let judgements = in_force.map(|(policy, _)| policy.witness.judge(record));
        let severity = |judgement: &Judgement| match judgement {
            Judgement::Allowed(_) => 0,
            Judgement::Audited => 1,
            Judgement::Denied(_) => 2,
        };
        let nothing = || Judgement::Denied("no policy was in force".to_owned());
        Ok(judgements.min_by_key(severity).unwrap_or_else(nothing))
    }

    /// The request log of a member's workload, for what is still to come.
    ///
    /// # Errors
    /// If there is no such member, or its log cannot be read.
    pub fn requests_from_now(&self, name: &str) -> anyhow::Result<Tail> {
        let mut tail = Tail::new(&self.member(name)?.requests, 0);
        tail.skip()?;
        Ok(tail)
    }

    /// Stops everything with SIGTERM: all sidecars at once, then workloads, then the control plane.
    ///
    /// # Errors
    /// If a process does not end in time, or not with success.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        for member in self.members.values_mut() {
            if member.sidecar.process.is_running()? {
                member.sidecar.process.signal(Signal::SIGTERM)?;
            }
        }
        let mut failed = Vec::new();
        for (name, member) in &mut self.members {
            failed.extend(member.stop(STOP).await.err().map(|error| format!("{name}: {error:#}")));
        }
        let status = self.control.process.stop(STOP).await?;
        if !status.success() {
            failed.push(format!("cellwalld: {status}"));
        }
        if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("\n")) }
    }

    /// Keeps the folder with all logs after the end, to be looked at.
    pub fn keep_folder(&mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        self.folder.path().to_owned()
    }
}
