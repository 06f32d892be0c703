//! One policy that says everything that the language can say, and what is said of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cellwall_policy_language::{
    Cedar, CedarAction, DecidedCall, PastCall, PolicySet, Sources, check,
};
use serde_json::{Value, json};
use spiffe::SpiffeId;

fn whole() -> PolicySet {
    let checked = check(&Sources::single(include_str!("policy.yaml")));
    assert_eq!(checked.findings.errors(), 0, "{:?}", checked.findings);
    checked.set.unwrap()
}

/// A minute of 2026-03-02.
fn at(minutes: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_772_409_600 + 60 * minutes)
}

#[test]
fn each_reason_of_a_decision_is_told_in_words() {
    let set = whole();
    let mut explained = String::new();
    for (minutes, call) in [
        (0, "prod/eu/rpc -> prod/eu/web GET /v1/y"),
        (0, "prod/eu/rpc -> prod/eu/web DELETE /v1/x"),
        (0, "prod/eu/web -> prod/eu/web DELETE /v1/x"),
        (0, "prod/us/web -> prod/eu/rpc a.v1.A/Get"),
        (0, "dev/eu/web -> dev/eu/rpc a.v1.A/Get"),
        (0, "prod/eu/job -> prod/eu/rpc a.v1.A/Get"),
        (0, "prod/eu/web -> prod/eu/rpc a.v1.A/List"),
        (0, "dev/eu/rpc -> dev/eu/rpc a.v1.A/List"),
        (0, "dev/eu/db -> dev/eu/rpc b.v1.B/Put"),
        (0, "dev/eu/job -> dev/eu/rpc b.v1.B/Put"),
        (0, "prod/eu/rpc -> prod/eu/db tcp:5432"),
        (0, "prod/us/job -> prod/us/db GET /ping"),
        (0, "prod/eu/db -> prod/eu/db tcp:5432"),
        (599, "dev/eu/web -> dev/eu/db tcp:5433"),
        (600, "dev/eu/web -> dev/eu/db tcp:5433"),
        (720, "prod/eu/rpc -> prod/eu/db tcp:5433"),
        (840, "prod/eu/web -> prod/eu/db tcp:5433"),
        (720, "prod/eu/job -> prod/eu/db tcp:5433"),
        (0, "prod/eu/web -> prod/eu/job GET /"),
    ] {
        explained += &format!("{}\n\n", set.explain(call, at(minutes)).unwrap());
    }
    assert_eq!(explained, include_str!("explained.txt"));
}

#[test]
fn a_caller_of_another_trust_domain_is_told_by_its_id_and_crosses_every_boundary() {
    let past = |method: &str| PastCall {
        caller: "spiffe://bank.example/gateway".to_owned(),
        callee: "spiffe://pay.example/prod/eu/rpc".to_owned(),
        call: DecidedCall::Grpc(method.to_owned()),
        at: at(0),
    };
    let mut explained = String::new();
    for method in ["a.v1.A/Get", "a.v1.A/List", "b.v1.B/Put"] {
        explained += &format!("{}\n\n", whole().explain_past(&past(method)).unwrap());
    }
    assert_eq!(explained, include_str!("foreign.txt"));
}

#[test]
fn cedar_has_each_statement_and_each_kind_of_call() {
    let Cedar { schema_version, policies, actions, .. } = whole().cedar().unwrap();
    assert_eq!((schema_version, policies.as_str()), (1, include_str!("policies.cedar")));
    let line = |it: &CedarAction| {
        let CedarAction { action, callee, call, example, templates, refusing, but_for_slash } = it;
        assert!(refusing.is_empty(), "{call}: {refusing:?}");
        format!("{action} {callee}: {call}, as {example} {templates:?} {but_for_slash:?}\n")
    };
    assert_eq!(actions.iter().map(line).collect::<String>(), include_str!("actions.txt"));
}

#[test]
fn cedars_schema_has_what_a_workload_and_a_connection_may_have() {
    let Cedar { schema, actions, .. } = whole().cedar().unwrap();
    let text = |required: bool| json!({"type": "String", "required": required});
    let attributes = json!({
        "id": text(true),
        "workload": text(false),
        "segment": text(false),
        "var.env": text(false),
        "var.region": text(false),
        "label.tier": text(false),
    });
    let applies = json!({"appliesTo": {
        "principalTypes": ["Workload"],
        "resourceTypes": ["Workload"],
        "context": {"type": "Record", "attributes": {
            "now": {"type": "Long"},
            "tls_version": {"type": "String"},
            "tls_group": {"type": "String"},
        }},
    }});
    let actions: Value = actions.into_iter().map(|it| (it.action, applies.clone())).collect();
    let shape = json!({"type": "Record", "attributes": attributes});
    let types = json!({"Workload": {"shape": shape}});
    assert_eq!(schema, json!({"": {"entityTypes": types, "actions": actions}}));
}

#[test]
fn cedars_entities_are_the_workloads_in_each_environment_that_is_written() {
    let set = whole();
    let id = "spiffe://pay.example/prod/eu/vm/db";
    let db = json!({
        "uid": {"type": "Workload", "id": id},
        "attrs": {
            "id": id,
            "workload": "db",
            "segment": "back",
            "var.env": "prod",
            "var.region": "eu",
            "label.tier": "data",
        },
        "parents": [],
    });
    assert_eq!(set.cedar_entity("db", "prod/eu"), Some(db));
    assert_eq!(set.cedar_entity("db", "prod"), None);
    assert_eq!(set.cedar_entity("nobody", "prod/eu"), None);
    let there = |environment: &'static str| {
        let set = &set;
        ["web", "rpc", "db", "job"].map(|name| set.cedar_entity(name, environment).unwrap())
    };
    let all = ["dev/eu", "dev/us", "prod/eu", "prod/us"].map(there).concat();
    assert_eq!(set.cedar().unwrap().entities, Value::from(all));
    let environment = |id: &str| set.cedar_environment(&SpiffeId::new(id).unwrap());
    assert_eq!(environment(id).as_deref(), Some("prod/eu"));
    assert_eq!(environment("spiffe://pay.example/dev/us/nobody").as_deref(), Some("dev/us"));
    assert_eq!(environment("spiffe://bank.example/dev/us/web"), None);
}
