//! Thousands of simulated sidecars and clients of the Workload API before one real `cellwalld`.
//!
//! What is simulated speaks the real protocols over real sockets: an agent is a stream of the
//! Workload API with an identity of its own, attested by the kernel like any other process's; a
//! sidecar is a mutual TLS connection with such an identity, which gets a signed policy and
//! acknowledges it. Behind them is nothing: no workload, no call. `cellwalld` allows one user 64
//! connections of 16 streams to the Workload API and a budget of certificates (ATT-07, CA-09):
//! agents are reached through a process for each workload, of another user each where we are root.

mod agent;
mod board;
mod connected;
mod crew;
mod daemon;
mod lodger;
mod policy;
mod result;
mod rotation;
mod sidecar;
mod table;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tempfile::TempDir;

use self::{
    agent::STREAMS,
    lodger::{Room, Users},
    policy::Pattern,
};
pub use self::{
    lodger::lodge,
    result::{Connected, Fleet, Memory, Rotated, SCHEMA, Size, Wave},
    table::table,
};
use crate::{machine::Machine, program};

/// What is to be simulated.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How large.
    pub size: Size,
    /// Where `cellwalld` is looked for first.
    pub programs: Vec<PathBuf>,
    /// How long everybody together may take for each step.
    pub deadline: Duration,
}

/// Why a fleet was not simulated to its end.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A number makes no sense here.
    #[error("{0}")]
    Size(String),
    /// There is nothing to simulate it before.
    #[error("no program cellwalld beside this one, in --programs or in PATH")]
    NoProgram,
    /// The operating system refused.
    #[error("{what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// `cellwalld` did not listen.
    #[error("cellwalld does not listen: {0}")]
    Daemon(String),
    /// It did not take a policy, or did not understand.
    #[error("cellwalld refused: {0}")]
    Refused(String),
    /// An SVID cannot be used.
    #[error("an svid: {0}")]
    Svid(String),
    /// Not all of them came as far as they should have.
    #[error("{what}: {missing} not within {deadline:?}, one of them: {first}")]
    Late {
        /// What was waited for.
        what: &'static str,
        /// How many were not there.
        missing: usize,
        /// For how long.
        deadline: Duration,
        /// What the first of them said last.
        first: String,
    },
}

impl FleetError {
    fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// Agents of one user. Twice as many certificates are within its budget at once.
const AGENTS_OF_A_USER: usize = 500;

/// Connections of one user to the Workload API; one is kept to see whether a process listens.
const CONNECTIONS_OF_A_USER: usize = 63;

/// Connections that `cellwalld` takes, and those of one identity.
const SIDECARS: usize = 8192;
const SIDECARS_OF_A_WORKLOAD: usize = 1024;

/// Files that are open besides one for each sidecar and agent.
const OTHER_FILES: usize = 500;

/// How long SVIDs live where their rotation is not looked at.
const LONG: Duration = Duration::from_secs(3600);

impl Size {
    /// As many agents as this user may have, at most a thousand.
    pub fn agents_here(workloads: usize) -> usize {
        let most = match Users::here() {
            Users::One => 480,
            Users::Each => 1000,
        };
        most.max(workloads)
    }

    /// The workload of an agent.
    const fn of_agent(&self, seat: usize) -> usize {
        seat % self.workloads
    }

    /// The agent whose SVID a sidecar uses.
    const fn agent_of(&self, sidecar: usize) -> usize {
        sidecar % self.agents
    }

    /// The workload of a sidecar.
    const fn of_sidecar(&self, seat: usize) -> usize {
        self.of_agent(self.agent_of(seat))
    }

    fn check(&self, users: Users, open_files: u64) -> Result<(), FleetError> {
        let wrong = |text: String| Err(FleetError::Size(text));
        if !(2..=200).contains(&self.workloads) || self.agents < self.workloads {
            return wrong("2 to 200 workloads, each with an agent".to_owned());
        }
        if self.destinations >= self.workloads || (1..self.workloads).contains(&self.proxies) {
            return wrong("fewer destinations than workloads, and a sidecar of each".to_owned());
        }
        if !matches!(self.ttl_seconds, 0 | 10..=3600) || self.rules > 100_000 {
            return wrong("a ttl of 10 s to an hour, at most 100,000 rules".to_owned());
        }
        let agents = self.agents.div_ceil(self.workloads);
        let (most, connections) = match users {
            Users::Each => (agents, agents.div_ceil(STREAMS)),
            Users::One => (self.agents, agents.div_ceil(STREAMS) * self.workloads),
        };
        if most > AGENTS_OF_A_USER || connections > CONNECTIONS_OF_A_USER {
            return wrong(format!(
                "{most} agents on {connections} connections of one user, who may have \
                 {AGENTS_OF_A_USER} on {CONNECTIONS_OF_A_USER}; as root each workload is another user"
            ));
        }
        let of_first = (0..self.proxies).filter(|seat| self.of_sidecar(*seat) == 0).count();
        if self.proxies > SIDECARS || of_first > SIDECARS_OF_A_WORKLOAD {
            return wrong(format!(
                "cellwalld takes {SIDECARS} sidecars, and {SIDECARS_OF_A_WORKLOAD} of a workload"
            ));
        }
        let files = self.proxies + self.agents + OTHER_FILES;
        if u64::try_from(files).unwrap_or(u64::MAX) > open_files {
            return wrong(format!(
                "{files} open files are needed, a process may have {open_files}"
            ));
        }
        Ok(())
    }
}

/// What both parts of a run have in common.
#[derive(Debug)]
struct Site<'a> {
    plan: &'a Plan,
    program: PathBuf,
    rooms: Vec<Room>,
    pattern: Pattern,
    folder: TempDir,
}

