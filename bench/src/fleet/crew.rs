//! Everybody who is simulated, started before one `cellwalld`.

use std::sync::Arc;

use cellwall_mtls::TlsMaterial;
use cellwall_policy::PolicyKey;
use spiffe::SpiffeId;
use tokio::task::JoinSet;

use super::{
    FleetError, Site,
    agent::{self, Held, STREAMS},
    board::Board,
    daemon::Daemon,
    lodger::Lodger,
    policy::{TRUST_DOMAIN, name},
    result::{Moment, Wave},
    sidecar::{Seen, Sidecar},
};

/// All agents. They end when this is dropped, and the processes that they are reached through.
#[derive(Debug)]
pub(super) struct Agents {
    pub(super) board: Board<Held>,
    _tasks: JoinSet<()>,
    _lodgers: Vec<Lodger>,
}

impl Agents {
    /// Connects all of them, opens all streams at once, and waits until each has an SVID.
    pub(super) async fn start(
        site: &Site<'_>,
        daemon: &Daemon,
    ) -> Result<(Self, Wave), FleetError> {
        let size = &site.plan.size;
        let (board, mut clients) = (Board::new(size.agents), Vec::new());
        let mut lodgers = Vec::new();
        for (workload, room) in site.rooms.iter().enumerate() {
            let lodger = Lodger::start(room, &daemon.said.workload_socket).await?;
            let seats = (workload..size.agents).step_by(size.workloads).collect::<Vec<_>>();
            for seats in seats.chunks(STREAMS) {
                let client = agent::client(lodger.connect().await?).await?;
                clients.extend(seats.iter().map(|seat| (*seat, client.clone())));
            }
            lodgers.push(lodger);
        }
        let before = Moment::now(daemon.id);
        let mut tasks = JoinSet::new();
        for (seat, client) in clients {
            tasks.spawn(agent::live(client, seat, board.clone()));
        }
        let wanted = ("a first svid", site.plan.deadline);
        let held = board.until(wanted, |_, held| !held.came.is_empty(), Held::told).await?;
        let after = Moment::now(daemon.id);
        let ends = held.iter().filter_map(|held| held.came.first().copied()).collect::<Vec<_>>();
        let wave = Wave::new(before.at, &ends, &before, &after);
        Ok((Self { board, _tasks: tasks, _lodgers: lodgers }, wave))
    }

    /// What sidecars make of the SVIDs, one for each agent.
    async fn materials(&self, site: &Site<'_>) -> Result<Vec<Arc<TlsMaterial>>, FleetError> {
        let wanted = ("a first svid", site.plan.deadline);
        let held = self.board.until(wanted, |_, held| held.svid.is_some(), Held::told).await?;
        let svids = held.iter().filter_map(|held| held.svid.as_deref());
        svids.map(|svid| agent::material(svid).map(Arc::new)).collect()
    }
}

/// All sidecars. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Sidecars {
    pub(super) board: Board<Seen>,
    _tasks: JoinSet<()>,
}

impl Sidecars {
    /// Lets all of them connect at once, and waits until `cellwalld` has heard from each that it
    /// enforces its policy.
    pub(super) async fn start(
        site: &Site<'_>,
        daemon: &Daemon,
        agents: &Agents,
    ) -> Result<(Self, Wave), FleetError> {
        let size = &site.plan.size;
        let materials = agents.materials(site).await?;
        let pem =
            std::fs::read(&daemon.policy_key).map_err(FleetError::system("the policy key"))?;
        let key = PolicyKey::from_pem(&pem).map_err(|error| FleetError::Svid(error.to_string()))?;
        let key = Arc::new(key);
        let expected = SpiffeId::new(format!("spiffe://{TRUST_DOMAIN}/cellwall/control-plane"));
        let expected = expected.map_err(|error| FleetError::Svid(error.to_string()))?;
        let board = Board::new(size.proxies);
        let sidecar = |seat: usize| {
            let workload = size.of_sidecar(seat);
            let next = (1..=size.destinations).map(|more| name((workload + more) % size.workloads));
            let material = materials.get(size.agent_of(seat)).cloned();
            material.map(|material| Sidecar {
                seat,
                board: board.clone(),
                material,
                control: daemon.said.mesh,
                expected: expected.clone(),
                destinations: next.collect(),
                opens: (seat < size.workloads).then(|| key.clone()),
            })
        };
        let sidecars = (0..size.proxies).filter_map(sidecar).collect::<Vec<_>>();
        let before = Moment::now(daemon.id);
        let mut tasks = JoinSet::new();
        for sidecar in sidecars {
            tasks.spawn(sidecar.live());
        }
        let all = Self { board, _tasks: tasks };
        let wave = all.follow(site, daemon, (1, before)).await?;
        Ok((all, wave))
    }

    /// Waits until all enforce this version, in their own words and in those of `cellwalld`.
    pub(super) async fn follow(
        &self,
        site: &Site<'_>,
        daemon: &Daemon,
        (version, before): (u64, Moment),
    ) -> Result<Wave, FleetError> {
        let wanted = ("the policy's last ack", site.plan.deadline);
        let follows = |_: usize, seen: &Seen| seen.version >= version;
        let seen = self.board.until(wanted, follows, Seen::told).await?;
        heard(site, daemon, site.plan.size.proxies).await?;
        let after = Moment::now(daemon.id);
        let ends = seen.iter().filter_map(|seen| seen.told).collect::<Vec<_>>();
        Ok(Wave::new(before.at, &ends, &before, &after))
    }
}

/// Waits until `cellwalld` says of so many sidecars that they are connected and enforce what they
/// were sent.
pub(super) async fn heard(
    site: &Site<'_>,
    daemon: &Daemon,
    wanted: usize,
) -> Result<(), FleetError> {
    let (what, deadline) = ("sidecars that cellwalld has heard from", site.plan.deadline);
    let end = std::time::Instant::now() + deadline;
    loop {
        let (synced, all) = daemon.sidecars().await?;
        if (synced, all) == (wanted, wanted) {
            return Ok(());
        }
        if std::time::Instant::now() >= end {
            let first = format!("{synced} of {all} sidecars are in sync");
            return Err(FleetError::Late {
                what,
                missing: wanted.abs_diff(synced),
                deadline,
                first,
            });
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
