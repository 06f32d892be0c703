//! Grants end by the sidecar's own clock, conditions look at the connection, guards at one call,
//! and each of several listeners is opened by calls of its own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cellwall_policy::{
    CallDocument, Callers, Condition, GrantDocument, GuardDocument, ListensDocument, Mode, Operand,
    ProbeDocument, Protocol, RuleDocument, SnapshotDocument, TlsFact,
};
use cellwall_testkit::tls::DangerousParty;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    kit::{DEADLINE, Plan, Sidecar, Town, http, payments, policy},
    played::echo,
};

/// Seconds that a grant has left when a test begins.
const LEFT: u64 = 3;

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The rules of a policy as a grant that began a minute ago.
fn granted(policy: SnapshotDocument) -> (SnapshotDocument, SystemTime) {
    let expires = seconds() + LEFT;
    let grant = |rule: &RuleDocument| GrantDocument {
        rule: RuleDocument { name: "INC-4821".to_owned(), ..rule.clone() },
        starts: expires - 60,
        expires,
    };
    let grants = policy.rules.iter().map(grant).collect();
    let end = UNIX_EPOCH + Duration::from_secs(expires);
    (SnapshotDocument { rules: Vec::new(), grants, ..policy }, end)
}

#[tokio::test]
async fn a_grant_ends_its_connections_and_calls_with_the_control_plane_away() {
    let mut town = Town::new().await;
    let call = CallDocument::Tcp { port: 8443 };
    let (workload, _tasks) = echo().await;
    let plan = || Plan { name: "ledger-db", speaks: Protocol::Tcp, outbound: &[] };
    let base = policy("ledger-db", Protocol::Tcp, &[call]);
    let bare = town.beside(plan(), workload).await;
    let web = town.bare(payments().0).await;
    let (document, _) = granted(base);
    let mut db = town.made_ready(bare, "ledger-db", document).await;
    let (document, end) = granted(payments().1);
    let mut web = town.made_ready(web, "payments", document).await;
    town.leave().await;

    let caller = town.svid("checkout");
    let mut stream = db.dial(&caller, &["cellwall-tcp/1"]).await;
    let mut octet = [0; 1];
    stream.write_all(b"a").await.unwrap();
    stream.read_exact(&mut octet).await.unwrap();
    let mut connection = web.http(&caller).await;
    let mut pay = async || {
        let request = cellwall_testkit::client::build("POST /v1/payments").unwrap();
        let response = connection.send(request.body(Default::default()).unwrap()).await.unwrap();
        (SystemTime::now(), response.status().as_u16())
    };
    let (before, status) = pay().await;
    assert!(before < end && status == 200, "{status}");

    // The connection ends by itself.
    let closed = tokio::time::timeout(DEADLINE, stream.read(&mut octet)).await.unwrap();
    assert!(!matches!(closed, Ok(1..)), "{closed:?}");
    let line = db.logged(|line| line["kind"] == "connection").await;
    assert_eq!(
        (&line["cellwall.reason"], &line["cellwall.by"]),
        (&"policy_revoked".into(), &"grant/INC-4821".into())
    );
    // And each request is asked anew, on the connection that was there before.
    let denied = async {
        loop {
            match pay().await {
                (_, 403) => return,
                (asked, status) => assert_eq!(status, 200, "{asked:?}"),
            }
        }
    };
    tokio::time::timeout(DEADLINE, denied).await.unwrap();
    let at = SystemTime::now();
    assert!(at >= end && at < end + Duration::from_secs(2), "{:?}", at.duration_since(end));
    let line = web.logged(|line| line["cellwall.verdict"] == "deny").await;
    assert_eq!(line["cellwall.by"], "default");
}

#[tokio::test]
async fn a_condition_sees_how_the_callers_connection_is_protected() {
    let town = Town::new().await;
    let (plan, mut policy) = payments();
    let group = Operand::Text("X25519MLKEM768".to_owned());
    policy.rules[0].when = Some(Condition::Equal(Operand::Tls(TlsFact::Group), group));
    let callee = town.sidecar(plan, policy).await;
    let caller = town.svid("checkout");
    assert_eq!(callee.call(&caller, "POST /v1/payments").await.0, 200);
    let party = DangerousParty::presenting(&caller).alpn(&["http/1.1"]).on_x25519();
    let tcp = TcpStream::connect(callee.inbound).await.unwrap();
    let hello = b"POST /v1/payments HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    let mut stream = party.connect(tcp).await.unwrap();
    stream.write_all(hello).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 403");
    assert_eq!(callee.seen().len(), 1);
}

#[tokio::test]
async fn a_guard_of_one_call_denies_it_and_one_in_audit_records_it() {
    let town = Town::new().await;
    let (plan, mut policy) = payments();
    let guard = |name: &str, call, mode| GuardDocument {
        name: name.to_owned(),
        from: Callers::Any,
        except: Vec::new(),
        calls: vec![call],
        when: None,
        mode,
    };
    policy.guards = vec![
        guard("no-export", http("GET", "/v1/payments/export"), Mode::Enforce),
        guard("watch", http("POST", "/v1/payments"), Mode::Audit),
    ];
    let mut callee = town.sidecar(plan, policy).await;
    let caller = town.svid("checkout");
    for (call, status, verdict, by) in [
        ("GET /v1/payments/p_1", 200, "allow", "checkout-calls"),
        ("GET /v1/payments/export", 403, "deny", "guard/no-export"),
        ("POST /v1/payments", 200, "audit", "guard/watch"),
    ] {
        assert_eq!(callee.call(&caller, call).await.0, status, "{call}");
        let line = callee.logged(|line| line["cellwall.by"] == by).await;
        assert_eq!(line["cellwall.verdict"], verdict, "{call}");
    }
    assert_eq!(callee.seen().len(), 2);
}

