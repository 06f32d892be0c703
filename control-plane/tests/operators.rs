//! The operators' API over its socket.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use cellwall_testkit::client::{HttpConnection, Server, build, request_json};
use http_body_util::Full;
use nix::unistd::geteuid;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::UnixStream, task::JoinSet};

use crate::{
    daemon::{DEADLINE, Daemon},
    policy::{policy, this_path, we_are_both, we_are_web},
    roles::{NOBODY, role, this_program},
    workload::{self, Svids, connect},
};

/// Workloads of [`wide`].
const WIDE: usize = 2000;

/// Requests of somebody else while questions are being answered.
const OTHERS: usize = 100;

#[tokio::test]
async fn status_tells_what_runs_where() {
    let daemon = Daemon::start().await;
    let (status, document) = daemon.get("/v1/status").await;
    let expected = json!({
        "schema_version": 1,
        "trust_domain": "pay.example",
        "version": env!("CARGO_PKG_VERSION"),
        "policy_epoch": 1,
        "policy_version": 0,
        "policy_applied_at": null,
        "policy_applied_by": null,
        "now": document["now"],
        "authority_not_after": document["authority_not_after"],
        "issues": true,
        "mesh": daemon.mesh.to_string(),
        "health": daemon.health.to_string(),
        "workload_socket": daemon.workload_socket,
        "operator_socket": daemon.operator_socket,
        "started_at": document["started_at"],
    });
    assert_eq!((status, document.clone()), (200, expected));
    assert_eq!(document["started_at"].as_str().unwrap().len(), "2026-01-01T00:00:00Z".len());
}

#[tokio::test]
async fn identities_show_who_holds_what() {
    let daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let (_, document) = daemon.get("/v1/identities").await;
    let unused = json!({
        "workload": "web",
        "environment": "prod",
        "spiffe_id": "spiffe://pay.example/prod/web",
        "selectors": [this_path().trim_matches('"')],
        "instances": 0,
        "serial": null,
        "issued_at": null,
        "not_after": null,
        "renew_at": null,
        "last_issued_at": null,
    });
    assert_eq!(document, json!({"schema_version": 1, "identities": [unused]}));
    let mut client = connect(&daemon.workload_socket).await;
    let mut one = Svids::open(&mut client).await.unwrap();
    one.next().await.unwrap();
    let mut two = Svids::open(&mut client).await.unwrap();
    two.next().await.unwrap();
    let row = daemon.row("identities", |row| row["instances"] == 2).await;
    for field in ["serial", "issued_at", "not_after", "renew_at", "last_issued_at"] {
        assert!(row[field].is_string(), "{field} of {row}");
    }
    drop((one, two));
    let row = daemon.row("identities", |row| row["instances"] == 0).await;
    assert!(row["serial"].is_null() && row["last_issued_at"].is_string());
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.sum("cellwall_identities", &[("env", "prod")]), 1.0);
}

#[tokio::test]
async fn a_policy_that_cannot_be_used_changes_nothing() {
    // Never a partial load; each mistake is named.
    let daemon = Daemon::start_with_policy(&[], &we_are_both()).await;
    let (_, before) = daemon.get("/v1/policy").await;
    let good = we_are_web();
    let wide = policy(&[("web", &["\"unix:uid:0\"".into()])]);
    let foreign = policy(&[]).replace("pay.example", "other.example");
    for (text, member) in [
        (good.replace("from: web", "from: wbe"), "findings"),
        (good.replace("version: cellwall/v1", "version: cellwall/v9"), "findings"),
        ("no policy at all".to_owned(), "findings"),
        (good.replace("- expect: allow", "- expect: deny"), "tests"),
        (foreign, "detail"),
        (wide, "detail"), // ATT-06
    ] {
        let (status, problem) = daemon.propose(&text).await;
        assert_eq!(status, 422, "{problem:#}");
        assert_eq!(problem["title"], "policy refused");
        assert!(!problem[member].is_null(), "{member} in {problem:#}");
        assert_eq!(daemon.get("/v1/policy").await.1, before);
    }
    workload::svid(&daemon.workload_socket, "/prod/db").await;
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.sum("cellwall_changes_total", &[("result", "refused")]), 6.0);
    assert_eq!(metrics.sum("cellwall_changes_total", &[("result", "applied")]), 1.0);
}

