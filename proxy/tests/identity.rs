//! Who we are: nothing without an SVID, the newest one at once, never somebody else.

use std::time::Duration;

use cellwall_policy::Protocol;
use cellwall_testkit::{client, tls::DangerousParty, workload_api::X509State, x509::Validity};
use tokio::net::TcpStream;

use crate::kit::{DEADLINE, Sidecar, Town, checkout, destination, eventually, id, payments};

/// The serial number that the sidecar presents now.
async fn presented(sidecar: &Sidecar) -> Option<String> {
    let response = client::request(sidecar.admin, "GET /config").await.ok()?;
    let config: serde_json::Value = serde_json::from_slice(response.body()).ok()?;
    config["svid_serial"].as_str().map(str::to_owned)
}

fn hex(serial: &[u8]) -> String {
    let digits: String = serial.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.trim_start_matches("00").to_owned()
}

#[tokio::test]
async fn without_an_svid_nothing_is_accepted_and_nobody_is_told_ready() {
    // ID-21
    let town = Town::new().await;
    let (plan, policy) = payments();
    town.publish(policy);
    let mut sidecar = town.bare(plan).await;
    assert_eq!(sidecar.ready().await, (503, "no valid svid\nno verified policy\n".to_owned()));
    let seen = sidecar.probed_by(&town.svid("checkout")).await;
    assert!(!seen.is_let_in(), "{seen:?}");
    let line = sidecar.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.tls.reason"], "no_own_identity");
    sidecar.identity.publish(&X509State::issued(&town.ca, &id("payments")));
    sidecar.process.message("ready", DEADLINE).await.unwrap();
    assert_eq!(sidecar.ready().await.0, 200);
}

#[tokio::test]
async fn a_renewed_svid_is_presented_at_once_and_open_connections_stay() {
    // ROT-01, WEP-04
    let town = Town::new().await;
    let (plan, policy) = payments();
    let sidecar = town.sidecar(plan, policy).await;
    let mut open = sidecar.http(&town.svid("checkout")).await;
    let renewed = town.svid("payments");
    let serial = hex(&renewed.serial);
    let state = X509State::default().with(&id("payments"), renewed, vec![town.ca.root()]);
    sidecar.identity.publish(&state);
    eventually("the new serial", async || presented(&sidecar).await == Some(serial.clone())).await;
    let request = client::build("POST /v1/payments").unwrap().body(Default::default()).unwrap();
    assert_eq!(open.send(request).await.unwrap().status(), 200);
    assert_eq!(sidecar.call(&town.svid("checkout"), "POST /v1/payments").await.0, 200);
    let calls = sidecar.identity.calls();
    assert_eq!(calls.without_header, 0);
}

#[tokio::test]
async fn a_bad_update_is_refused_and_the_old_svid_stays() {
    // WAPI-10, ROT-07
    let town = Town::new().await;
    let (plan, policy) = payments();
    let sidecar = town.sidecar(plan, policy).await;
    let before = presented(&sidecar).await;
    let refused = async || {
        let metrics = sidecar.metrics().await;
        metrics.sum("cellwall_svid_rotations_total", &[("result", "refused")])
    };
    // An authority that is not the bundle's.
    let other = cellwall_testkit::ca::TestCa::new("pay.example");
    let foreign = X509State::default().with(
        &id("payments"),
        other.svid(&id("payments")),
        vec![town.ca.root()],
    );
    sidecar.identity.publish(&foreign);
    eventually("a refusal", async || refused().await >= 1.0).await;
    assert_eq!(presented(&sidecar).await, before);
    assert_eq!(sidecar.call(&town.svid("checkout"), "POST /v1/payments").await.0, 200);
}

#[tokio::test]
async fn a_withdrawn_svid_is_used_no_more() {
    // WAPI-15
    let town = Town::new().await;
    let (plan, policy) = payments();
    let sidecar = town.sidecar(plan, policy).await;
    sidecar.identity.redact();
    eventually("not ready", async || sidecar.ready().await.0 == 503).await;
    let seen = sidecar.probed_by(&town.svid("checkout")).await;
    assert!(!seen.is_let_in(), "{seen:?}");
    sidecar.identity.publish(&X509State::issued(&town.ca, &id("payments")));
    eventually("ready again", async || sidecar.ready().await.0 == 200).await;
}

#[tokio::test]
async fn after_a_withdrawal_nobody_but_ourselves_comes_back() {
    // ID-20, WAPI-10: the policy in force is that of our own ID
    let town = Town::new().await;
    let (plan, policy) = payments();
    let sidecar = town.sidecar(plan, policy).await;
    sidecar.identity.redact();
    eventually("not ready", async || sidecar.ready().await.0 == 503).await;
    sidecar.identity.publish(&X509State::issued(&town.ca, &id("ledger")));
    let labels = [("result", "refused"), ("reason", "redacted")];
    let refused = async || {
        sidecar.metrics().await.sum("cellwall_svid_rotations_total", &labels) >= 1.0
            || sidecar.ready().await.0 == 200
    };
    eventually("an answer", refused).await;
    assert_eq!(sidecar.ready().await.0, 503, "payments became ledger");
    sidecar.identity.publish(&X509State::issued(&town.ca, &id("payments")));
    eventually("ready again", async || sidecar.ready().await.0 == 200).await;
}

