//! What operators may read: the process, the identities, the sidecars.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use cellwall_agent::Holding;
use http::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::Operators;
use crate::{
    clock::{rfc3339, rfc3339_milliseconds},
    distribution::ProxyRow,
    http::{Problem, document},
    registry::Registration,
    report::chain,
};

pub(super) async fn status(State(operators): State<Arc<Operators>>) -> Response {
    let process = &operators.process;
    let edition = operators.book.edition();
    let policy = edition.policy.as_ref();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    document(&json!({
        "trust_domain": process.trust_domain.to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "policy_epoch": edition.epoch,
        "policy_version": edition.version.0,
        "policy_applied_at": policy.map(|policy| rfc3339(policy.applied_at)),
        "policy_applied_by": policy.map(|policy| policy.applied_by.clone()),
        "now": rfc3339_milliseconds(u64::try_from(now.as_millis()).unwrap_or_default()),
        "authority_not_after": rfc3339(operators.authority.ca().not_after),
        "issues": operators.authority.is_able(SystemTime::now()),
        "mesh": process.mesh,
        "health": process.health,
        "workload_socket": process.workload_socket,
        "operator_socket": process.operator_socket,
        "started_at": rfc3339(process.started_at),
    }))
}

#[derive(Debug, Serialize)]
struct Identity {
    workload: String,
    environment: String,
    spiffe_id: String,
    selectors: Vec<String>,
    /// Open streams of the Workload API that hold it.
    instances: usize,
    /// Of the newest certificate in use; absent if none is.
    serial: Option<String>,
    issued_at: Option<String>,
    not_after: Option<String>,
    renew_at: Option<String>,
    /// Also if nobody holds it any more.
    last_issued_at: Option<String>,
}

pub(super) async fn identities(State(operators): State<Arc<Operators>>) -> Response {
    let last = match operators.store.last_issuances().await {
        Ok(last) => last,
        Err(error) => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Problem::new(status, "no answer", chain(&error)).into_response();
        }
    };
    let (edition, held) = (operators.book.edition(), operators.holdings.list());
    let entries = edition.policy.iter().flat_map(|policy| policy.registry.entries());
    let identities: Vec<Identity> = entries.map(|entry| identity(entry, &held, &last)).collect();
    document(&json!({ "identities": identities }))
}

fn identity(
    entry: &Registration,
    held: &[Holding],
    last: &BTreeMap<String, SystemTime>,
) -> Identity {
    let spiffe_id = entry.id.to_string();
    let own = || held.iter().filter(|one| one.id == entry.id);
    let newest = own().max_by_key(|one| one.issued_at);
    Identity {
        workload: entry.workload.clone(),
        environment: entry.environment.clone(),
        selectors: entry.selectors.iter().map(ToString::to_string).collect(),
        instances: own().count(),
        serial: newest.map(|one| one.serial.clone()),
        issued_at: newest.map(|one| rfc3339(one.issued_at)),
        not_after: newest.map(|one| rfc3339(one.not_after)),
        renew_at: newest.map(|one| rfc3339(one.renew_at)),
        last_issued_at: last.get(&spiffe_id).copied().map(rfc3339),
        spiffe_id,
    }
}

#[derive(Debug, Serialize)]
struct Proxy {
    instance: String,
    spiffe_id: String,
    workload: String,
    environment: String,
    software: String,
    policy_epoch: Option<u64>,
    policy_version: Option<u64>,
    sync: &'static str,
    reason: Option<String>,
    connected_at: String,
    acked_at: Option<String>,
    addresses: Vec<String>,
    svid_serial: String,
    svid_not_after: String,
}

pub(super) async fn proxies(State(operators): State<Arc<Operators>>) -> Response {
    let epoch = operators.book.edition().epoch;
    let proxies = operators.fleet.list().into_iter().map(|row| proxy(row, epoch));
    let proxies: Vec<Proxy> = proxies.collect();
    document(&json!({ "proxies": proxies }))
}

/// What a sidecar acknowledged was of this process' one epoch.
fn proxy(row: ProxyRow, epoch: u64) -> Proxy {
    let not_after = std::time::Duration::from_secs(row.peer.not_after().as_secs());
    Proxy {
        sync: row.sync().as_str(),
        instance: row.introduction.instance,
        spiffe_id: row.peer.id().to_string(),
        workload: row.workload,
        environment: row.environment,
        software: row.introduction.software,
        policy_epoch: row.enforces.map(|_| epoch),
        policy_version: row.enforces,
        reason: row.refused,
        connected_at: rfc3339(row.connected_at),
        acked_at: row.acked_at.map(rfc3339),
        addresses: row.addresses.iter().map(ToString::to_string).collect(),
        svid_serial: row.peer.serial().to_string(),
        svid_not_after: rfc3339(SystemTime::UNIX_EPOCH + not_after),
    }
}
