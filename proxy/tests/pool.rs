//! A connection between sidecars is used only for what it was opened for, and while it holds.

use std::time::{Duration, SystemTime};

use cellwall_policy::{DestinationDocument, Protocol, SnapshotDocument};
use cellwall_testkit::{workload_api::X509State, x509::Validity};

use crate::{
    kit::{DEADLINE, Sidecar, Town, checkout, destination, id, payments},
    played::Played,
};

/// Checkout's sidecar and its policy; payments is at `address`.
async fn caller(town: &Town, address: String) -> (Sidecar, SnapshotDocument) {
    let (plan, policy) = checkout(&["payments"], vec![destination("payments", Protocol::Http)]);
    town.control.set_endpoints("payments", &[address]);
    let caller = town.sidecar(plan, policy.clone()).await;
    caller.knows("payments").await;
    (caller, policy)
}

async fn pay(caller: &Sidecar) -> (u16, String) {
    caller.reach("payments", "POST /v1/payments").await
}

/// Waits until so many connections have been opened to `callee`. A proof for one of them is a handshake of its
/// own, and comes some time after a renewal.
async fn opened(callee: &Sidecar, connections: f64) {
    let settled = async {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        loop {
            tick.tick().await;
            let metrics = callee.metrics().await;
            let labels = [("direction", "inbound"), ("result", "ok")];
            let handshakes = metrics.sum("cellwall_tls_handshakes_total", &labels);
            let proofs = metrics.sum("cellwall_reproofs_total", &labels[..1]);
            if (handshakes - proofs - connections).abs() < 0.5 {
                return;
            }
        }
    };
    let settled = tokio::time::timeout(DEADLINE, settled).await;
    assert!(settled.is_ok(), "not {connections} connections");
}

#[tokio::test]
async fn an_open_connection_is_not_used_for_another_spiffe_id() {
    // AZ-13: the policy now means another workload, and the old one still answers there
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let (caller, policy) = caller(&town, callee.inbound.to_string()).await;
    assert_eq!(pay(&caller).await.0, 200);
    let moved = DestinationDocument { id: id("ledger"), ..policy.destinations[0].clone() };
    let version = town.publish(SnapshotDocument { destinations: vec![moved], ..policy });
    town.control.acknowledged(&id("checkout"), version, DEADLINE).await.unwrap();
    let (status, body) = pay(&caller).await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains(r#""reason":"tls_refused","sent":"no""#), "{body}");
    assert_eq!(callee.seen().len(), 1);
    let labels = [("direction", "outbound"), ("reason", "unexpected_peer")];
    assert_eq!(caller.metrics().await.sum("cellwall_tls_handshakes_total", &labels), 1.0);
}

#[tokio::test]
async fn a_renewed_svid_keeps_the_connection_and_other_trust_opens_a_new_one() {
    // AZ-13, ROT-03: the old root stays beside the new one
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let (caller, _) = caller(&town, callee.inbound.to_string()).await;
    assert_eq!(pay(&caller).await.0, 200);
    caller.renewed(&X509State::issued(&town.ca, &id("checkout"))).await;
    assert_eq!(pay(&caller).await.0, 200);
    opened(&callee, 1.0).await;
    let next = town.ca.rotated();
    let both = X509State::issued(&town.ca, &id("checkout")).trusting(&[&town.ca, &next]);
    caller.renewed(&both).await;
    for _ in 0..3 {
        assert_eq!(pay(&caller).await.0, 200);
    }
    opened(&callee, 2.0).await;
}

#[tokio::test]
async fn no_call_begins_on_a_connection_that_is_about_to_end() {
    // AZ-13, ROT-05: the other end does not say so; our own SVID was renewed long before
    let town = Town::new().await;
    let mut callee = Played::sidecar(&town.svid("payments")).await;
    let (caller, _) = caller(&town, callee.address.to_string()).await;
    let validity = Validity::around_now(Duration::from_secs(60), Duration::from_secs(4));
    let short = town.ca.svid_valid(&id("checkout"), validity);
    let state = X509State::default().with(&id("checkout"), short, vec![town.ca.root()]);
    caller.renewed(&state).await;
    assert_eq!(pay(&caller).await.0, 200);
    let first = callee.next().await.connection;
    caller.renewed(&X509State::issued(&town.ca, &id("checkout"))).await;
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let moved = loop {
        tick.tick().await;
        assert_eq!(pay(&caller).await.0, 200);
        let arrived = callee.next().await;
        if arrived.connection != first {
            break arrived.at;
        }
        assert!(SystemTime::now() < validity.not_after + DEADLINE, "it never moved");
    };
    // A certificate is valid through its last second.
    let not_after = validity.not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(not_after.as_secs() + 1);
    assert!(moved < end, "only when it had ended");
}
