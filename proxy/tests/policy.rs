//! What may become policy: signed, for us, never older than what is in force.

use cellwall_api::distribution::Serving;
use cellwall_policy::{PolicySigner, SnapshotDocument};
use cellwall_testkit::distribution::{Event, Said, ScriptedDistribution};

use crate::kit::{DEADLINE, Sidecar, Town, id, payments};

async fn nacked(town: &Town, from: usize) -> (u64, String) {
    let nack = |event: &Event| matches!(event.said, Said::Nack(_));
    match town.control.event(from, DEADLINE, nack).await.unwrap().said {
        Said::Nack(nack) => (nack.version, nack.reason),
        other => panic!("{other:?}"),
    }
}

async fn is_in_force(town: &Town, sidecar: &Sidecar, version: u64) {
    assert_eq!(sidecar.call(&town.svid("checkout"), "POST /v1/payments").await.0, 200);
    let metrics = sidecar.metrics().await;
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let expected = version as f64;
    assert_eq!(metrics.sum("cellwall_policy_version", &[]), expected);
}

#[tokio::test]
async fn a_snapshot_is_acked_with_its_version_and_hash() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let sidecar = town.sidecar(plan, policy).await;
    let ack = |event: &Event| matches!(event.said, Said::Ack(_));
    let event = town.control.event(0, DEADLINE, ack).await.unwrap();
    let Said::Ack(ack) = event.said else { panic!("{event:?}") };
    assert_eq!((event.id, ack.version, ack.hash.len()), (id("payments"), 1, 32));
    let serving = Event {
        said: Said::Serving(Serving {
            addresses: vec![sidecar.inbound.to_string()],
            streams: true,
        }),
        id: id("payments"),
        stream: 0,
    };
    assert!(town.control.events().contains(&serving), "{:#?}", town.control.events());
}

#[tokio::test]
async fn what_the_policy_key_did_not_sign_is_refused() {
    // POL-01
    let town = Town::new().await;
    let (plan, policy) = payments();
    let sidecar = town.sidecar(plan, policy.clone()).await;
    let from = town.control.events().len();
    let stranger = PolicySigner::from_pkcs8(&PolicySigner::generate().unwrap()).unwrap();
    let signed = stranger.sign(&SnapshotDocument { version: 9, ..policy }).unwrap();
    town.control.set_snapshot(&id("payments"), signed.payload, signed.signature);
    let (version, reason) = nacked(&town, from).await;
    assert!(version == 0 && reason.contains("signature"), "{version} {reason}");
    is_in_force(&town, &sidecar, 1).await;
}

#[tokio::test]
async fn a_snapshot_for_somebody_else_is_refused() {
    // POL-01
    let town = Town::new().await;
    let (plan, policy) = payments();
    let sidecar = town.sidecar(plan, policy.clone()).await;
    let from = town.control.events().len();
    let other = SnapshotDocument { callee: id("ledger"), version: 9, ..policy };
    let signed = town.sign(&other);
    town.control.set_snapshot(&id("payments"), signed.payload, signed.signature);
    assert!(nacked(&town, from).await.1.contains(&id("ledger")));
    is_in_force(&town, &sidecar, 1).await;
}

#[tokio::test]
async fn an_older_version_is_refused() {
    // POL-02, as long as the process lives
    let town = Town::new().await;
    let (plan, policy) = payments();
    let sidecar = town.sidecar(plan, policy.clone()).await;
    let newer = town.publish(policy.clone());
    let ack = |event: &Event| matches!(&event.said, Said::Ack(ack) if ack.version == newer);
    town.control.event(0, DEADLINE, ack).await.unwrap();
    let from = town.control.events().len();
    let old = town.sign(&SnapshotDocument { version: 1, rules: Vec::new(), ..policy });
    town.control.set_snapshot(&id("payments"), old.payload, old.signature);
    let (version, reason) = nacked(&town, from).await;
    assert!(version == 1 && reason.contains("older"), "{version} {reason}");
    is_in_force(&town, &sidecar, newer).await;
}

#[tokio::test]
async fn whoever_is_not_the_control_plane_is_not_listened_to() {
    // CP-01: a workload with a good SVID, at the control plane's address
    let mut town = Town::new().await;
    let impostor = ScriptedDistribution::start_on(([127, 0, 0, 1], 0).into(), &town.svid("ledger"))
        .await
        .unwrap();
    town.control = impostor;
    let (plan, policy) = payments();
    town.publish(policy);
    let mut sidecar = town.bare(plan).await;
    sidecar
        .identity
        .publish(&cellwall_testkit::workload_api::X509State::issued(&town.ca, &id("payments")));
    let refused = |line: &serde_json::Value| {
        line["message"] == "control stream ended"
            && line["error"].as_str().is_some_and(|error| error.contains("unexpected_peer"))
    };
    sidecar.process.logged(DEADLINE, refused).await.unwrap();
    assert_eq!(sidecar.ready().await, (503, "no verified policy\n".to_owned()));
    assert_eq!(town.control.events(), []);
}

#[tokio::test]
async fn the_policy_in_force_outlives_the_control_plane() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let sidecar = town.sidecar(plan, policy).await;
    town.control.cut_streams();
    is_in_force(&town, &sidecar, 1).await;
    let back = |event: &Event| event.stream > 0 && matches!(event.said, Said::Ack(_));
    town.control.event(0, DEADLINE, back).await.unwrap();
}

#[tokio::test]
async fn a_renewed_svid_opens_the_next_stream_before_the_last_one_ends() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let sidecar = town.sidecar(plan, policy).await;
    let state = cellwall_testkit::workload_api::X509State::issued(&town.ca, &id("payments"));
    sidecar.identity.publish(&state);
    let left = |event: &Event| event.stream == 0 && event.said == Said::Left;
    town.control.event(0, DEADLINE, left).await.unwrap();
    let events = town.control.events();
    let serving =
        events.iter().position(|event| event.stream == 1 && matches!(event.said, Said::Serving(_)));
    assert!(serving < events.iter().position(left) && serving.is_some(), "{events:#?}");
}
