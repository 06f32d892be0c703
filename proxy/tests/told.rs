//! The headers in which a workload reads who calls (HTTP-16): those that its policy names, once each
//! and whole, whatever a caller sends and whichever way it comes.

use cellwall_policy::{Digest, IdentityHeader, Protocol, SnapshotDocument};
use cellwall_testkit::{ca::Svid, strict::lines_any_app_could_read};

use crate::{
    kit::{Sidecar, Town, eventually, id, payments},
    spoofs::{Caller, Fields, PLACES, SPELLINGS, Tally, Way, Workload, fields, h1, scene, sorted},
};

/// Payments' policy, whose workload reads who calls in these headers.
fn told_in(headers: &[IdentityHeader]) -> SnapshotDocument {
    SnapshotDocument { identity_headers: headers.to_vec(), ..payments().1 }
}

pub(crate) fn ours() -> String {
    format!("x-spiffe-id: {}", id("checkout"))
}

/// Envoy's header as its manual has it, of a caller with this certificate.
pub(crate) fn envoys(der: &[u8]) -> String {
    let (callee, hash, caller) = (id("payments"), Digest::of(der), id("checkout"));
    format!("x-forwarded-client-cert: By={callee};Hash={hash};URI={caller}")
}

/// The certificate that a sidecar shows.
async fn shown(sidecar: &Sidecar, svid: &Svid) -> Vec<u8> {
    let stream = sidecar.dial(svid, &["http/1.1"]).await;
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// Every spelling in every place, over one kept connection of each version.
async fn check(way: Way<'_>, told: &[String], workload: &mut Workload) {
    let mut tally = Tally::of(told);
    let (mut over_h1, mut over_h2) = (Caller::new(way), Caller::new(way));
    for spelling in SPELLINGS {
        for place in PLACES {
            let (case, spoof) = (format!("{spelling} {place:?}"), fields(spelling, place));
            let answered = over_h1.over_h1(&h1(&spoof)).await;
            assert!(answered, "{case}: a right request was refused");
            tally.judge(format!("h1 {case}"), answered, workload);
            let answered = over_h2.over_h2(&spoof).await;
            assert_eq!(answered, place.is_legal_over_h2(spelling), "{case}");
            tally.judge(format!("h2 {case}"), answered, workload);
        }
    }
    tally.show();
}

#[tokio::test]
async fn a_workload_that_reads_envoys_header_sees_ours_of_it_and_no_callers() {
    let town = Town::new().await;
    let policy = told_in(&[IdentityHeader::ForwardedClientCert]);
    let (callee, mut workload) = scene(&town, policy).await;
    let svid = town.svid("checkout");
    let told = [envoys(&svid.chain[0])];
    check(Way::Straight(&callee, &svid), &told, &mut workload).await;
}

#[tokio::test]
async fn the_same_through_both_sidecars_with_the_hash_of_the_callers_own_certificate() {
    let town = Town::new().await;
    let (_callee, mut workload) = scene(&town, told_in(&IdentityHeader::ALL)).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let told = [envoys(&shown(&caller, &town.svid("checkout")).await), ours()];
    check(Way::Through(caller.outbound["payments"]), &told, &mut workload).await;
}

#[tokio::test]
async fn what_a_workload_is_told_follows_the_policy_on_a_connection_that_is_kept() {
    let town = Town::new().await;
    let (callee, mut workload) = scene(&town, told_in(&IdentityHeader::USUAL)).await;
    let svid = town.svid("checkout");
    let mut caller = Caller::new(Way::Straight(&callee, &svid));
    let element = envoys(&svid.chain[0]);
    for (headers, told) in [
        (&IdentityHeader::ALL[..1], vec![ours()]),
        (&IdentityHeader::ALL[1..], vec![element.clone()]),
        (&IdentityHeader::ALL, vec![element.clone(), ours()]),
        (&IdentityHeader::ALL[..1], vec![ours()]),
    ] {
        let version = town.publish(told_in(headers));
        eventually("the policy", async || callee.config().await["policy_version"] == version).await;
        assert!(caller.over_h1(&h1(&Fields::default())).await);
        let read = workload.seen.recv().await.unwrap();
        assert_eq!(sorted(lines_any_app_could_read(&read)), told, "{headers:?}");
    }
}
