//! Keys of the language that this release cannot enforce are refused, never ignored.

use crate::sample::{bent, checked, lines};

/// Adds a line after another one and gives the code and line of what is found there.
fn refused(after: &str, line: &str) -> Vec<String> {
    let found = lines(&checked(&bent(after, &format!("{after}\n{line}"))));
    found.iter().map(|line| line.split('-').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_key_of_a_later_release_is_refused_at_the_root() {
    for key in ["external: {}", "rate: {}", "factors: {}", "headers: {}"] {
        assert_eq!(refused("version: cellwall/v1", key), ["CW0006 2:1"], "{key}");
    }
}

#[test]
fn a_key_of_a_later_release_is_refused_on_a_rule_grant_or_guard() {
    let grant = "grants:\n  - name: INC-1\n    from: web";
    for key in ["rate: {per_second: 1}", "headers: {a: b}"] {
        let key = format!("    {key}");
        assert_eq!(refused("    from: web", &key), ["CW0006 15:5"], "{key}");
        assert_eq!(refused("    deny: any -> db", &key), ["CW0006 31:5"], "{key}");
        let found = lines(&checked(&bent("guards:", &format!("{grant}\n{key}\nguards:"))));
        assert!(found.iter().any(|line| line.starts_with("CW0006 31:5-")), "{key} {found:?}");
    }
}

#[test]
fn a_key_of_a_later_release_is_refused_on_anything_else() {
    for (from, to, place) in [
        ("{tier: core}", "{tier: core}, factors: {need: 2}", "CW0006 5:54"),
        ("{tier: core}", "{tier: core}, external: {}", "CW0006 5:54"),
        ("mode: enforce", "mode: enforce, factors: {need: 2}", "CW0006 8:42"),
        ("can: [{grpc: a.v1.A/Get}]", "can: [{grpc: a.v1.A/Get}], rate: {}", "CW0006 11:48"),
        ("{grpc: a.v1.A/Get}", "{grpc: a.v1.A/Get, rate: {}}", "CW0006 11:46"),
        ("{grpc: a.v1.A/Get}", "{grpc: a.v1.A/Get, headers: {}}", "CW0006 11:46"),
        ("by: web-reads}", "by: web-reads, headers: {}}", "CW0006 34:75"),
    ] {
        let found = lines(&checked(&bent(from, to)));
        let starts: Vec<_> = found.iter().map(|line| line.split('-').next().unwrap()).collect();
        assert_eq!(starts, [place], "{to}");
    }
}

#[test]
fn a_key_that_belongs_elsewhere_is_refused_there() {
    for key in [
        "starts: x",
        "expires: x",
        "approved_by: []",
        "except: [rpc]",
        "mode: audit",
        "idempotent: x",
    ] {
        let found = refused("    from: web", &format!("    {key}"));
        assert_eq!(found, ["CW0009 15:5"], "{key}");
    }
    for key in ["across: [env]", "from: web", "to: db", "idempotent: method"] {
        let found = refused("    deny: any -> db", &format!("    {key}"));
        assert_eq!(found, ["CW0009 31:5"], "{key}");
    }
    for key in ["when: x", "across: [env]", "attest: {}", "idempotent: method"] {
        assert_eq!(refused("version: cellwall/v1", key), ["CW0009 2:1"], "{key}");
    }
}