/// Simulates a fleet of this size, twice: with SVIDs of an hour for everything but their rotation.
/// Everything that it starts has ended when it returns, or when it is dropped.
///
/// # Errors
/// If the size is not possible here, `cellwalld` does not run, or somebody does not come as far as
/// everybody should within the deadline.
pub async fn fleet(plan: &Plan) -> Result<Fleet, FleetError> {
    let machine = Machine::here();
    let users = Users::here();
    plan.size.check(users, machine.open_files)?;
    let program = program::find("cellwalld", &program::folders(&plan.programs));
    let folder = tempfile::Builder::new().prefix("cellwall-bench-fleet-").tempdir();
    let folder = folder.map_err(FleetError::system("a folder"))?;
    open_to_all(folder.path())?;
    let rooms = (0..u32::try_from(plan.size.workloads).unwrap_or_default())
        .map(|number| Room::new(folder.path(), number))
        .collect::<Result<Vec<_>, _>>()?;
    let programs = rooms.iter().map(|room| room.program.clone()).collect();
    let pattern = Pattern { programs, rules: plan.size.rules };
    let program = program.ok_or(FleetError::NoProgram)?;
    let site = Site { plan, program, rooms, pattern, folder };
    let (mut version, mut connected, mut rotated) = (String::new(), None, None);
    if plan.size.proxies > 0 {
        let (said, part) = Box::pin(connected::connected(&site)).await?;
        (version, connected) = (said, Some(part));
    }
    if plan.size.ttl_seconds > 0 {
        let (said, part) = Box::pin(rotation::rotated(&site)).await?;
        (version, rotated) = (said, Some(part));
    }
    Ok(written(plan, machine, version, (connected, rotated)))
}

/// Lodgers are other users.
fn open_to_all(folder: &Path) -> Result<(), FleetError> {
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder, open).map_err(FleetError::system("a folder"))
}

fn written(
    plan: &Plan,
    machine: Machine,
    version: String,
    (connected, rotated): (Option<Connected>, Option<Rotated>),
) -> Fleet {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let waves = connected.iter().flat_map(|it| [&it.issuance, &it.storm, &it.told]);
    let waves = waves.chain(connected.iter().flat_map(|it| &it.pushes));
    let waves = waves.chain(rotated.iter().map(|it| &it.wave));
    let (steal_percent, foreign_percent) = waves
        .fold((0.0_f64, 0.0_f64), |(steal, foreign), wave| {
            (steal.max(wave.steal_percent), foreign.max(wave.foreign_percent))
        });
    Fleet {
        schema: SCHEMA,
        at: now.map_or(0, |since| since.as_secs()),
        machine,
        version,
        size: plan.size.clone(),
        users: match Users::here() {
            Users::One => 1,
            Users::Each => plan.size.workloads,
        },
        connected,
        rotated,
        steal_percent,
        foreign_percent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size() -> Size {
        Size {
            proxies: 2000,
            agents: 480,
            workloads: 40,
            rules: 1000,
            destinations: 1,
            pushes: 3,
            ttl_seconds: 10,
        }
    }

    #[test]
    fn what_the_control_plane_would_refuse_is_said_before() {
        let check = |size: Size, users| size.check(users, 20_000).map_err(|it| it.to_string());
        let of = |change: fn(&mut Size)| {
            let mut size = size();
            change(&mut size);
            size
        };
        assert_eq!(check(size(), Users::One), Ok(()));
        assert_eq!(check(of(|size| size.agents = 10_000), Users::Each), Ok(()));
        for (size, why) in [
            (of(|size| size.agents = 39), "each with an agent"),
            (of(|size| size.destinations = 40), "fewer destinations"),
            (of(|size| size.ttl_seconds = 9), "a ttl of 10 s"),
            (of(|size| size.agents = 520), "520 agents on 40 connections of one user"),
            (of(|size| size.proxies = 8193), "takes 8192 sidecars"),
            (of(|size| (size.workloads, size.proxies) = (2, 4000)), "1024 of a workload"),
        ] {
            let said = check(size, Users::One).unwrap_err();
            assert!(said.contains(why), "{said} is not {why}");
        }
        let few = size().check(Users::One, 2000).unwrap_err().to_string();
        assert_eq!(few, "2980 open files are needed, a process may have 2000");
    }

    #[test]
    fn a_sidecar_is_of_the_workload_of_the_agent_whose_svid_it_has() {
        let size = size();
        for seat in [0, 39, 40, 479, 480, 1999] {
            assert_eq!(size.of_sidecar(seat), size.of_agent(size.agent_of(seat)));
        }
        assert_eq!((size.agent_of(480), size.of_sidecar(41)), (0, 1));
    }
}
