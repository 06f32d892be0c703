//! `explain d_...` and `check`, against a scripted cellwalld and a scripted sidecar.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use serde_json::{Value, json};

use crate::{
    run::Shell,
    server::{run, scripted},
};

const ID: &str = "d_01JNB7Q2000000000000000000";

fn decision() -> Value {
    json!({
        "id": ID, "at": "2026-03-02T10:14:07.218Z", "kind": "call", "protocol": "grpc",
        "verdict": "deny", "by": "default", "reason": "policy_denied", "tls_reason": null,
        "policy_version": 42, "caller": "spiffe://pay.example/prod/fraud",
        "caller_workload": "fraud", "caller_serial": "4f1c", "caller_address": "10.2.4.17:41822",
        "callee": "spiffe://pay.example/prod/ledger", "callee_workload": "ledger",
        "environment": "prod", "method": "POST", "rpc": "ledger.v1.Ledger/Post", "route": null,
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "instance": "ledger-1",
    })
}

fn stored() -> Value {
    json!({"schema_version": 1, "decision": decision()})
}

/// What the policy of the manual says to the question.
fn explanation(shell: &Shell, question: &str) -> Value {
    shell.run(&["explain", question, "--policy", "policy", "-o", "json"]).json()
}

const EXPLAINED: &str = "\
DENIED  2026-03-02T10:14:07.218Z  at ledger-1  (v42)  by default
  caller   prod/fraud             spiffe://pay.example/prod/fraud
           serial 4f1c, from 10.2.4.17:41822
  callee   prod/ledger            spiffe://pay.example/prod/ledger
  call     ledger.v1.Ledger/Post   trace 4bf92f3577b34da6a3ce929d0e0e4736

  guards   none is about ledger
  boundary env                    no   prod == prod
  rules    payments-posts         no   caller is not payments  <- nearest
           history-readers        no   call is not ledger.v1.Ledger/GetEntry or \
         ledger.v1.Ledger/ListEntries
  so       default deny (segment core: enforce)

  fix      add `fraud` to `from:` of payments-posts   policy/segments/payments.yaml:56
           tried: it allows exactly this call
";

#[test]
fn a_decision_is_explained_clause_by_clause_and_by_the_policy_in_force() {
    let shell = Shell::new();
    let then = explanation(&shell, "prod/fraud -> prod/ledger ledger.v1.Ledger/Post");
    let now = explanation(&shell, "prod/payments -> prod/ledger ledger.v1.Ledger/Post");
    let verdict = |version: u64, explanation: &Value| {
        json!({
            "version": version, "applied_at": "2026-03-02T11:00:00Z", "applied_by": "uid:0 pid:7",
            "message": "fraud posts", "explanation": explanation, "unexplained": null,
        })
    };
    let reasons =
        json!({"schema_version": 1, "then": verdict(42, &then), "now": verdict(43, &now)});
    let answers = || vec![(200, stored()), (200, reasons.clone())];
    let server = scripted(&shell, [answers(), answers()].concat());
    let ran = run(&shell, &["explain", ID]);
    let in_force = "\n  now      v43 would allow it: allowed by payments-posts  \
                    (2026-03-02T11:00:00Z, uid:0 pid:7: fraud posts)\n";
    assert_eq!((ran.code, ran.stdout.as_str()), (0, format!("{EXPLAINED}{in_force}").as_str()));
    let document = run(&shell, &["explain", ID, "-o", "json"]).json();
    assert_eq!(document["decision"], decision());
    assert_eq!(document["now"]["explanation"], now);
    let asked = server.join().unwrap();
    assert_eq!(asked[0].line, format!("GET /v1/decisions/{ID}"));
    assert_eq!(
        (asked[1].line.as_str(), &asked[1].body),
        ("POST /v1/explain", &json!({"decision": decision()}))
    );
}

/// Answers one request as a sidecar's admin listener.
fn sidecar(status: u16, document: &Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let body = document.to_string();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = [0; 1024];
        let length = stream.read(&mut asked).unwrap();
        assert!(asked[..length].starts_with(format!("GET /decisions/{ID} HTTP/1.1").as_bytes()));
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    });
    address
}

