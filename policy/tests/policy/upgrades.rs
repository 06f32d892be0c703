//! Requests that ask to go on in another protocol (HTTP-12): who may, and who may not.

use cellwall_policy::{
    CallDocument, CallError, Callers, GuardDocument, HttpVersion, Mode, Protocol, Snapshot,
    SnapshotDocument, SnapshotError,
};

use crate::sample::{answer, guard, http, named, open_vault, rule};

fn call(methods: &[&str], path: &str) -> CallDocument {
    let methods = methods.iter().map(|method| (*method).to_owned()).collect();
    CallDocument::Http { methods, path: path.to_owned() }
}

/// `checkout` may ask to go on in WebSocket wherever `/v1/{name}` owns the request; `payments` may not.
fn feeds() -> SnapshotDocument {
    let mut document = open_vault();
    let granted = call(&["GET", "GET+websocket"], "/v1/{name}");
    let plain = http("GET", "/v1/{name}");
    document.rules = vec![
        rule("feed", named("checkout"), &[granted]),
        rule("look", named("checkout payments"), &[plain, http("GET", "/v1/plain")]),
    ];
    document
}

#[test]
fn only_a_rule_that_names_the_protocol_grants_an_upgrade() {
    let document = feeds();
    for (caller, method, path, expected) in [
        ("prod/checkout", "GET", "/v1/feed", "allow by feed"),
        ("prod/checkout", "GET+websocket", "/v1/feed", "allow by feed"),
        ("prod/checkout", "GET+other", "/v1/feed", "deny by default"),
        ("prod/payments", "GET", "/v1/feed", "allow by look"),
        ("prod/payments", "GET+websocket", "/v1/feed", "deny by default"),
        // The more specific template owns the request, and names no protocol.
        ("prod/checkout", "GET", "/v1/plain", "allow by look"),
        ("prod/checkout", "GET+websocket", "/v1/plain", "deny by default"),
        ("prod/checkout", "GET+websocket", "/v1/feed/", "deny by default"),
        ("staging/checkout", "GET+websocket", "/v1/feed", "deny by boundary/env"),
    ] {
        assert_eq!(answer(&document, caller, method, path), expected, "{caller} {method} {path}");
    }
}

#[test]
fn a_guard_of_the_request_is_one_of_the_upgrade() {
    let mut document = feeds();
    let calls = vec![http("GET", "/v1/feed")];
    document.guards = vec![GuardDocument { calls, ..guard("g", Callers::Any, "") }];
    for path in ["/v1/feed", "/v1/feed/"] {
        for method in ["GET", "GET+websocket"] {
            assert_eq!(answer(&document, "prod/checkout", method, path), "deny by guard/g");
        }
    }
    // In audit it is recorded, and what a rule grants is granted.
    document.guards[0].mode = Mode::Audit;
    let upgraded = |caller| answer(&document, caller, "GET+websocket", "/v1/feed");
    assert_eq!(upgraded("prod/checkout"), "audit by guard/g");
    assert_eq!(upgraded("prod/payments"), "deny by default");
}

#[test]
fn a_segment_in_audit_grants_no_upgrade() {
    let document = SnapshotDocument { mode: Mode::Audit, ..feeds() };
    let ask = |method, path| answer(&document, "prod/payments", method, path);
    assert_eq!(ask("GET", "/v2"), "audit by default");
    assert_eq!(ask("GET+websocket", "/v2"), "deny by default");
    assert_eq!(ask("GET+websocket", "/v1/feed"), "deny by default");
}

/// `checkout` may also ask to go on in WebSocket by names that hold slashes.
fn encoded_feeds() -> SnapshotDocument {
    let mut document = feeds();
    let granted = call(&["GET", "GET+websocket"], "/v1/feeds/{name%2F}");
    document.rules.push(rule("rooms", named("checkout"), &[granted]));
    document
}

