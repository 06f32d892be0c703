//! A small policy that each test bends to its case.

use cellwall_policy_language::{Checked, PolicySet, Sources, check};

/// Three workloads, one per protocol.
pub(crate) const BASE: &str = r#"version: cellwall/v1
identity: "spiffe://pay.example/{env}/{workload}"
workloads:
  web: {listens: {http: 8443}, labels: {tier: edge}, attest: {prod: ["unix:uid:1001"]}}
  rpc: {listens: {grpc: 9443}, labels: {tier: core}}
  db: {listens: {tcp: 5432}, labels: {tier: data}, id: "/{env}/vm/db"}
segments:
  front: {members: [web], mode: enforce}
  back: {members: [rpc, db], mode: audit}
roles:
  reader: {to: rpc, can: [{grpc: a.v1.A/Get}]}
rules:
  - name: web-reads
    from: web
    role: reader
    why: to show
  - name: rpc-stores
    from: rpc
    to: db
    allow: [{tcp: 5432}]
    why: to keep
  - name: all-look
    from: any
    to: web
    allow:
      - http: GET /v1/things/{id}
    why: to look
guards:
  - name: no-db
    deny: any -> db
    except: [rpc]
    why: data stays
tests:
  - {expect: allow, call: prod/web -> prod/rpc a.v1.A/Get, by: web-reads}
"#;

/// The base with `from` replaced by `to`, which must be in it.
pub(crate) fn bent(from: &str, to: &str) -> String {
    assert!(BASE.contains(from), "{from}");
    BASE.replacen(from, to, 1)
}

pub(crate) fn checked(text: &str) -> Checked {
    check(&Sources::single(text))
}

/// The set of a text that must have no findings.
pub(crate) fn set(text: &str) -> PolicySet {
    let checked = checked(text);
    assert_eq!(lines(&checked), Vec::<String>::new());
    checked.set.unwrap()
}

/// `CODE line:column-end message`, one per finding.
pub(crate) fn lines(checked: &Checked) -> Vec<String> {
    let line = |it: &cellwall_policy_language::Finding| {
        let warning = match it.severity {
            cellwall_policy_language::Severity::Error => "",
            cellwall_policy_language::Severity::Warning => "warning ",
        };
        format!("{warning}{} {}:{}-{} {}", it.code, it.line, it.column, it.end, it.message)
    };
    checked.findings.0.iter().map(line).collect()
}
