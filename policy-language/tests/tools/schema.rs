//! The JSON Schema for editors, by a validator that is not ours.

use boon::{Compiler, Schemas};
use cellwall_policy_language::schema;
use proptest::test_runner::{TestCaseError, TestRunner};
use serde_json::Value;

use crate::documents::{config, file, random, real};

const PLACE: &str = "mem:///cellwall.schema.json";

fn document() -> Value {
    serde_json::from_str(&schema()).unwrap()
}

/// Why a text does not fit the schema; `None` when it does.
fn misfit(text: &str) -> Option<String> {
    thread_local! {
        static SCHEMA: (Schemas, boon::SchemaIndex) = {
            let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
            compiler.add_resource(PLACE, document()).unwrap();
            let index = compiler.compile(PLACE, &mut schemas).unwrap();
            (schemas, index)
        };
    }
    let instance: Value = serde_saphyr::from_str(text).unwrap();
    SCHEMA.with(|(schemas, index)| {
        schemas.validate(&instance, *index).err().map(|error| format!("{error:#}"))
    })
}

#[test]
fn the_committed_schema_is_the_one_that_is_generated() {
    let committed: Value = serde_json::from_str(&file("../docs/cellwall.schema.json")).unwrap();
    assert_eq!(committed, document(), "cellwall policy schema > docs/cellwall.schema.json");
}

#[test]
fn real_documents_fit() {
    for text in real() {
        assert_eq!(misfit(&text), None, "{text}");
    }
}

#[test]
fn random_documents_fit() {
    let mut runner = TestRunner::new(config(100));
    runner
        .run(&random(), |text| match misfit(&text) {
            None => Ok(()),
            Some(why) => Err(TestCaseError::fail(format!("{why}\n{text}"))),
        })
        .unwrap();
}

