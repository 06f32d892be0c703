//! `policy apply`: the files become the policy in force.

use std::{path::Path, time::Duration};

use anyhow::Context;
use cellwall_policy_language::{Findings, TestReport, check};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    fleet, hint_code,
    policy::{Folder, plural, result_lines},
};
use crate::{
    Outcome,
    client::{self, Answer, DEADLINE},
    output::Output,
};

/// How often `--wait` asks.
const POLL: Duration = Duration::from_millis(200);

/// What `policy apply` was told.
#[derive(Debug)]
pub(crate) struct Apply<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) message: &'a str,
    pub(crate) wait: bool,
}

#[derive(Debug, Deserialize)]
struct Applied {
    #[serde(default)]
    epoch: Option<u64>,
    version: u64,
    workloads: usize,
    rules: usize,
    guards: usize,
    tests_passed: usize,
    proxies: usize,
}

#[derive(Debug, Deserialize)]
struct Fleet {
    proxies: Vec<Sidecar>,
}

#[derive(Debug, Deserialize)]
struct Sidecar {
    instance: String,
    policy_version: Option<u64>,
    sync: String,
    reason: Option<String>,
}

/// `policy apply`.
pub(crate) async fn apply(
    socket: &Path,
    apply: &Apply<'_>,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let folder = Folder::read(apply.dir)?;
    // The server checks again; here mistakes show without one.
    let checked = check(&folder.sources);
    if checked.set.is_none() {
        return found(&folder, &checked.findings, output);
    }
    let request = json!({"sources": folder.sources, "message": apply.message});
    let answer = client::post(socket, "/v1/policy", &request).await?;
    if answer.status == StatusCode::UNPROCESSABLE_ENTITY {
        return refused(&folder, &answer, output);
    }
    let document = answer.success()?;
    let applied: Applied =
        serde_json::from_value(document.clone()).context("cellwalld's answer is not understood")?;
    if output.is_json() {
        output.json(&document)?;
    } else {
        output.data(&format!(
            "policy version {} in force: {}, {}, {}; {} passed",
            fleet::policy(applied.epoch, applied.version),
            plural(applied.workloads, "workload"),
            plural(applied.rules, "rule"),
            plural(applied.guards, "guard"),
            plural(applied.tests_passed, "test"),
        ))?;
    }
    if apply.wait {
        return wait(socket, applied.version, output).await;
    }
    let told = plural(applied.proxies, "sidecar");
    output.hint(&format!("{told} told; `cellwall proxy status` shows which enforce it"));
    Ok(Outcome::Done)
}

fn found(folder: &Folder, findings: &Findings, output: &Output) -> anyhow::Result<Outcome> {
    if output.is_json() {
        output.json(&json!({"schema_version": 1, "findings": folder.named(findings)}))?;
    } else {
        output.data(&format!("{}{findings}", folder.render(findings, output)))?;
        hint_code(findings, output);
    }
    output.complain("the policy has mistakes; what was in force stays");
    Ok(Outcome::Found)
}

/// The server's reasons, as `policy validate` and `policy test` would print them.
fn refused(folder: &Folder, answer: &Answer, output: &Output) -> anyhow::Result<Outcome> {
    let part = |key| answer.document.get(key).cloned().unwrap_or(Value::Null);
    if let Ok(findings) = serde_json::from_value::<Findings>(part("findings")) {
        return found(folder, &findings, output);
    }
    if output.is_json() {
        output.json(&answer.document)?;
    } else if let Ok(report) = serde_json::from_value::<TestReport>(part("tests")) {
        let failed = report.results.iter().filter(|result| !result.passed);
        let lines: String = failed.map(|it| result_lines(it, output.painter())).collect();
        output.data(&format!("{lines}{} passed, {} failed", report.passed(), report.failed()))?;
    }
    output.error(&answer.refusal());
    Ok(Outcome::Found)
}

/// Until every connected sidecar enforces the version.
async fn wait(socket: &Path, version: u64, output: &Output) -> anyhow::Result<Outcome> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = client::get(socket, "/v1/proxies").await?.success()?;
        let fleet: Fleet =
            serde_json::from_value(answer).context("cellwalld's answer is not understood")?;
        if let Some(one) = fleet.proxies.iter().find(|one| one.sync == "nacked") {
            let reason = one.reason.as_deref().unwrap_or("no reason given");
            output.complain(&format!("{} refused version {version}: {reason}", one.instance));
            return Ok(Outcome::Found);
        }
        let behind: Vec<_> = fleet
            .proxies
            .iter()
            .filter(|one| one.policy_version.is_none_or(|enforced| enforced < version))
            .map(|one| one.instance.as_str())
            .collect();
        if behind.is_empty() {
            let all = plural(fleet.proxies.len(), "connected sidecar");
            output.hint(&format!("enforced by {all}"));
            return Ok(Outcome::Done);
        }
        if Instant::now() >= deadline {
            anyhow::bail!("not yet enforced by {} after 30 s", behind.join(", "));
        }
        sleep(POLL).await;
    }
}
