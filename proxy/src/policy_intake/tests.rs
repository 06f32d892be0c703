use std::{sync::Arc, time::Duration};

use cellwall_api::distribution::{SignedSnapshot as WireSnapshot, proxy_message::Message};
use cellwall_policy::{PolicyKey, PolicySigner, SnapshotDocument};

use super::PolicyIntake;
use crate::{
    Identities, Live,
    authority::tests::{policy, somebody_else, stranger},
    live::Watch,
    standing::Standing,
};

/// A control plane's key, and an intake that believes it.
fn intake() -> (PolicySigner, PolicyIntake, Watch) {
    let signer = PolicySigner::from_pkcs8(&PolicySigner::generate().unwrap()).unwrap();
    let key = PolicyKey::from_pem(signer.public_key_pem().unwrap().as_bytes()).unwrap();
    let identities = Identities::default();
    identities.hold(stranger());
    let live = Arc::new(Live::default());
    let watch = live.watch();
    let intake = PolicyIntake::new(key, identities, live, Arc::new(Standing::default()), None);
    (signer, intake, watch)
}

fn wire(signer: &PolicySigner, document: &SnapshotDocument) -> WireSnapshot {
    let signed = signer.sign(document).unwrap();
    WireSnapshot { payload: signed.payload, signature: signed.signature }
}

async fn is_published(watch: &mut Watch) -> bool {
    tokio::time::timeout(Duration::ZERO, watch.changed()).await.is_ok()
}

#[tokio::test]
async fn the_policy_in_force_is_not_put_in_force_again() {
    let (signer, intake, mut watch) = intake();
    let first = wire(&signer, &policy(true));
    // Whatever signature comes with it: one was verified for these bytes.
    let unsigned = WireSnapshot { signature: Vec::new(), ..first.clone() };
    for (snapshot, is_new) in [(&first, true), (&first, false), (&unsigned, false)] {
        let answer = intake.take(snapshot.clone()).await;
        assert!(matches!(&answer, Message::Ack(ack) if ack.version == 1), "{answer:?}");
        assert_eq!(is_published(&mut watch).await, is_new);
    }
}

#[tokio::test]
async fn what_was_in_force_before_is_judged_again() {
    // POL-02
    let (signer, intake, mut watch) = intake();
    let older = wire(&signer, &policy(true));
    let newer = wire(&signer, &SnapshotDocument { version: 2, ..policy(false) });
    for (snapshot, is_taken) in [(&older, true), (&newer, true), (&older, false)] {
        let answer = intake.take(snapshot.clone()).await;
        assert_eq!(matches!(answer, Message::Ack(_)), is_taken, "{answer:?}");
        assert_eq!(is_published(&mut watch).await, is_taken);
    }
    // And of one that is in force no more, though nothing newer is.
    intake.policy.withdraw();
    assert!(is_published(&mut watch).await);
    assert!(matches!(intake.take(newer).await, Message::Ack(_)));
    assert!(is_published(&mut watch).await);
}

#[tokio::test]
async fn what_was_in_force_for_another_identity_is_judged_again() {
    let (signer, intake, _) = intake();
    let snapshot = wire(&signer, &policy(true));
    assert!(matches!(intake.take(snapshot.clone()).await, Message::Ack(_)));
    intake.identities.hold(somebody_else());
    assert!(matches!(intake.take(snapshot).await, Message::Nack(_)));
}
