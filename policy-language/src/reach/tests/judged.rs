//! What two versions say of recorded calls.

use std::time::UNIX_EPOCH;

use super::written::set;
use crate::{Ask, Judge, Outcome, Recorded};

const OLD: &str = r#"version: cellwall/v1
identity: "spiffe://pay.example/{env}/{workload}"
workloads:
  web: {listens: {http: 1}}
  rpc: {listens: {grpc: 1}}
  db: {listens: [{http: 1}, {tcp: 5432}, {tcp: 5433}]}
  job: {listens: {http: 1}}
segments:
  all: {members: [web, rpc, db], mode: enforce}
  new: {members: [job], mode: audit}
rules:
  - {name: one, from: job, to: web, allow: [{http: GET /v1/me}], why: w}
  - {name: each, from: job, to: web, allow: [{http: "GET /v1/{id}"}], why: w}
  - {name: gets, from: job, to: rpc, allow: [{grpc: a.A/Get}], why: w}
  - {name: calls, from: job, to: rpc, allow: [{grpc: a.A/*}, {grpc: b.B/*}], why: w}
  - {name: stores, from: job, to: db, allow: [{tcp: 5432}], why: w}
  - {name: metrics, from: web, to: db, allow: [{http: GET /metrics}], why: w}
guards:
  - {name: g, deny: any -> job, calls: [{http: POST /x}], why: w}
"#;

/// Without a rule of its own for `me`, and with `b.B/Put` for another.
fn new() -> String {
    let one = "  - {name: one, from: job, to: web, allow: [{http: GET /v1/me}], why: w}\n";
    let put = "  - {name: puts, from: web, to: rpc, allow: [{grpc: b.B/Put}], why: w}\n";
    OLD.replacen(one, put, 1)
}

#[test]
fn a_recorded_call_is_judged_by_the_kinds_that_it_may_be_of() {
    let (old, new) = (set(OLD), set(&new()));
    let mut judge = Judge::new(&old, &new);
    let http = |method, route| Ask::Http { method, route };
    let speaks = Err("the callee does not speak this protocol in both versions");
    let decides = Err("the path is not recorded, and it decides");
    let both = |text: &'static str| Ok((text, text));
    for (callee, call, verdict, expected) in [
        ("web", http("GET", Some("/v1/{id}")), None, both("allow each")),
        ("web", http("GET", Some("/v1/me")), None, Ok(("allow one", "allow each"))),
        // A template that neither version has.
        ("web", http("GET", Some("/v2/{id}")), None, both("deny default")),
        // One that both have, for another method.
        (
            "web",
            http("POST", Some("/v1/{id}")),
            None,
            Err("the call has no template in either version"),
        ),
        ("web", Ask::Grpc("a.A/Get"), None, speaks),
        ("rpc", http("GET", None), None, speaks),
        ("rpc", Ask::Grpc("a.A/Get"), None, both("allow gets")),
        ("rpc", Ask::Grpc("a.A/Zed"), None, both("allow calls")),
        ("rpc", Ask::Grpc("a.A/*"), None, both("allow calls")),
        ("rpc", Ask::Grpc("c.C/Get"), None, both("deny default")),
        ("rpc", Ask::Grpc("b.B/Put"), None, Ok(("allow calls", "deny default"))),
        // One of the methods that the service had is another's now.
        ("rpc", Ask::Grpc("b.B/*"), None, decides),
        ("db", Ask::Tcp(Some(5432)), None, both("allow stores")),
        ("db", Ask::Tcp(Some(5433)), None, both("deny default")),
        ("db", Ask::Tcp(None), None, decides),
        ("db", Ask::Tcp(None), Some("allow"), both("allow stores")),
        ("job", http("POST", None), Some("audit"), both("audit default")),
        ("job", http("POST", None), Some("deny"), both("deny guard/g")),
        ("job", http("POST", None), None, decides),
    ] {
        let outcome = judge.judge(&Recorded {
            caller: "spiffe://pay.example/prod/job",
            callee: &format!("spiffe://pay.example/prod/{callee}"),
            call,
            verdict,
            at: UNIX_EPOCH,
        });
        let found = match outcome {
            Outcome::Judged { was, now } => {
                Ok([was, now].map(|(verdict, by)| format!("{} {by}", verdict.as_str())))
            }
            Outcome::Unsure(reason) => Err(reason),
        };
        let expected = expected.map(|(was, now)| [was.to_owned(), now.to_owned()]);
        assert_eq!(found, expected, "{callee} {call:?} {verdict:?}");
    }
}
