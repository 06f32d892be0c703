//! The second part: SVIDs that live as short as they may, all renewed once.

use std::time::Duration;

use super::{
    FleetError, Site,
    agent::Held,
    crew::Agents,
    daemon::Daemon,
    result::{Moment, Rotated, Wave},
};

pub(super) async fn rotated(site: &Site<'_>) -> Result<(String, Rotated), FleetError> {
    let size = &site.plan.size;
    let folder = site.folder.path().join("rotated");
    std::fs::create_dir(&folder).map_err(FleetError::system("a folder"))?;
    super::open_to_all(&folder)?;
    let ttl = Duration::from_secs(size.ttl_seconds);
    let daemon = Daemon::start(&site.program, &folder, ttl).await?;
    daemon.apply(&site.pattern.document(size.workloads, 1)).await?;
    let (agents, _) = Agents::start(site, &daemon).await?;
    let before = Moment::now(daemon.id);
    let wanted = ("a renewed svid", ttl + site.plan.deadline);
    let held = agents.board.until(wanted, |_, held| held.came.len() >= 2, Held::told).await?;
    let after = Moment::now(daemon.id);
    let ended = held.iter().find_map(|held| held.ended.as_ref().map(|_| held.told()));
    if let Some(first) = ended {
        let (what, deadline) = ("streams that outlive a renewal", ttl);
        return Err(FleetError::Late { what, missing: 1, deadline, first });
    }
    drop(agents);
    let version = daemon.said.version.clone();
    daemon.stop().await?;
    let renewed = held.iter().filter_map(|held| held.came.get(1).copied()).collect::<Vec<_>>();
    let from = renewed.iter().min().copied().unwrap_or(before.at);
    let pauses = held.iter().flat_map(|held| held.came.iter().zip(held.came.iter().skip(1)));
    let longest = pauses.map(|(one, next)| *next - *one).max().unwrap_or_default();
    let wave = Wave::new(from, &renewed, &before, &after);
    Ok((version, Rotated { wave, longest_between_seconds: longest.as_secs_f64() }))
}
