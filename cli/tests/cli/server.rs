//! Commands that ask cellwalld, against a scripted one.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    thread::{self, JoinHandle},
};

use serde_json::{Value, json};

use crate::run::{Ran, Shell};

/// `METHOD /path` and the body of a request.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) body: Value,
}

/// Answers one request after the other, then gives back what was asked.
pub(crate) fn scripted(shell: &Shell, answers: Vec<(u16, Value)>) -> JoinHandle<Vec<Asked>> {
    let raw = answers.into_iter().map(|(status, document)| {
        let body = document.to_string();
        let length = body.len();
        format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{body}"
        )
    });
    raw_server(shell, raw.collect())
}

fn raw_server(shell: &Shell, answers: Vec<String>) -> JoinHandle<Vec<Asked>> {
    let listener = UnixListener::bind(shell.path("operator.sock")).unwrap();
    thread::spawn(move || {
        answers
            .into_iter()
            .map(|answer| {
                let (stream, _) = listener.accept().unwrap();
                let asked = read(&stream);
                (&stream).write_all(answer.as_bytes()).unwrap();
                asked
            })
            .collect()
    })
}

fn read(stream: &UnixStream) -> Asked {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let length = lines
        .iter()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let line = lines[0].trim_end_matches(" HTTP/1.1").to_owned();
    Asked { line, body: serde_json::from_slice(&body).unwrap_or(Value::Null) }
}

pub(crate) fn run(shell: &Shell, args: &[&str]) -> Ran {
    let socket = shell.path("operator.sock");
    shell.command(args).env("CELLWALL_SOCKET", socket).output().unwrap().into()
}

fn applied() -> Value {
    json!({
        "schema_version": 1, "version": 7, "workloads": 7, "rules": 8, "guards": 1,
        "tests_passed": 11, "proxies": 1,
    })
}

fn fleet(sync: &str, version: Option<u64>) -> Value {
    json!({"schema_version": 1, "proxies": [{
        "instance": "payments-1",
        "spiffe_id": "spiffe://pay.example/prod/payments",
        "workload": "payments",
        "environment": "prod",
        "software": "0.1.0",
        "policy_version": version,
        "sync": sync,
        "reason": (sync == "nacked").then_some("schema 2 is not known"),
        "connected_at": "2020-01-01T00:00:00Z",
        "acked_at": null,
        "addresses": ["127.0.0.1:15008"],
        "svid_serial": "4f",
        "svid_not_after": "2020-01-01T00:00:00Z",
    }]})
}

#[test]
fn apply_sends_the_files_and_prints_the_version() {
    let shell = Shell::new();
    let server = scripted(&shell, vec![(200, applied())]);
    assert_eq!(
        run(&shell, &["policy", "apply", "policy", "-m", "first"]),
        Ran {
            code: 0,
            stdout: "policy version 7 in force: 7 workloads, 8 rules, 1 guard; 11 tests passed\n"
                .to_owned(),
            stderr: "1 sidecar told; `cellwall proxy status` shows which enforce it\n".to_owned(),
        }
    );
    let asked = server.join().unwrap();
    assert_eq!(asked[0].line, "POST /v1/policy");
    assert_eq!(asked[0].body["message"], "first");
    assert_eq!(asked[0].body["sources"]["root"], "cellwall.yaml");
    let files: Vec<_> = asked[0].body["sources"]["files"].as_object().unwrap().keys().collect();
    assert_eq!(files, ["cellwall.yaml", "segments/payments.yaml"]);
}

#[test]
fn apply_waits_until_every_sidecar_enforces_the_version() {
    let shell = Shell::new();
    let answers = vec![
        (200, applied()),
        (200, fleet("pending", None)),
        (200, fleet("pending", Some(6))),
        (200, fleet("synced", Some(7))),
    ];
    let server = scripted(&shell, answers);
    let ran = run(&shell, &["policy", "apply", "--wait"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "enforced by 1 connected sidecar\n"));
    let asked: Vec<_> = server.join().unwrap().into_iter().map(|asked| asked.line).collect();
    assert_eq!(asked[1..], ["GET /v1/proxies", "GET /v1/proxies", "GET /v1/proxies"]);
}