#[test]
fn an_upgrade_is_granted_at_an_encoded_slash_only_by_the_template_that_takes_it() {
    let document = encoded_feeds();
    for mode in [Mode::Enforce, Mode::Audit] {
        let document = SnapshotDocument { mode, ..document.clone() };
        for (caller, path, expected) in [
            ("prod/checkout", "/v1/feeds/a%2Fb", "allow by rooms"),
            ("prod/payments", "/v1/feeds/a%2Fb", "deny by default"),
            ("prod/checkout", "/v1/a%2Fb", "deny by default"),
            ("prod/checkout", "/v1/feeds%2Fa", "deny by default"),
            ("prod/checkout", "/v1/feeds/a%2Fb/", "deny by default"),
        ] {
            let asked = answer(&document, caller, "GET+websocket", path);
            assert_eq!(asked, expected, "{caller} {path} {mode:?}");
        }
    }
    let audited = SnapshotDocument { mode: Mode::Audit, ..document };
    let plain = |path| answer(&audited, "prod/payments", "GET", path);
    assert_eq!(plain("/v1/feeds/a%2Fb"), "audit by default");
    assert_eq!(plain("/v1/a%2Fb"), "deny by default");
}

#[test]
fn a_guard_is_about_both_readings_of_an_encoded_slash_also_for_an_upgrade() {
    for (guarded, expected) in [
        ("/v1/feeds/{name}", "deny by guard/g"),
        ("/v1/feeds/secret/{rest...}", "deny by guard/g"),
        ("/v1/feeds/secret/b/", "deny by guard/g"),
        ("/v1/feeds/public/{rest...}", "allow by rooms"),
    ] {
        let mut document = encoded_feeds();
        let calls = vec![http("GET", guarded)];
        document.guards = vec![GuardDocument { calls, ..guard("g", Callers::Any, "") }];
        for method in ["GET", "GET+websocket"] {
            let asked = answer(&document, "prod/checkout", method, "/v1/feeds/secret%2Fb");
            assert_eq!(asked, expected, "{guarded} {method}");
        }
    }
}

#[test]
fn a_document_grants_no_upgrade_to_what_the_proxy_reads_and_none_without_its_request() {
    for methods in [
        &["GET", "GET+h2c"][..],
        &["GET", "GET+HTTP/2.0"],
        &["GET", "GET+WebSocket"],
        &["POST", "POST+websocket"],
        &["GET+websocket"],
        &["POST", "GET+websocket"],
    ] {
        let mut document = open_vault();
        document.rules[0].calls = vec![call(methods, "/v1/feed")];
        let last = methods.last().map(|method| (*method).to_owned()).unwrap();
        let expected = SnapshotError::Call(CallError::Method(last));
        assert_eq!(Snapshot::new(document).unwrap_err(), expected, "{methods:?}");
    }
    // A guard denies the request, and with it whatever that asks for.
    let mut document = open_vault();
    let calls = vec![call(&["GET", "GET+websocket"], "/v1/feed")];
    document.guards = vec![GuardDocument { calls, ..guard("g", Callers::Any, "") }];
    let expected = SnapshotError::Call(CallError::Method("GET+websocket".to_owned()));
    assert_eq!(Snapshot::new(document).unwrap_err(), expected);
}

#[test]
fn the_version_of_a_listener_is_written_only_where_an_older_proxy_must_refuse_it() {
    // AZ-08: documents without it are what they were, byte for byte
    let mut document = open_vault();
    let text = serde_json::to_string(&document.listens).unwrap();
    assert_eq!(text, r#"[{"protocol":"http","port":8443}]"#);
    document.listens[0].version = HttpVersion::Http2;
    let text = serde_json::to_string(&document.listens).unwrap();
    assert_eq!(text, r#"[{"protocol":"http","port":8443,"version":"2"}]"#);
    assert_eq!(Snapshot::new(document.clone()).unwrap().listens(), document.listens);
    for protocol in [Protocol::Grpc, Protocol::Tcp] {
        document.listens[0].protocol = protocol;
        document.rules.clear();
        assert_eq!(Snapshot::new(document.clone()).unwrap_err(), SnapshotError::Listeners);
    }
}
