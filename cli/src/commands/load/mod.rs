//! `load run` and `load report`: what sidecars add to a call, by `cellwall-bench`.

mod bench;
mod result;
mod text;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

use self::{bench::Watched, result::Load};
use super::fleet::{Proxies, Proxy};
use crate::{Outcome, args::Run, client, output::Output};

/// `load run`.
pub(crate) async fn load_run(socket: &Path, run: &Run, output: &Output) -> anyhow::Result<Outcome> {
    let loopback = run.via.ip().is_loopback() && run.direct.is_none_or(|it| it.ip().is_loopback());
    if !loopback && !run.beyond_loopback {
        output.complain(
            "an address is not on loopback; --beyond-loopback says that its owner consents",
        );
        return Ok(Outcome::Usage);
    }
    let program = bench::find()?;
    let policy_version = match (&run.from, &run.to) {
        (Some(from), Some(to)) => enforced(socket, [from, to]).await?,
        (None, _) | (_, None) => None,
    };
    let direct = match run.direct {
        Some(direct) => Some(bench::send(&program, run, direct).await.context("direct")?),
        None => None,
    };
    let watched = Watched::now(&run.pids)?;
    let via = bench::send(&program, run, run.via).await.context("via proxies")?;
    let now = OffsetDateTime::now_utc();
    let load = Load {
        schema_version: Load::SCHEMA_VERSION,
        at: now.format(&Rfc3339).context("the time")?,
        from: run.from.clone(),
        to: run.to.clone(),
        policy_version,
        call: run.call.clone(),
        rate: run.rate,
        duration: run.duration.clone(),
        loopback,
        direct,
        via,
        proxies: watched.cost(&run.pids)?,
    };
    let path = match &run.save {
        Some(path) => path.clone(),
        None => name(now)?,
    };
    load.save(&path)?;
    if output.is_json() {
        output.json(&load)?;
    } else {
        output.data(&text::one(&load))?;
    }
    let path = path.display();
    output.hint(&format!("Saved {path}; compare: cellwall load report {path} LATER.json"));
    Ok(if load.is_clean() { Outcome::Done } else { Outcome::Found })
}

fn name(now: OffsetDateTime) -> anyhow::Result<PathBuf> {
    let form = format_description!("load-[year]-[month]-[day]T[hour]-[minute]-[second].json");
    Ok(now.format(form).context("the time")?.into())
}

/// The policy that all sidecars of both workloads enforce; none if they enforce several.
async fn enforced(socket: &Path, names: [&String; 2]) -> anyhow::Result<Option<u64>> {
    let document = client::get(socket, "/v1/proxies").await?.success()?;
    let Proxies { proxies } =
        serde_json::from_value(document).context("cellwalld's answer is not understood")?;
    let mut versions = Vec::new();
    for name in names {
        let mut of = proxies.iter().filter(|proxy| is_of(proxy, name)).peekable();
        if of.peek().is_none() {
            bail!("no sidecar of {name} is connected to cellwalld");
        }
        versions.extend(of.map(|proxy| proxy.policy_version));
    }
    versions.sort_unstable();
    versions.dedup();
    match versions.as_slice() {
        [version] => Ok(*version),
        _ => Ok(None),
    }
}

/// `[ENV/]WORKLOAD`.
fn is_of(proxy: &Proxy, name: &str) -> bool {
    match name.rsplit_once('/') {
        Some((environment, workload)) => {
            (environment, workload) == (proxy.environment.as_str(), proxy.workload.as_str())
        }
        None => proxy.workload == name,
    }
}

/// `load report`.
pub(crate) fn load_report(
    before: &Path,
    after: Option<&Path>,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let first = Load::read(before)?;
    let Some(after) = after else {
        if output.is_json() {
            output.json(&first)?;
        } else {
            output.data(&text::one(&first))?;
        }
        return Ok(Outcome::Done);
    };
    let second = Load::read(after)?;
    if output.is_json() {
        let changes = text::changes(&first.via.latency_us, &second.via.latency_us);
        let [p50, p90, p99, p999, max] = changes;
        output.json(&json!({
            "schema_version": Load::SCHEMA_VERSION,
            "before": first,
            "after": second,
            "same_load": !text::is_other(&first, &second),
            "change_us": {"p50": p50, "p90": p90, "p99": p99, "p999": p999, "max": max},
        }))?;
    } else {
        output.data(&text::two((before, &first), (after, &second)))?;
    }
    Ok(Outcome::Done)
}
