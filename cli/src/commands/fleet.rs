//! `identity list` and `proxy status`: what the control plane knows.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;

use crate::{
    Outcome, client,
    output::Output,
    table::{instant, short, table},
};

/// The answer to `/v1/identities`.
#[derive(Debug, Deserialize)]
pub(super) struct Identities {
    pub(super) identities: Vec<Identity>,
}

/// An identity of the policy, and the newest certificate for it that is in use.
#[derive(Debug, Deserialize)]
pub(super) struct Identity {
    pub(super) workload: String,
    pub(super) environment: String,
    pub(super) spiffe_id: String,
    selectors: Vec<String>,
    pub(super) instances: u64,
    pub(super) issued_at: Option<String>,
    pub(super) not_after: Option<String>,
    pub(super) renew_at: Option<String>,
    last_issued_at: Option<String>,
}

/// The answer to `/v1/proxies`.
#[derive(Debug, Deserialize)]
pub(super) struct Proxies {
    pub(super) proxies: Vec<Proxy>,
}

/// A connected sidecar.
#[derive(Debug, Deserialize)]
pub(super) struct Proxy {
    pub(super) instance: String,
    pub(super) spiffe_id: String,
    pub(super) workload: String,
    pub(super) environment: String,
    pub(super) software: String,
    #[serde(default)]
    pub(super) policy_epoch: Option<u64>,
    pub(super) policy_version: Option<u64>,
    pub(super) sync: String,
    pub(super) reason: Option<String>,
    connected_at: String,
    addresses: Vec<String>,
    pub(super) svid_not_after: String,
}

/// `identity list`.
pub(crate) async fn identities(socket: &Path, output: &Output) -> anyhow::Result<Outcome> {
    let Some(document) = fetch(socket, "/v1/identities", output).await? else {
        return Ok(Outcome::Done);
    };
    let Identities { identities } =
        serde_json::from_value(document).context("cellwalld's answer is not understood")?;
    let now = OffsetDateTime::now_utc();
    let rows = identities.iter().map(|identity| identity.row(now)).collect();
    let head = [
        "WORKLOAD",
        "ENV",
        "SPIFFE ID",
        "INSTANCES>",
        "RENEWS>",
        "EXPIRES>",
        "ATTESTED BY",
        "LAST>",
    ];
    output.data(&table(&head, rows))?;
    if identities.is_empty() {
        output.hint("no workload has an `attest` in the policy in force");
    } else {
        output.hint("`cellwall proxy status` shows the sidecars that hold them");
    }
    Ok(Outcome::Done)
}

/// `proxy status`.
pub(crate) async fn proxies(socket: &Path, output: &Output) -> anyhow::Result<Outcome> {
    let Some(document) = fetch(socket, "/v1/proxies", output).await? else {
        return Ok(Outcome::Done);
    };
    let Proxies { proxies } =
        serde_json::from_value(document).context("cellwalld's answer is not understood")?;
    let now = OffsetDateTime::now_utc();
    let rows = proxies.iter().map(|proxy| proxy.row(now)).collect();
    let head =
        ["PROXY", "WORKLOAD", "ENV", "POLICY>", "SYNC", "SVID>", "UP>", "ADDRESSES", "VERSION"];
    output.data(&table(&head, rows))?;
    for proxy in &proxies {
        if let Some(reason) = &proxy.reason {
            output.hint(&format!("{} refused its policy: {reason}", proxy.instance));
        }
    }
    if proxies.is_empty() {
        output.hint("no sidecar is connected");
    }
    Ok(Outcome::Done)
}

/// The document, unless it has been printed as it is.
async fn fetch(socket: &Path, path: &str, output: &Output) -> anyhow::Result<Option<Value>> {
    let document = client::get(socket, path).await?.success()?;
    if output.is_json() {
        output.json(&document)?;
        return Ok(None);
    }
    Ok(Some(document))
}

impl Identity {
    fn row(&self, now: OffsetDateTime) -> Vec<String> {
        let until = |text: &Option<String>, late: &str| match text.as_deref().and_then(instant) {
            Some(at) if at <= now => late.to_owned(),
            Some(at) => short(at - now),
            None => "-".to_owned(),
        };
        let last = self.last_issued_at.as_deref().and_then(instant);
        let kinds = self.selectors.iter().map(|selector| kind(selector));
        let mut kinds: Vec<_> = kinds.collect();
        kinds.dedup();
        vec![
            self.workload.clone(),
            dash(&self.environment),
            self.spiffe_id.clone(),
            self.instances.to_string(),
            until(&self.renew_at, "LATE!"),
            until(&self.not_after, "EXPIRED"),
            kinds.join("+"),
            last.map_or_else(|| "-".to_owned(), |at| short(now - at)),
        ]
    }
}

impl Proxy {
    fn row(&self, now: OffsetDateTime) -> Vec<String> {
        let left = instant(&self.svid_not_after).map(|at| short(at - now));
        let up = instant(&self.connected_at).map(|at| short(now - at));
        vec![
            self.instance.clone(),
            self.workload.clone(),
            dash(&self.environment),
            self.policy_version.map_or_else(|| "-".to_owned(), |it| policy(self.policy_epoch, it)),
            self.sync.clone(),
            left.unwrap_or_else(|| "-".to_owned()),
            up.unwrap_or_else(|| "-".to_owned()),
            dash(&self.addresses.join(" ")),
            self.software.clone(),
        ]
    }
}

/// A version; with its epoch once an operator has raised that.
pub(super) fn policy(epoch: Option<u64>, version: u64) -> String {
    match epoch {
        Some(epoch) if epoch > 1 => format!("{version}/e{epoch}"),
        Some(_) | None => version.to_string(),
    }
}

/// `unix:path` of `unix:path:/opt/checkout`.
fn kind(selector: &str) -> &str {
    let end = selector.match_indices(':').nth(1).map_or(selector.len(), |(at, _)| at);
    selector.get(..end).unwrap_or(selector)
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}
