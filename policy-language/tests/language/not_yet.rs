//! Keys of the language that this release cannot enforce are refused, never ignored.

use crate::sample::{bent, checked, lines};

/// Adds a line after another one and gives the code and line of what is found there.
fn refused(after: &str, line: &str) -> Vec<String> {
    let found = lines(&checked(&bent(after, &format!("{after}\n{line}"))));
    found.iter().map(|line| line.split('-').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_key_of_a_later_release_is_refused_at_the_root() {
    for key in [
        "probes: [GET /livez]",
        "limits: {grant_max: 8h}",
        "approvals: {}",
        "operators: {}",
        "grants: []",
        "owner: team",
        "review_by: 2026-09-01",
        "never: []",
        "external: {}",
        "rate: {}",
        "factors: {}",
    ] {
        assert_eq!(refused("version: cellwall/v1", key), ["CW0006 2:1"], "{key}");
    }
}

#[test]
fn a_condition_on_a_rule_or_guard_is_refused() {
    for key in [
        "when: caller.tier == \"core\"",
        "owner: team",
        "review_by: 2026-09-01",
        "across: [env]",
        "rate: {per_second: 1}",
        "headers: {a: b}",
        "idempotent: method",
        "expires: 2026-03-02T14:00:00Z",
    ] {
        assert_eq!(refused("    from: web", &format!("    {key}")), ["CW0006 15:5"], "{key}");
    }
    for key in [
        "calls: [{tcp: 5432}]",
        "mode: audit",
        "when: caller.env != callee.env",
        "owner: team",
        "review_by: 2026-09-01",
    ] {
        let found = refused("    deny: any -> db", &format!("    {key}"));
        assert_eq!(found, ["CW0006 31:5"], "{key}");
    }
}

#[test]
fn a_condition_on_anything_else_is_refused() {
    for (from, to, place) in [
        ("{tier: core}", "{tier: core}, factors: {need: 2}", "CW0006 5:54"),
        ("mode: enforce", "mode: enforce, factors: {need: 2}", "CW0006 8:42"),
        ("mode: enforce", "mode: enforce, owner: team", "CW0006 8:42"),
        ("can: [{grpc: a.v1.A/Get}]", "can: [{grpc: a.v1.A/Get}], rate: {}", "CW0006 11:48"),
        ("{grpc: a.v1.A/Get}", "{grpc: a.v1.A/Get, idempotent: method}", "CW0006 11:46"),
        ("by: web-reads}", "by: web-reads, at: 2026-03-02T14:00:00Z}", "CW0006 34:75"),
    ] {
        let found = lines(&checked(&bent(from, to)));
        let starts: Vec<_> = found.iter().map(|line| line.split('-').next().unwrap()).collect();
        assert_eq!(starts, [place], "{to}");
    }
}