#[tokio::test]
async fn an_applied_policy_is_read_back_with_who_applied_it_and_why() {
    let daemon = Daemon::start().await;
    let (status, nothing) = daemon.get("/v1/policy").await;
    assert_eq!((status, &nothing["title"]), (404, &"no policy".into()));
    let (status, answer) = daemon.propose(&we_are_web()).await;
    let expected = json!({
        "schema_version": 1,
        "epoch": 1,
        "version": 1,
        "workloads": 2,
        "rules": 1,
        "guards": 0,
        "tests_passed": 1,
        "proxies": 0,
    });
    assert_eq!((status, answer), (200, expected));
    let (_, document) = daemon.get("/v1/policy").await;
    let by = format!("uid:{} pid:{}", geteuid(), std::process::id());
    let sources = json!({"root": "cellwall.yaml", "files": {"cellwall.yaml": we_are_web()}});
    assert_eq!(
        document,
        json!({
            "schema_version": 1,
            "epoch": 1,
            "version": 1,
            "digest": document["digest"],
            "applied_at": document["applied_at"],
            "applied_by": by,
            "message": "a test",
            "sources": sources,
        })
    );
    let database = rusqlite::Connection::open(daemon.data().join("cellwall.db")).unwrap();
    let query = "SELECT actor, detail FROM audit WHERE kind = 'policy.applied'";
    let (actor, detail): (String, String) =
        database.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let detail: Value = serde_json::from_str(&detail).unwrap();
    assert_eq!((actor, &detail["version"]), (by, &1.into()));
    assert_eq!(detail["sources_sha256"], document["digest"]);
}

