//! The first part: SVIDs, a connect storm, changes of policy, a workload that is revoked, memory.

use std::time::Duration;

use super::{
    FleetError, LONG, Site,
    agent::Held,
    crew::{Agents, Sidecars, heard},
    daemon::Daemon,
    result::{Connected, Memory, Moment, Wave, real},
    sidecar::Seen,
};

/// How long memory may take to be at rest.
const SETTLES: Duration = Duration::from_millis(500);

pub(super) async fn connected(site: &Site<'_>) -> Result<(String, Connected), FleetError> {
    let (size, pattern) = (&site.plan.size, &site.pattern);
    let folder = site.folder.path().join("connected");
    std::fs::create_dir(&folder).map_err(FleetError::system("a folder"))?;
    super::open_to_all(&folder)?;
    let daemon = Daemon::start(&site.program, &folder, LONG).await?;
    daemon.apply(&pattern.document(size.workloads, 1)).await?;
    let alone_kib = rested(&daemon).await;
    let (agents, issuance) = Agents::start(site, &daemon).await?;
    let agents_kib = rested(&daemon).await;
    let (sidecars, storm) = Sidecars::start(site, &daemon, &agents).await?;
    let all_kib = rested(&daemon).await;
    let mut pushes = Vec::new();
    for push in 0..size.pushes {
        let text = pattern.document(size.workloads, 2 + u64::try_from(push).unwrap_or_default());
        let before = Moment::now(daemon.id);
        let version = daemon.apply(&text).await?;
        pushes.push(sidecars.follow(site, &daemon, (version, before)).await?);
    }
    let everybody = ("a sidecar", Duration::ZERO);
    let seen = sidecars.board.until(everybody, |_, _| true, Seen::told).await?;
    let [cut, withdrawn, told] = revoked(site, &daemon, (&agents, &sidecars)).await?;
    drop((sidecars, agents));
    let version = daemon.said.version.clone();
    daemon.stop().await?;
    #[expect(clippy::cast_precision_loss, reason = "memory of one process")]
    let each = |more: u64, less: u64, count: usize| more.saturating_sub(less) as f64 / real(count);
    let connected = Connected {
        issuance,
        storm,
        connects_failed: seen.iter().map(|seen| seen.failed).sum(),
        pushes,
        cut,
        withdrawn,
        told,
        memory: Memory {
            alone_kib,
            agents_kib,
            all_kib,
            per_agent_kib: each(agents_kib, alone_kib, size.agents),
            per_proxy_kib: each(all_kib, agents_kib, size.proxies),
        },
    };
    Ok((version, connected))
}

async fn rested(daemon: &Daemon) -> u64 {
    tokio::time::sleep(SETTLES).await;
    Moment::now(daemon.id).rss_kib()
}

/// Takes the last workload out of the policy. Its sidecars and its streams end, and the others
/// follow.
async fn revoked(
    site: &Site<'_>,
    daemon: &Daemon,
    (agents, sidecars): (&Agents, &Sidecars),
) -> Result<[Wave; 3], FleetError> {
    let (size, deadline) = (&site.plan.size, site.plan.deadline);
    let last = size.workloads - 1;
    let before = Moment::now(daemon.id);
    let version = daemon.apply(&site.pattern.document(last, 0)).await?;
    let is_last = |seat: usize| size.of_sidecar(seat) == last;
    let seen = sidecars
        .board
        .until(
            ("sidecars turned away, or told", deadline),
            |seat, seen| {
                if is_last(seat) { seen.refused.is_some() } else { seen.version >= version }
            },
            Seen::told,
        )
        .await?;
    let held = agents
        .board
        .until(
            ("svid streams that end", deadline),
            |seat, held| size.of_agent(seat) != last || held.ended.is_some(),
            Held::told,
        )
        .await?;
    let others = (0..size.proxies).filter(|seat| !is_last(*seat)).count();
    heard(site, daemon, others).await?;
    let after = Moment::now(daemon.id);
    let cut = seen.iter().filter_map(|seen| seen.refused).collect::<Vec<_>>();
    let told = seen.iter().filter(|seen| seen.refused.is_none()).filter_map(|seen| seen.told);
    let ended = held.iter().filter_map(|held| held.ended.as_ref().map(|(at, ..)| *at));
    Ok([
        Wave::times(before.at, &cut, &before),
        Wave::times(before.at, &ended.collect::<Vec<_>>(), &before),
        Wave::new(before.at, &told.collect::<Vec<_>>(), &before, &after),
    ])
}