#[test]
fn apply_says_which_sidecar_refused_the_version() {
    let shell = Shell::new();
    let server = scripted(&shell, vec![(200, applied()), (200, fleet("nacked", Some(6)))]);
    let ran = run(&shell, &["policy", "apply", "--wait"]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (3, "error: payments-1 refused version 7: schema 2 is not known\n")
    );
    server.join().unwrap();
}

#[test]
fn apply_shows_mistakes_before_it_asks_anyone() {
    let shell = Shell::new();
    shell.edit("segments/payments.yaml", "from: checkout", "from: checkot");
    let ran = run(&shell, &["policy", "apply"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stdout.contains("--> policy/segments/payments.yaml:34:11"), "{}", ran.stdout);
    assert!(ran.stderr.ends_with("the policy has mistakes; what was in force stays\n"));
}

#[test]
fn apply_shows_what_the_server_finds_with_the_lines_of_our_files() {
    let shell = Shell::new();
    let finding = json!({
        "code": "CW0104", "severity": "error", "file": "segments/payments.yaml", "line": 34,
        "column": 11, "end": 19, "message": "unknown workload `checkout`", "help": null,
    });
    let problem = json!({
        "schema_version": 1, "title": "policy refused", "detail": "the policy has mistakes",
        "findings": [finding],
    });
    let server = scripted(&shell, vec![(422, problem)]);
    let ran = run(&shell, &["policy", "apply"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stdout.contains("--> policy/segments/payments.yaml:34:11"), "{}", ran.stdout);
    assert!(ran.stdout.contains("34 |     from: checkout"), "{}", ran.stdout);
    server.join().unwrap();
}

#[test]
fn apply_shows_the_tests_that_failed_at_the_server() {
    let shell = Shell::new();
    let result = json!({
        "file": "segments/payments.yaml", "line": 80, "call": "prod/a -> prod/b GET /",
        "expect": "allow", "expect_by": null, "verdict": "deny", "by": "default", "passed": false,
    });
    let tests = json!({
        "results": [result], "passed": 10, "failed": 1, "untested_rules": [], "rules": 8,
    });
    let problem = json!({"title": "policy refused", "detail": "tests failed", "tests": tests});
    let server = scripted(&shell, vec![(422, problem)]);
    let ran = run(&shell, &["policy", "apply"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (3, "error: policy refused: tests failed\n"));
    assert!(ran.stdout.contains("got       deny by default\n10 passed, 1 failed\n"));
    server.join().unwrap();
}

#[test]
fn explain_asks_the_policy_in_force() {
    let shell = Shell::new();
    let question = "prod/notifier -> prod/card-vault POST /v1/tokens";
    let offline = shell.run(&["explain", question, "--policy", "policy", "-o", "json"]);
    let answer = (200, offline.json());
    let server = scripted(&shell, vec![answer.clone(), answer]);
    let ran = run(&shell, &["explain", question]);
    assert_eq!(ran.code, 5);
    assert!(ran.stdout.starts_with("DENY  by guard/vault-callers  (PCI 1.3.1"), "{}", ran.stdout);
    assert_eq!(run(&shell, &["explain", question, "-o", "json"]), offline);
    let asked = server.join().unwrap();
    let expected = Asked { line: "POST /v1/explain".to_owned(), body: json!({"call": question}) };
    assert_eq!(asked[0], expected);
}

#[test]
fn a_question_that_the_server_does_not_understand_is_wrong_usage() {
    let shell = Shell::new();
    let problem = json!({"title": "not a call", "detail": "expected `ENV/A -> ENV/B CALL`"});
    let server = scripted(&shell, vec![(422, problem)]);
    let ran = run(&shell, &["explain", "what"]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (2, "error: not a call: expected `ENV/A -> ENV/B CALL`\n")
    );
    server.join().unwrap();
}

#[test]
fn identities_are_a_table_for_people_and_the_servers_document_for_programs() {
    let shell = Shell::new();
    let document = json!({"schema_version": 1, "identities": [
        {
            "workload": "checkout", "environment": "prod",
            "spiffe_id": "spiffe://pay.example/prod/checkout",
            "selectors": ["unix:path:/opt/checkout", "unix:uid:7"], "instances": 2,
            "serial": "4f", "issued_at": "2020-01-01T00:00:00Z",
            "not_after": "9999-01-01T00:00:00Z", "renew_at": "2020-01-01T00:30:00Z",
            "last_issued_at": "9999-01-01T00:00:00Z",
        },
        {
            "workload": "fraud", "environment": "", "spiffe_id": "spiffe://pay.example/fraud",
            "selectors": ["unix:uid:8"], "instances": 0, "serial": null, "issued_at": null,
            "not_after": null, "renew_at": null, "last_issued_at": null,
        },
    ]});
    let server = scripted(&shell, vec![(200, document.clone()), (200, document.clone())]);
    let ran = run(&shell, &["identity", "list"]);
    assert_eq!(ran.code, 0);
    let cells: Vec<Vec<&str>> =
        ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(cells[0][..3], ["WORKLOAD", "ENV", "SPIFFE"]);
    let id = "spiffe://pay.example/prod/checkout";
    assert_eq!(cells[1][..5], ["checkout", "prod", id, "2", "LATE!"]);
    assert_eq!(cells[1][6..], ["unix:path+unix:uid", "0s"]);
    let row = ["fraud", "-", "spiffe://pay.example/fraud", "0", "-", "-", "unix:uid", "-"];
    assert_eq!(cells[2], row);
    assert_eq!(run(&shell, &["identity", "list", "-o", "json"]).json(), document);
    let asked = server.join().unwrap();
    assert_eq!(asked[0].line, "GET /v1/identities");
}

#[test]
fn sidecars_are_a_table_with_the_version_that_each_enforces() {
    let shell = Shell::new();
    let server = scripted(&shell, vec![(200, fleet("nacked", Some(6)))]);
    let ran = run(&shell, &["proxy", "status"]);
    assert_eq!(ran.code, 0);
    let row: Vec<_> = ran.stdout.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..6], ["payments-1", "payments", "prod", "6", "nacked", "0s"]);
    assert_eq!(row[7..], ["127.0.0.1:15008", "0.1.0"]);
    assert_eq!(ran.stderr, "payments-1 refused its policy: schema 2 is not known\n");
    server.join().unwrap();
}

#[test]
fn an_epoch_that_was_raised_stands_beside_the_version() {
    // POL-02
    let shell = Shell::new();
    let mut restored = fleet("synced", Some(6));
    restored["proxies"][0]["policy_epoch"] = json!(2);
    let mut in_force = applied();
    in_force["epoch"] = json!(2);
    let server = scripted(&shell, vec![(200, restored), (200, in_force)]);
    let ran = run(&shell, &["proxy", "status"]);
    let row: Vec<_> = ran.stdout.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[3..5], ["6/e2", "synced"]);
    let ran = run(&shell, &["policy", "apply"]);
    assert!(ran.stdout.starts_with("policy version 7/e2 in force: "), "{}", ran.stdout);
    server.join().unwrap();
}

#[test]
fn without_a_server_the_error_names_the_socket_and_the_code_is_1() {
    let shell = Shell::new();
    let ran = shell.run(&["proxy", "status", "--socket", "none.sock"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    let start =
        "error: cannot reach cellwalld at none.sock (is it running? --socket names another)";
    assert!(ran.stderr.starts_with(start), "{}", ran.stderr);
}

#[test]
fn an_answer_that_is_no_document_or_a_problem_is_an_error() {
    let shell = Shell::new();
    let server = raw_server(
        &shell,
        vec![
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno".to_owned(),
            "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{".to_owned(),
            "no http at all\r\n\r\n".to_owned(),
            "HTTP/1.1 503 x\r\ncontent-length: 37\r\n\r\n{\"title\":\"no answer\",\"detail\":\"disk\"}".to_owned(),
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_owned(),
        ],
    );
    for reason in [
        "error: cellwalld answered 200 OK without a JSON document",
        "error: the answer broke off",
        "error: no answer from cellwalld",
        "error: no answer: disk\n",
        "error: cellwalld's answer is not understood",
    ] {
        let ran = run(&shell, &["identity", "list"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
        assert!(ran.stderr.starts_with(reason), "{}", ran.stderr);
    }
    server.join().unwrap();
}