#[tokio::test]
async fn a_removed_authority_is_trusted_no_more() {
    // WAPI-07, X5-16
    let town = Town::new().await;
    let (plan, policy) = payments();
    let sidecar = town.sidecar(plan, policy).await;
    let partner = cellwall_testkit::ca::TestCa::new("partner.example");
    let state = || X509State::issued(&town.ca, &id("payments"));
    let probe = async || {
        let tcp = TcpStream::connect(sidecar.inbound).await.unwrap();
        let svid = partner.svid("spiffe://partner.example/a");
        let party = DangerousParty::presenting(&svid).alpn(&["http/1.1"]);
        let hello = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        party.probe_server(tcp, hello, DEADLINE).await.is_let_in()
    };
    assert!(!probe().await);
    sidecar.identity.publish(&state().federated("partner.example", &[partner.root()]));
    eventually("trusted", &probe).await;
    sidecar.identity.publish(&state());
    eventually("trusted no more", async || !probe().await).await;
}

#[tokio::test]
async fn an_svid_that_has_ended_is_not_used() {
    // ID-21, ROT-10: nobody renews it; what is ours to refuse, we refuse ourselves
    let town = Town::new().await;
    let (plan, policy) = checkout(&["payments"], vec![destination("payments", Protocol::Http)]);
    let callee = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    callee.set_nonblocking(true).unwrap();
    town.control.set_endpoints("payments", &[callee.local_addr().unwrap().to_string()]);
    let mut sidecar = town.sidecar(plan, policy).await;
    sidecar.knows("payments").await;
    let validity = Validity::around_now(Duration::from_secs(60), Duration::from_secs(3));
    let short = town.ca.svid_valid(&id("checkout"), validity);
    let state = X509State::default().with(&id("checkout"), short, vec![town.ca.root()]);
    sidecar.renewed(&state).await;
    assert_eq!(sidecar.ready().await, (200, "ready\n".to_owned()));
    eventually("its end", async || sidecar.ready().await.0 == 503).await;
    assert_eq!(sidecar.ready().await.1, "no valid svid\n");
    let seen = sidecar.probed_by(&town.svid("payments")).await;
    assert_eq!((seen.is_let_in(), seen.certificates), (false, Vec::new()));
    let line = sidecar.logged(|line| line["cellwall.direction"] == "inbound").await;
    assert_eq!(line["cellwall.tls.reason"], "no_own_identity");
    let (status, body) = sidecar.reach("payments", "POST /v1/payments").await;
    assert_eq!(status, 503, "{body}");
    let line = sidecar.logged(|line| line["cellwall.direction"] == "outbound").await;
    assert_eq!(line["cellwall.tls.reason"], "no_own_identity");
    let dialled = callee.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(dialled, Err(std::io::ErrorKind::WouldBlock));
}

#[tokio::test]
async fn of_several_svids_the_one_that_was_asked_for_is_taken() {
    // WAPI-22: whatever the order, and none in its place
    let town = Town::new().await;
    let (plan, policy) = payments();
    town.publish(policy);
    let flag = format!("--spiffe-id={}", id("payments"));
    let mut sidecar = town.told(plan, ([127, 0, 0, 1], 9).into(), &[&flag]).await;
    sidecar.identity.publish(&X509State::issued(&town.ca, &id("ledger")));
    let labels = [("result", "refused"), ("reason", "redacted")];
    let refused =
        async || sidecar.metrics().await.sum("cellwall_svid_rotations_total", &labels) >= 1.0;
    eventually("a refusal", refused).await;
    assert_eq!(sidecar.ready().await.0, 503);
    let ours = X509State::issued(&town.ca, &id("payments"));
    let other_first = X509State::issued(&town.ca, &id("ledger")).with(
        &id("payments"),
        town.svid("payments"),
        vec![town.ca.root()],
    );
    sidecar.identity.publish(&other_first);
    sidecar.process.message("ready", DEADLINE).await.unwrap();
    assert_eq!(sidecar.config().await["spiffe_id"], id("payments"));
    let ours_first = ours.with(&id("ledger"), town.svid("ledger"), vec![town.ca.root()]);
    sidecar.renewed(&ours_first).await;
    assert_eq!(sidecar.config().await["spiffe_id"], id("payments"));
}

#[tokio::test]
async fn an_anchor_that_ends_is_dropped_without_being_told() {
    // ID-11: by the clock, and what it signed goes with it
    let town = Town::new().await;
    let (plan, policy) = payments();
    let mut sidecar = town.sidecar(plan, policy).await;
    let short = Validity::around_now(Duration::from_secs(60), Duration::from_secs(3));
    let partner = cellwall_testkit::ca::TestCa::valid("partner.example", short);
    let state = X509State::issued(&town.ca, &id("payments"));
    sidecar.renewed(&state.federated("partner.example", &[partner.root()])).await;
    let before = sidecar.config().await["generation"].as_u64();
    let labels = [("trust_domain", "partner.example")];
    let end = short.not_after.duration_since(std::time::UNIX_EPOCH).unwrap();
    let said = sidecar.metrics().await.sum("cellwall_bundle_expiration_timestamp_seconds", &labels);
    assert_eq!(said, Duration::from_secs(end.as_secs()).as_secs_f64());
    eventually("dropped", async || sidecar.config().await["generation"].as_u64() > before).await;
    assert!(std::time::SystemTime::now() > short.not_after);
    let line = sidecar.process.message("anchor left out", DEADLINE).await.unwrap();
    assert_eq!(line["trust_domain"], "partner.example");
    assert_eq!(sidecar.call(&town.svid("checkout"), "POST /v1/payments").await.0, 200);
}