#[tokio::test]
async fn a_policy_whose_operator_hung_up_is_in_force_once_it_is_stored() {
    let daemon = Daemon::start().await;
    let database = rusqlite::Connection::open(daemon.data().join("cellwall.db")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap(); // nothing is stored until we commit
    let mut stream = UnixStream::connect(&daemon.operator_socket).await.unwrap();
    let sources = json!({"root": "cellwall.yaml", "files": {"cellwall.yaml": we_are_web()}});
    let body = json!({ "sources": sources }).to_string();
    let head = format!(
        "POST /v1/policy HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    // An operator who hangs up before the request was read has asked for nothing: so many answers
    // to others later it was.
    for _ in 0..50 {
        daemon.get("/v1/status").await;
    }
    drop(stream);
    daemon.get("/v1/status").await;
    database.execute_batch("COMMIT").unwrap();
    daemon.measured(|metrics| metrics.sum("cellwall_policy_version", &[]) == 1.0).await;
    assert_eq!(daemon.apply(&we_are_web()).await, 2);
}

#[tokio::test]
async fn a_call_is_explained_by_the_policy_in_force() {
    let daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let ask = async |call: &str| daemon.post("/v1/explain", &json!({ "call": call })).await;
    let (status, document) = ask("prod/web -> prod/db tcp:5432").await;
    assert_eq!((status, &document["verdict"]), (200, &"allow".into()));
    assert_eq!((&document["by"], &document["schema_version"]), (&"web-db".into(), &1.into()));
    let (_, document) = ask("prod/web -> staging/db tcp:5432").await;
    assert_eq!((&document["verdict"], &document["by"]), (&"deny".into(), &"boundary/env".into()));
    let (status, problem) = ask("what about payments").await;
    assert_eq!((status, &problem["title"]), (422, &"not a call".into()));
}

/// A policy in which the smallest change that allows a call is long sought.
fn wide() -> String {
    let names: Vec<String> = (0..WIDE).map(|number| format!("s{number}")).collect();
    let mut text = String::from("version: cellwall/v1\n");
    text.push_str("identity: \"spiffe://pay.example/{env}/{workload}\"\nworkloads:\n");
    names.iter().for_each(|name| text.push_str(&format!("  {name}: {{listens: {{http: 80}}}}\n")));
    let members = names.join(", ");
    text.push_str(&format!("segments:\n  all: {{members: [{members}], mode: enforce}}\nrules:\n"));
    for pair in names.windows(2) {
        let [from, to] = [&pair[0], &pair[1]];
        text.push_str(&format!("  - name: {from}-{to}\n    from: {from}\n    to: {to}\n"));
        text.push_str("    allow:\n      - http: GET /v1/things\n    why: a test\n");
    }
    text
}

#[tokio::test]
async fn questions_that_take_long_keep_nobody_else_waiting() {
    let daemon = Daemon::start_with_policy(&[], &wide()).await;
    let mut questions = JoinSet::new();
    let threads = std::thread::available_parallelism().unwrap().get();
    for _ in 0..(8 * threads).min(40) {
        let server = Server::Unix(daemon.operator_socket.clone());
        questions.spawn(async move {
            let question = json!({"call": "prod/s7 -> prod/s3 GET /v1/things"});
            request_json(server, "POST /v1/explain", &question).await.unwrap()
        });
    }
    let others = async {
        for _ in 0..OTHERS {
            assert_eq!(daemon.get("/v1/status").await.0, 200);
        }
    };
    let answered = async { while questions.join_next().await.is_some() {} };
    tokio::select! {
        () = others => {}
        () = answered => panic!("the questions were answered before the others"),
    }
}

#[tokio::test]
async fn what_is_no_request_is_answered_with_a_problem() {
    // ADM-04: a content type is required, unknown fields are refused.
    let daemon = Daemon::start().await;
    let server = Server::Unix(daemon.operator_socket.clone());
    for (call, kind, body, status) in [
        ("GET /", "", "", 404),
        ("GET /v2/status", "", "", 404),
        ("DELETE /v1/policy", "", "", 405),
        ("POST /v1/explain", "", "{\"call\": \"\"}", 415),
        ("POST /v1/explain", "application/x-www-form-urlencoded", "{\"call\": \"\"}", 415),
        ("POST /v1/explain", "application/json", "{\"call\": \"\", \"more\": 1}", 400),
        ("POST /v1/explain", "application/json", "{", 400),
        ("POST /v1/policy", "application/json", "{}", 400),
    ] {
        let mut request = build(call).unwrap();
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        let request = request.body(Full::from(body)).unwrap();
        let answer = HttpConnection::open(&server).await.unwrap().send(request).await.unwrap();
        assert_eq!(answer.status(), status, "{call} {kind} {body}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let problem: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!((&problem["status"], &problem["schema_version"]), (&status.into(), &1.into()));
        assert!(problem["title"].is_string() && problem["detail"].is_string());
    }
}

#[tokio::test]
async fn another_user_is_refused_even_if_the_socket_lets_them_in() {
    if !geteuid().is_root() {
        return; // only root can be another user
    }
    let sockets = tempfile::tempdir().unwrap();
    let socket = sockets.path().join("operator.sock");
    let daemon = Daemon::start_with(&["--operator-socket", socket.to_str().unwrap()]).await;
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    open(sockets.path(), 0o755).unwrap();
    open(&socket, 0o666).unwrap();
    let ask = async |user: u32| {
        let arguments = [("socket", &*socket)];
        let stranger = role(&this_program(), "stranger", daemon.dir.path(), &arguments);
        let mut stranger = stranger.user(user).start().unwrap();
        stranger.printed(DEADLINE, Value::is_object).await.unwrap()
    };
    assert_eq!(ask(NOBODY).await, json!({"status": 403}));
    assert_eq!(ask(0).await, json!({"status": 200}));
}