#[test]
fn without_cellwalld_the_sidecar_and_the_files_are_enough() {
    let shell = Shell::new();
    let proxy = format!("http://{}", sidecar(200, &stored()));
    let ran = run(&shell, &["explain", ID, "--proxy", &proxy, "--policy", "policy"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, EXPLAINED));
    let proxy = sidecar(200, &stored());
    let ran = run(&shell, &["explain", ID, "--proxy", &proxy]);
    assert_eq!(ran.code, 0);
    assert!(
        ran.stdout.ends_with("  so       policy_denied; no policy to explain it by\n"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stderr.ends_with("; --policy DIR explains it without cellwalld\n"),
        "{}",
        ran.stderr
    );
}

#[test]
fn an_unknown_id_says_where_else_to_look() {
    let shell = Shell::new();
    let problem = json!({"title": "no such decision", "detail": "not reported"});
    let server = scripted(&shell, vec![(404, problem.clone())]);
    let ran = run(&shell, &["explain", ID]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    let expected = format!(
        "error: no decision {ID} is kept there\n\
         It may be on its way: a sidecar reports within a second while it is connected.\n\
         The sidecar that decided keeps its last 1,024: cellwall explain ID --proxy HOST:PORT\n\
         Its access log has the id in `cellwall.decision`.\n"
    );
    assert_eq!(ran.stderr, expected);
    server.join().unwrap();
    let ran = run(&shell, &["explain", ID, "--proxy", &sidecar(404, &problem)]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("Another sidecar may have decided"), "{}", ran.stderr);
}

#[test]
fn what_is_no_id_is_wrong_usage() {
    let shell = Shell::new();
    for id in ["d_1", "d_01JNB7Q2/../../v1/policy/xxxx", &format!("{ID}0")] {
        let ran = shell.run(&["explain", id]);
        assert_eq!(ran.code, 2, "{id}");
        assert!(ran.stderr.contains("is no decision id"), "{}", ran.stderr);
    }
    let ran = shell.run(&["explain", ID, "--proxy", "http://192.0.2.1:15020"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("not a loopback address"), "{}", ran.stderr);
}

#[test]
fn a_decision_without_a_policy_has_no_clauses_and_says_why() {
    let shell = Shell::new();
    for (reason, tls, so) in [
        (
            "no_policy",
            Value::Null,
            "the callee's sidecar had no verified policy: it lets nobody in",
        ),
        ("not_declared", Value::Null, "the policy did not declare the listener any more as it was"),
        ("tls_refused", "denied_id".into(), "the handshake was refused: denied_id"),
    ] {
        let mut decision = decision();
        for field in ["by", "policy_version", "caller", "caller_workload", "rpc", "protocol"] {
            decision[field] = Value::Null;
        }
        decision["reason"] = reason.into();
        decision["tls_reason"] = tls;
        let server = scripted(&shell, vec![(200, json!({"decision": decision}))]);
        let ran = run(&shell, &["explain", ID]);
        assert_eq!(ran.code, 0);
        assert!(ran.stdout.ends_with(&format!("  so       {so}\n")), "{}", ran.stdout);
        server.join().unwrap();
        std::fs::remove_file(shell.path("operator.sock")).unwrap();
    }
}

#[test]
fn a_call_that_was_allowed_and_lost_its_listener_was_revoked() {
    let shell = Shell::new();
    for verdict in ["allow", "audit"] {
        let mut decision = decision();
        for field in ["by", "policy_version", "caller", "caller_workload", "rpc", "protocol"] {
            decision[field] = Value::Null;
        }
        decision["verdict"] = verdict.into();
        decision["reason"] = "not_declared".into();
        let server = scripted(&shell, vec![(200, json!({"decision": decision}))]);
        let ran = run(&shell, &["explain", ID]);
        assert_eq!(ran.stdout.split_whitespace().next(), Some("REVOKED"), "{}", ran.stdout);
        server.join().unwrap();
        std::fs::remove_file(shell.path("operator.sock")).unwrap();
    }
}

/// A time so many seconds from now.
fn at(seconds: i64) -> String {
    let at = time::OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
    at.format(&time::format_description::well_known::Rfc3339).unwrap()
}

/// A mesh that is well: status, proxies, identities, decisions.
fn well() -> [Value; 4] {
    [
        json!({
            "version": "0.1.0", "policy_version": 7, "policy_applied_at": at(-300),
            "policy_applied_by": "uid:0 pid:7", "now": at(0), "authority_not_after": at(80 * 86_400 + 60),
            "issues": true, "started_at": at(-600),
        }),
        json!({"proxies": [{
            "instance": "p-1", "spiffe_id": "spiffe://pay.example/prod/payments",
            "workload": "payments", "environment": "prod", "software": "0.1.0",
            "policy_version": 7, "sync": "synced", "reason": null, "svid_not_after": at(3000),
            "connected_at": at(-600), "addresses": [],
        }]}),
        json!({"identities": [{
            "workload": "payments", "environment": "prod",
            "spiffe_id": "spiffe://pay.example/prod/payments", "instances": 1, "selectors": [],
            "issued_at": at(-600), "not_after": at(3000), "renew_at": at(1200),
        }]}),
        json!({"decisions": [{"at": at(-60)}, {"at": at(-7200)}]}),
    ]
}

/// What `check` prints of this mesh, and its exit code.
fn check(shell: &Shell, mesh: &[Value; 4], arguments: &[&str]) -> (i32, String) {
    let server = scripted(shell, mesh.iter().map(|answer| (200, answer.clone())).collect());
    let socket = shell.path("operator.sock");
    let mut command = shell.command(arguments);
    command.env("CELLWALL_SOCKET", &socket).env("LANG", "C.UTF-8");
    let ran: crate::run::Ran = command.output().unwrap().into();
    let asked: Vec<_> = server.join().unwrap().into_iter().map(|asked| asked.line).collect();
    let paths = ["/v1/status", "/v1/proxies", "/v1/identities", "/v1/decisions?limit=1000"];
    assert_eq!(asked, paths.map(|path| format!("GET {path}")));
    std::fs::remove_file(socket).unwrap();
    (ran.code, ran.stdout)
}

#[test]
fn a_mesh_that_is_well_passes_every_check() {
    let shell = Shell::new();
    let (code, text) = check(&shell, &well(), &["check"]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((code, lines[0], lines[1]), (0, "control plane", "-------------"));
    assert!(lines[2].starts_with("√ cellwalld 0.1.0 answers at "), "{text}");
    for line in [
        "√ X.509 authority ends in 80d",
        "√ 1 identity, 1 in use, none late",
        "√ version 7 in force for 5m, applied by uid:0 pid:7",
        "√ enforced by 1 of 1 connected sidecars",
        "√ 1 sidecar connected",
        "√ 1 denied or audited calls reported in the last hour",
        "Status: 0 failures, 0 warnings, 8 ok",
    ] {
        assert!(lines.contains(&line), "{line}\n{text}");
    }
}

/// What is changed in which answer, and the line that says so.
type Case = (usize, &'static str, Value, &'static str);

#[test]
fn what_is_wrong_is_found_and_says_what_to_do() {
    let shell = Shell::new();
    let warnings: [Case; 5] = [
        (0, "/authority_not_after", at(86_460 * 5).into(), "‼ X.509 authority ends in 5d"),
        (2, "/identities/0/renew_at", at(-5).into(), "‼ the SVID of prod/payments renews late"),
        (
            1,
            "/proxies/0/policy_version",
            6.into(),
            "‼ prod/payments (p-1) enforces version 6, not 7",
        ),
        (
            1,
            "/proxies/0/software",
            "0.0.9".into(),
            "‼ prod/payments (p-1) runs 0.0.9, cellwalld 0.1.0",
        ),
        (
            1,
            "/proxies/0/svid_not_after",
            at(300).into(),
            "‼ the SVID of prod/payments (p-1) ends in ",
        ),
    ];
    let failures: [Case; 6] = [
        (0, "/authority_not_after", at(-5).into(), "× X.509 authority ends in 0s"),
        (0, "/issues", false.into(), "× X.509 authority ends in 80d"),
        (0, "/now", at(-60).into(), "× clock of cellwalld and of this machine: 60"),
        (0, "/policy_applied_at", Value::Null, "× no policy has been applied"),
        (
            1,
            "/proxies/0/sync",
            "nacked".into(),
            "× prod/payments (p-1) refused version 7: no reason given",
        ),
        (2, "/identities/0/not_after", at(-5).into(), "× the SVID of prod/payments has ended"),
    ];
    let cases = warnings.iter().map(|case| (case, 0)).chain(failures.iter().map(|case| (case, 3)));
    for ((part, pointer, value, line), expected) in cases {
        let mut mesh = well();
        *mesh[*part].pointer_mut(pointer).unwrap() = value.clone();
        let (code, text) = check(&shell, &mesh, &["check"]);
        assert_eq!(code, expected, "{pointer}\n{text}");
        assert!(text.lines().any(|found| found.starts_with(line)), "{line}\n{text}");
    }
    let mut mesh = well();
    mesh[1] = json!({"proxies": []});
    let (code, text) = check(&shell, &mesh, &["check", "-o", "json"]);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &document["warnings"], &document["failures"]), (0, &1.into(), &0.into()));
    let warned = document["checks"].as_array().unwrap().iter().find(|it| it["level"] == "warn");
    assert_eq!(warned.unwrap()["text"], "no sidecar is connected");
}

#[test]
fn a_control_plane_that_is_away_is_a_finding() {
    let shell = Shell::new();
    let ran = run(&shell, &["check"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stdout.contains("xx cannot reach cellwalld at "), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("Status: 1 failure, 0 warnings, 0 ok\n"), "{}", ran.stdout);
}
