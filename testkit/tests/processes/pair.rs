//! Two real sidecars without a control plane.
//!
//! The snapshots are written and signed by hand: what a sidecar takes is a form of bytes, not a
//! crate.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};

use cellwall_testkit::{
    ca::{TestCa, pem},
    client,
    sidecar::{PairConfig, Place, Side, SidecarPair, sign_snapshot},
    workload::{Protocol, Workload, WorkloadConfig},
    x509::{Algorithm, Key},
};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(5);
const CHECKOUT: &str = "spiffe://pay.example/prod/checkout";
const PAYMENTS: &str = "spiffe://pay.example/prod/payments";

pub(super) async fn workload(folder: &Path, protocol: Protocol) -> Workload {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = WorkloadConfig {
        name: "payments".to_owned(),
        environment: "prod".to_owned(),
        protocol,
        listen: loopback,
        stats: loopback,
        log: folder.join("requests.jsonl"),
        routes: Vec::new(),
        destinations: BTreeMap::new(),
    };
    Workload::start(config).await.unwrap()
}

fn snapshot(key: &Key, callee: &str, rules: &Value, destinations: &Value) -> (Vec<u8>, Vec<u8>) {
    let document = json!({
        "schema": 2,
        "trust_domain": "pay.example",
        "callee": callee,
        "workload": callee.rsplit('/').next(),
        "epoch": 1,
        "version": 1,
        "digest": "0".repeat(64),
        "issued_at": 1,
        "max_age_seconds": 86_400,
        "mode": "enforce",
        "listens": [{"protocol": "http", "port": 8443}],
        "identity": "spiffe://pay.example/{env}/{workload}",
        "callers": [{"name": "checkout"}],
        "rules": rules,
        "guards": [],
        "destinations": destinations,
    });
    sign_snapshot(key, &document)
}

fn config(workload: SocketAddr) -> PairConfig {
    let key = Key::generate(Algorithm::P256);
    let calls = json!([{"http": {"methods": ["POST"], "path": "/v1/payments"}}]);
    let rules = json!([{"name": "pays", "from": {"named": ["checkout"]}, "calls": calls}]);
    let there = json!([{"name": "payments", "id": PAYMENTS, "protocol": "http"}]);
    let side = |id: &str, rules: &Value, destinations: &Value| Side {
        id: id.to_owned(),
        snapshot: snapshot(&key, id, rules, destinations),
        workload,
        flags: vec!["--drain-seconds=1".to_owned()],
    };
    PairConfig {
        trust_domain: "pay.example".to_owned(),
        policy_key_pem: pem("PUBLIC KEY", &key.public_key_info()),
        client: side(CHECKOUT, &json!([]), &there),
        server: side(PAYMENTS, &rules, &json!([])),
        destination: "payments".to_owned(),
        endpoints: 1,
        place: Place::default(),
    }
}

/// The status of a call through both, and whom the workload took for the caller.
async fn call(pair: &SidecarPair, call: &str) -> (u16, Value) {
    let answer = client::request(pair.entry, call).await.unwrap();
    let body = serde_json::from_slice::<Value>(answer.body()).unwrap();
    (answer.status().as_u16(), body.get("caller").cloned().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_through_a_change_of_leaves_and_of_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let workload = workload(folder.path(), Protocol::Http).await;
    let mut pair = SidecarPair::start(config(workload.address())).await.unwrap();
    let paid = (200, json!([CHECKOUT]));
    assert_eq!(call(&pair, "POST /v1/payments").await, paid);
    assert_eq!(call(&pair, "GET /v1/payments").await, (403, Value::Null));

    let new = TestCa::new("pay.example");
    pair.rotate_leaves();
    pair.in_force(SOON).await.unwrap();
    assert_eq!(call(&pair, "POST /v1/payments").await, paid);
    pair.prepare_root(&new);
    pair.in_force(SOON).await.unwrap();
    assert_eq!(call(&pair, "POST /v1/payments").await, paid);
    pair.activate_root(&new);
    pair.in_force(SOON).await.unwrap();
    assert_eq!(call(&pair, "POST /v1/payments").await, paid);
    pair.retire_root(new);
    pair.in_force(SOON).await.unwrap();
    assert_eq!(call(&pair, "POST /v1/payments").await, paid);

    assert_eq!(workload.stats().requests, 5);
    for api in [&pair.client_api, &pair.server_api] {
        assert_eq!(api.calls().without_header, 0);
    }
    let end = pair.client.process.stop(SOON).await.unwrap();
    assert!(end.success(), "{end}");
}