/// The first answer of a listener to an HTTP request; nothing where it does not speak HTTP.
async fn http_at(sidecar: &Sidecar, town: &Town, port: &str, call: &str) -> Option<String> {
    let tcp = TcpStream::connect(sidecar.listeners[port]).await.unwrap();
    let party = DangerousParty::presenting(&town.svid("checkout")).alpn(&["http/1.1"]);
    let hello = format!("{call} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    let mut stream = party.connect(tcp).await.ok()?;
    stream.write_all(hello.as_bytes()).await.ok()?;
    let mut answer = vec![0; 12];
    let read = tokio::time::timeout(DEADLINE, stream.read_exact(&mut answer)).await.unwrap();
    read.ok()?;
    String::from_utf8(answer).ok()
}

#[tokio::test]
async fn each_of_several_listeners_speaks_and_allows_what_is_declared_for_it() {
    // AZ-03
    let town = Town::new().await;
    let (plan, mut policy) = payments();
    let (database, _tasks) = echo().await;
    let flags = |workload| {
        [("8443", workload), ("5432", database), ("9999", database)]
            .map(|(port, at)| format!("--inbound={port}@127.0.0.1:0={at}"))
            .into()
    };
    let bare = town.flagged(plan, flags).await;
    policy.listens.push(ListensDocument::of(Protocol::Tcp, 5432));
    policy.rules.push(RuleDocument {
        name: "db".to_owned(),
        from: Callers::Named(vec!["checkout".to_owned()]),
        calls: vec![CallDocument::Tcp { port: 5432 }],
        ..RuleDocument::default()
    });
    let mut callee = town.made_ready(bare, "payments", policy.clone()).await;
    let answer = http_at(&callee, &town, "8443", "POST /v1/payments").await;
    assert_eq!(answer.as_deref(), Some("HTTP/1.1 200"));
    assert_eq!(http_at(&callee, &town, "5432", "POST /v1/payments").await, None);
    let tcp = TcpStream::connect(callee.listeners["5432"]).await.unwrap();
    let party = DangerousParty::presenting(&town.svid("checkout")).alpn(&["cellwall-tcp/1"]);
    let mut stream = party.connect(tcp).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    let mut octet = [0; 1];
    stream.read_exact(&mut octet).await.unwrap();
    // What the policy does not declare is not served, whoever asks.
    let tcp = TcpStream::connect(callee.listeners["9999"]).await.unwrap();
    assert!(party.connect(tcp).await.is_err());
    let line = callee.logged(|line| line["cellwall.reason"] == "not_declared").await;
    assert_eq!(line["kind"], "connection");
    // The rule for one port is none for the other.
    policy.rules.pop();
    town.publish(policy);
    let read = tokio::time::timeout(DEADLINE, stream.read(&mut octet)).await.unwrap();
    assert!(!matches!(read, Ok(1..)), "{read:?}");
}

#[tokio::test]
async fn the_node_may_ask_what_the_policy_lists_as_probes_and_nothing_else() {
    let town = Town::new().await;
    let (plan, mut policy) = payments();
    policy.probes = vec![ProbeDocument { method: "GET".into(), path: "/livez".into() }];
    let flags = |workload| vec![format!("--probes=127.0.0.1:0={workload}")];
    let bare = town.flagged(plan, flags).await;
    let probes: std::net::SocketAddr =
        bare.config().await["probes"].as_str().unwrap().parse().unwrap();
    let ask = async |call: &str| {
        let response = cellwall_testkit::client::request(probes, call).await.unwrap();
        (response.status().as_u16(), response.body().to_vec())
    };
    // AZ-01: without a policy there are no probes.
    assert_eq!(ask("GET /livez").await, (404, Vec::new()));
    let callee = town.made_ready(bare, "payments", policy).await;
    assert_eq!(ask("GET /livez").await, (200, Vec::new()));
    for call in
        ["POST /livez", "GET /livez?x=1", "GET /livez/", "GET /%6civez/..", "GET /v1/payments/p_1"]
    {
        assert_eq!(ask(call).await, (404, Vec::new()), "{call}");
    }
    // What reached the workload is the sidecar's own request.
    let tcp = TcpStream::connect(probes).await.unwrap();
    let mut connection = cellwall_testkit::client::HttpConnection::over(tcp).await.unwrap();
    let request = cellwall_testkit::client::build("GET /livez").unwrap();
    let request =
        request.header("x-spiffe-id", "spiffe://pay.example/prod/root").header("x-a", "b");
    let response = connection.send(request.body(Default::default()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let seen = callee.seen();
    assert_eq!(seen.len(), 2);
    let said = format!("{seen:?}");
    assert!(!said.contains("root") && !said.contains("x-a"), "{said}");
    let metrics = callee.metrics().await;
    assert_eq!(metrics.sum("cellwall_probes_total", &[("result", "answered")]), 2.0);
    assert_eq!(metrics.sum("cellwall_probes_total", &[("result", "refused")]), 6.0);
}
