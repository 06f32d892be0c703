//! Policy and addresses over mutual TLS: to whom, what, and what is believed.

use std::{path::PathBuf, time::SystemTime};

use cellwall_policy::{Call, PolicyVersion, Tls, Verdict};
use cellwall_testkit::{ca::TestCa, tls::DangerousParty};
use spiffe::SpiffeId;
use tokio::net::TcpStream;
use tonic::Code;

use crate::{
    daemon::{DEADLINE, Daemon},
    policy::{we_are_both, we_are_nobody, we_are_web, web_alone},
    sidecar::{Sidecar, hello, open},
    svid::Svid,
    workload::svid,
};

const WEB: &str = "spiffe://pay.example/prod/web";
const DB: &str = "spiffe://pay.example/prod/db";

/// A control plane where this process is both workloads, and the SVIDs of both.
async fn both() -> (Daemon, Svid, Svid) {
    let daemon = Daemon::start_with_policy(&[], &we_are_both()).await;
    let web = svid(&daemon.workload_socket, "/prod/web").await;
    let db = svid(&daemon.workload_socket, "/prod/db").await;
    (daemon, web, db)
}

fn policy_key(daemon: &Daemon) -> PathBuf {
    daemon.data().join("policy-key.pem")
}

#[tokio::test]
async fn a_sidecar_gets_its_own_signed_policy_and_is_synced_once_it_acks() {
    // POL-01, POL-04, POL-05
    let (daemon, _, db) = both().await;
    let mut sidecar = Sidecar::attach(daemon.mesh, &db, hello("db-1", &[])).await.unwrap();
    let (snapshot, hash) = open(&policy_key(&daemon), sidecar.snapshot().await, DB);
    assert_eq!((snapshot.version(), &**snapshot.workload()), (PolicyVersion(1), "db"));
    let decide = |caller: &str| {
        let caller = SpiffeId::new(caller).unwrap();
        snapshot
            .decide(&caller, &Tls::default(), &Call::Tcp { port: 5432 }, SystemTime::now())
            .verdict
    };
    assert_eq!((decide(WEB), decide(DB)), (Verdict::Allow, Verdict::Deny));
    let row = daemon.row("proxies", |row| row["instance"] == "db-1").await;
    assert_eq!((&row["sync"], &row["policy_version"]), (&"pending".into(), &().into()));
    sidecar.ack(1, hash).await;
    let row = daemon.row("proxies", |row| row["sync"] == "synced").await;
    assert_eq!(row["policy_version"], 1);
    assert_eq!((&row["spiffe_id"], &row["workload"]), (&DB.into(), &"db".into()));
    assert_eq!((&row["environment"], &row["software"]), (&"prod".into(), &"0.0.1".into()));
    assert_eq!(row["svid_serial"], db.serial());
    assert!(row["acked_at"].is_string());
    let converged = |metrics: &cellwall_testkit::scrape::Metrics| {
        metrics.sum("cellwall_control_convergence_seconds_count", &[]) == 1.0
            && metrics.sum("cellwall_control_proxies", &[("state", "synced")]) == 1.0
    };
    daemon.measured(converged).await;
}

#[tokio::test]
async fn an_ack_of_another_payload_is_no_ack() {
    // POL-05
    let (daemon, web, _) = both().await;
    let mut sidecar = Sidecar::attach(daemon.mesh, &web, hello("web-1", &[])).await.unwrap();
    sidecar.snapshot().await;
    sidecar.ack(1, [7; 32]).await;
    let row = daemon.row("proxies", |row| row["sync"] == "nacked").await;
    assert!(row["policy_version"].is_null());
    assert_eq!(row["reason"], "acknowledged another payload than was sent");
}

#[tokio::test]
async fn a_new_version_is_pushed_and_a_refusal_is_shown_with_its_reason() {
    let (daemon, web, _) = both().await;
    let mut sidecar = Sidecar::attach(daemon.mesh, &web, hello("web-1", &[])).await.unwrap();
    let (_, first) = open(&policy_key(&daemon), sidecar.snapshot().await, WEB);
    sidecar.ack(1, first).await;
    daemon.row("proxies", |row| row["sync"] == "synced").await;
    assert_eq!(daemon.apply(&we_are_both()).await, 2);
    let (snapshot, second) = open(&policy_key(&daemon), sidecar.snapshot().await, WEB);
    assert_eq!(snapshot.version(), PolicyVersion(2));
    // The answer to a version that has been overtaken says nothing about this one.
    sidecar.nack(1, first, "late").await;
    sidecar.nack(2, second, "no room").await;
    let row = daemon.row("proxies", |row| row["sync"] == "nacked").await;
    assert_eq!((&row["policy_version"], &row["reason"]), (&1.into(), &"no room".into()));
    sidecar.ack(2, second).await;
    let row = daemon.row("proxies", |row| row["sync"] == "synced").await;
    assert_eq!((&row["policy_version"], &row["reason"]), (&2.into(), &().into()));
}