#[test]
fn every_key_of_the_language_fits() {
    let text = r#"version: cellwall/v1
identity: "spiffe://pay.example/{env}/{workload}"
include: [segments/*.yaml, one.yaml]
owner: team-payments
review_by: 2026-09-01
probes: [GET /livez, HEAD /readyz]
limits: {grant_max: 8h, svid_ttl: 30m}
workloads:
  a: {listens: {http: 1}, labels: {tier: core}, id: "/{env}/vm/a",
      identity_header: [x-spiffe-id, x-forwarded-client-cert], attest: {"": ["unix:uid:1"]}}
  b: {listens: [{http: 8443}, {http2: 8444}, {tcp: 5432}]}
segments:
  s: {members: [a, b], mode: audit}
  t: {members: [], mode: enforce}
roles:
  r: {to: a, can: [{http: "GET,M-SEARCH /x/{y...}"}, {grpc: a.v1.B/*, idempotent: {header: Idempotency-Key}}, {tcp: 1}]}
guards:
  - {name: g, deny: "[a, b] -> {tier: core}", calls: [{tcp: 1}], except: [a, segment/s], mode: audit,
     when: caller.env != callee.env, why: w, owner: o, review_by: 2026-09-01}
rules:
  - {name: r, from: {tier: core}, role: r, when: c, across: [env], why: w, owner: o, review_by: 2026-09-01}
  - {name: q, from: "spiffe://other.example/x", to: any, allow: [{http: GET /, upgrade: websocket, idempotent: method}, {http: GET /x, upgrade: [a, b.c]}], why: w}
grants:
  - {name: INC-1, from: a, to: segment/s, allow: [{tcp: 1}], starts: 2026-03-02T10:00:00Z,
     expires: 2026-03-02T14:00:00Z, why: w, approved_by: [a@b, c@d], owner: o, review_by: 2026-09-01, across: [env], when: c}
never:
  - {name: m, from: segment/s, to: [a], through: none, why: w}
approvals:
  default: {from: [x], count: 1}
  guards: {from: [x, z], count: 2}
  operators: {from: [a@b], count: 1}
  segment/s: {from: [x], count: 1}
operators: {viewer: [group/a], editor: [], approver: [], auditor: []}
tests:
  - {expect: audit, call: prod/a -> prod/b tcp:5432, at: 2026-03-02T10:00:00Z, by: boundary/env}
"#;
    assert_eq!(misfit(text), None);
}

#[test]
fn what_is_broken_does_not_fit() {
    let base = "version: cellwall/v1\n";
    for text in [
        "{}",
        "[]",
        "version: cellwall/v2",
        "version: 1",
        &format!("{base}colour: red"),
        &format!("{base}identity: pay.example"),
        &format!("{base}identity: \"spiffe://pay.example/x\""),
        &format!("{base}include: segments/*.yaml"),
        &format!("{base}include: [/etc/passwd]"),
        &format!("{base}review_by: tomorrow"),
        &format!("{base}limits: {{grant_max: 8}}"),
        &format!("{base}limits: {{grants: 8h}}"),
        &format!("{base}probes: [\"GET /{{x}}\"]"),
        &format!("{base}workloads: [a]"),
        &format!("{base}workloads: {{Upper: {{listens: {{http: 1}}}}}}"),
        &format!("{base}workloads: {{a: {{}}}}"),
        &format!("{base}workloads: {{a: {{listens: {{http: 0}}}}}}"),
        &format!("{base}workloads: {{a: {{listens: {{http: 65536}}}}}}"),
        &format!("{base}workloads: {{a: {{listens: {{http: 1, tcp: 2}}}}}}"),
        &format!("{base}workloads: {{a: {{listens: {{udp: 1}}}}}}"),
        &format!("{base}workloads: {{a: {{listens: {{http: 1}}, labels: {{a: B}}}}}}"),
        &format!("{base}workloads: {{a: {{listens: {{http: 1}}, identity_header: x-spiffe-id}}}}"),
        &format!("{base}workloads: {{a: {{listens: {{http: 1}}, identity_header: []}}}}"),
        &format!("{base}workloads: {{a: {{listens: {{http: 1}}, identity_header: [x-user]}}}}"),
        &format!("{base}segments: {{s: {{members: [a]}}}}"),
        &format!("{base}segments: {{s: {{members: [a], mode: off}}}}"),
        &format!("{base}roles: {{r: {{to: a, can: []}}}}"),
        &format!("{base}roles: {{r: {{to: a, can: [{{http: /x}}]}}}}"),
        &format!("{base}roles: {{r: {{to: a, can: [{{http: get /x}}]}}}}"),
        &format!("{base}roles: {{r: {{to: a, can: [{{grpc: x}}]}}}}"),
        &format!("{base}roles: {{r: {{to: a, can: [{{http: GET /, tcp: 1}}]}}}}"),
        &format!("{base}roles: {{r: {{to: a, can: [{{idempotent: method}}]}}}}"),
        &format!("{base}roles: {{r: {{to: a, can: [{{upgrade: websocket}}]}}}}"),
        &format!("{base}roles: {{r: {{to: a, can: [{{http: GET /, upgrade: HTTP/2.0}}]}}}}"),
        &format!("{base}roles: {{r: {{to: a, can: [{{http: GET /, upgrade: []}}]}}}}"),
        &format!("{base}roles: {{r: {{to: a, can: [{{http: GET /, idempotent: yes}}]}}}}"),
        &format!(
            "{base}roles: {{r: {{to: a, can: [{{http: GET /, idempotent: {{header: X}}}}]}}}}"
        ),
        &format!(
            "{base}guards: [{{name: a, deny: b -> c, calls: [{{tcp: 1, idempotent: method}}], why: d}}]"
        ),
        &format!("{base}rules: [{{name: a, from: b, why: c}}]"),
        &format!("{base}rules: [{{name: a, from: b, to: c, why: d}}]"),
        &format!("{base}rules: [{{name: a, from: b, role: c, to: d, why: e}}]"),
        &format!("{base}rules: [{{name: a, from: b, role: c}}]"),
        &format!("{base}rules: [{{name: a, from: b, role: c, why: \" \"}}]"),
        &format!("{base}rules: [{{name: a, form: b, role: c, why: d}}]"),
        &format!("{base}rules: [{{name: a, from: [], role: c, why: d}}]"),
        &format!("{base}rules: [{{name: a, from: b, role: c, why: d, rate: 1}}]"),
        &format!("{base}guards: [{{name: a, deny: b, why: c}}]"),
        &format!("{base}guards: [{{name: a, deny: b -> c, why: d, mode: off}}]"),
        &format!(
            "{base}grants: [{{name: a, from: b, role: c, why: d, starts: 2026-03-02T10:00:00Z, \
             expires: 2026-03-02T14:00:00Z, approved_by: [a@b]}}]"
        ),
        &format!(
            "{base}grants: [{{name: a, from: b, role: c, why: d, starts: 2026-03-02, \
             expires: 2026-03-02T14:00:00Z, approved_by: [a@b, c@d]}}]"
        ),
        &format!("{base}never: [{{name: a, from: b, to: c, through: some, why: d}}]"),
        &format!("{base}approvals: {{all: {{from: [a], count: 1}}}}"),
        &format!("{base}approvals: {{default: {{from: [a], count: 0}}}}"),
        &format!("{base}operators: {{owner: [a]}}"),
        &format!("{base}tests: [{{expect: maybe, call: a -> b GET /}}]"),
        &format!("{base}tests: [{{expect: allow, call: a b}}]"),
        &format!("{base}tests: [{{expect: allow}}]"),
    ] {
        assert!(misfit(text).is_some(), "{text}");
    }
}

/// Every mapping of a schema, with the path to it.
fn mappings<'s>(schema: &'s Value, path: String, found: &mut Vec<(String, &'s Value)>) {
    if schema.get("properties").is_some() {
        found.push((path.clone(), schema));
    }
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                mappings(value, format!("{path}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for item in items {
                mappings(item, path.clone(), found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_key_is_explained_and_no_other_is_taken() {
    let schema = document();
    let mut found = Vec::new();
    mappings(&schema, String::new(), &mut found);
    assert!(found.len() > 12, "{}", found.len());
    for (path, mapping) in found {
        assert_eq!(mapping["additionalProperties"], false, "{path}");
        for (key, value) in mapping["properties"].as_object().unwrap() {
            let about = value["description"].as_str().unwrap_or_default();
            assert!(about.ends_with('.') && about.len() > 4, "{path} {key}: {about}");
        }
    }
}

/// What an editor inserts for a thing that has to have keys is a thing that fits.
#[test]
fn what_editors_insert_fits() {
    let schema = document();
    let items = |section: &str| schema["properties"][section]["items"].clone();
    for section in ["rules", "guards", "grants", "never", "tests"] {
        let snippet = items(section)["defaultSnippets"][0]["bodyText"].clone();
        let filled = fill(snippet.as_str().unwrap());
        let indented: String = filled.lines().map(|line| format!("    {line}\n")).collect();
        let item = indented.replacen("    ", "  - ", 1);
        let text = format!("version: cellwall/v1\n{section}:\n{item}");
        // A grant takes two people, an editor offers one place.
        let why = misfit(&text).filter(|_| section != "grants");
        assert_eq!(why, None, "{text}");
        assert_eq!(cellwall_policy_language::format("a.yaml", &text).unwrap(), {
            text.replace(&format!("\n{section}:"), &format!("\n\n{section}:"))
        });
    }
}

/// A snippet with its examples: `${1:checkout}` is `checkout`, `${2|allow,deny|}` is `allow`.
fn fill(snippet: &str) -> String {
    let mut parts = snippet.split("${");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (stop, rest) = part.split_once('}').unwrap();
        let stop = stop.trim_start_matches(|char: char| char.is_ascii_digit());
        let example = match stop.strip_prefix('|') {
            Some(words) => words.split([',', '|']).next().unwrap(),
            None => stop.trim_start_matches(':'),
        };
        text.push_str(example);
        text.push_str(rest);
    }
    text
}
