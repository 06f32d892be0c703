//! Who we are: nothing without an SVID, the newest one at once, never somebody else.

use cellwall_testkit::{client, tls::DangerousParty, workload_api::X509State};
use tokio::net::TcpStream;

use crate::kit::{DEADLINE, Sidecar, Town, eventually, id, payments};

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
    let tcp = TcpStream::connect(sidecar.inbound).await.unwrap();
    let party = DangerousParty::presenting(&town.svid("checkout")).alpn(&["http/1.1"]);
    let seen = party.probe_server(tcp, b"x", DEADLINE).await;
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
    // Somebody else's identity.
    sidecar.identity.publish(&X509State::issued(&town.ca, &id("ledger")));
    eventually("a refusal", async || refused().await >= 1.0).await;
    // An authority that is not the bundle's.
    let other = cellwall_testkit::ca::TestCa::new("pay.example");
    let foreign = X509State::default().with(
        &id("payments"),
        other.svid(&id("payments")),
        vec![town.ca.root()],
    );
    sidecar.identity.publish(&foreign);
    eventually("another refusal", async || refused().await >= 2.0).await;
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
    let tcp = TcpStream::connect(sidecar.inbound).await.unwrap();
    let party = DangerousParty::presenting(&town.svid("checkout")).alpn(&["http/1.1"]);
    let seen = party.probe_server(tcp, b"x", DEADLINE).await;
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
    let labels = [("result", "refused"), ("reason", "unusable")];
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