#[tokio::test]
async fn addresses_are_those_that_the_workload_itself_serves_at_while_it_does() {
    let (daemon, web, db) = both().await;
    let names = hello("web-1", &["db", "staging/db", "nobody"]);
    let mut caller = Sidecar::attach(daemon.mesh, &web, names).await.unwrap();
    let (snapshot, _) = open(&policy_key(&daemon), caller.snapshot().await, WEB);
    assert_eq!(snapshot.destination("db").unwrap().id.to_string(), DB);
    let staging = "spiffe://pay.example/staging/db";
    assert_eq!(snapshot.destination("staging/db").unwrap().id.to_string(), staging);
    assert!(snapshot.destination("nobody").is_none());
    // Of those that nobody serves yet it says nothing: the caller may know better.
    assert_eq!(caller.endpoints().await, ("nobody".into(), vec![]));
    let callee = Sidecar::attach(daemon.mesh, &db, hello("db-1", &[])).await.unwrap();
    callee.serve(&["127.0.0.1:5433", "127.0.0.1:5432"]).await;
    let expected = vec!["127.0.0.1:5432".to_owned(), "127.0.0.1:5433".to_owned()];
    assert_eq!(caller.endpoints().await, ("db".into(), expected));
    // What the caller serves is the caller's, whatever it says: nothing changes for `db`.
    caller.serve(&["127.0.0.1:6666"]).await;
    let other = Sidecar::attach(daemon.mesh, &db, hello("db-2", &[])).await.unwrap();
    other.serve(&["127.0.0.1:5434"]).await;
    drop(callee);
    // One goes and one comes, in whichever order; it ends with the one.
    let last = ("db".to_owned(), vec!["127.0.0.1:5434".to_owned()]);
    loop {
        let told = caller.endpoints().await;
        assert!(!told.1.contains(&"127.0.0.1:6666".to_owned()));
        if told == last {
            break;
        }
    }
    let row = daemon.row("proxies", |row| row["instance"] == "web-1").await;
    assert_eq!(row["addresses"], serde_json::json!(["127.0.0.1:6666"]));
    drop(other);
    assert_eq!(caller.endpoints().await, ("db".into(), vec![]));
}

#[tokio::test]
async fn streams_are_taken_where_every_sidecar_that_serves_there_says_so() {
    let (daemon, web, db) = both().await;
    let mut caller = Sidecar::attach(daemon.mesh, &web, hello("web-1", &["db"])).await.unwrap();
    caller.snapshot().await;
    let list = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (here, there) = ("127.0.0.1:5432", "127.0.0.1:5433");
    let new = Sidecar::attach(daemon.mesh, &db, hello("db-1", &[])).await.unwrap();
    new.serve_streams(&[here]).await;
    assert_eq!(caller.places().await, (list(&[here]), list(&[here])));
    // A release that does not know of them, elsewhere and then in its place.
    let old = Sidecar::attach(daemon.mesh, &db, hello("db-2", &[])).await.unwrap();
    old.serve(&[there]).await;
    assert_eq!(caller.places().await, (list(&[here, there]), list(&[here])));
    old.serve(&[here]).await;
    assert_eq!(caller.places().await, (list(&[here]), list(&[])));
}

#[tokio::test]
async fn without_an_svid_of_this_trust_domain_nobody_gets_past_tls() {
    // TLS-03, CP-02, ID-05
    let daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let foreign = TestCa::new("other.example").svid("spiffe://other.example/prod/web");
    let lookalike = TestCa::new("pay.example").svid(WEB);
    for party in [
        DangerousParty::anonymous(),
        DangerousParty::presenting(&foreign),
        DangerousParty::presenting(&lookalike),
    ] {
        let tcp = TcpStream::connect(daemon.mesh).await.unwrap();
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let seen = party.alpn(&["h2"]).probe_server(tcp, preface, DEADLINE).await;
        assert!(!seen.is_let_in(), "{seen:?}");
    }
    let refused = |metrics: &cellwall_testkit::scrape::Metrics| {
        metrics.sum("cellwall_tls_handshakes_total", &[("result", "refused")]) == 3.0
    };
    daemon.measured(refused).await;
    let metrics = daemon.metrics().await;
    let reasons = metrics.values("cellwall_tls_handshakes_total", "reason");
    assert!(reasons.contains(&"no_certificate"), "{reasons:?}");
}

#[tokio::test]
async fn whoever_is_no_workload_of_the_policy_in_force_is_refused_and_cut_off() {
    // CP-02, CP-03
    let (daemon, web, db) = both().await;
    let mut sidecar = Sidecar::attach(daemon.mesh, &db, hello("db-1", &[])).await.unwrap();
    sidecar.snapshot().await;
    daemon.apply(&web_alone()).await;
    assert_eq!(sidecar.end().await.code(), Code::PermissionDenied);
    let again = Sidecar::attach(daemon.mesh, &db, hello("db-2", &[])).await;
    assert_eq!(again.err().unwrap().code(), Code::PermissionDenied);
    // A workload without an entry cannot be issued anything, yet what it holds is still its own.
    daemon.apply(&we_are_nobody()).await;
    Sidecar::attach(daemon.mesh, &web, hello("web-1", &[])).await.unwrap().snapshot().await;
}

#[tokio::test]
async fn a_sidecar_that_is_out_of_order_is_cut_off() {
    let (daemon, web, _) = both().await;
    let no_hello = cellwall_api::distribution::proxy_message::Message::Serving(
        cellwall_api::distribution::Serving::default(),
    );
    let mut silent = Sidecar::attach(daemon.mesh, &web, no_hello).await.unwrap();
    assert_eq!(silent.end().await.code(), Code::InvalidArgument);
    let mut twice = Sidecar::attach(daemon.mesh, &web, hello("a", &[])).await.unwrap();
    twice.say(hello("b", &[])).await;
    assert_eq!(twice.end().await.code(), Code::InvalidArgument);
    let mut nowhere = Sidecar::attach(daemon.mesh, &web, hello("a", &[])).await.unwrap();
    nowhere.serve(&["0.0.0.0:1"]).await;
    assert_eq!(nowhere.end().await.code(), Code::InvalidArgument);
    let mut noisy = Sidecar::attach(daemon.mesh, &web, hello("a", &[])).await.unwrap();
    for _ in 0..257 {
        noisy.ack(9, [0; 32]).await;
    }
    assert_eq!(noisy.end().await.code(), Code::ResourceExhausted);
    daemon.measured(|metrics| metrics.sum("cellwall_control_proxies", &[]) == 0.0).await;
}
