//! The headers in which a workload reads who calls (HTTP-16): those that its policy names, once each
//! and whole, whatever a caller sends and whichever way it comes.

use std::convert::Infallible;

use bytes::Bytes;
use cellwall_policy::{CallDocument, Digest, IdentityHeader, Protocol, SnapshotDocument};
use cellwall_testkit::{ca::Svid, client, strict::lines_any_app_could_read};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::Empty;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::mpsc;

use crate::{
    forwarding::ledger_beside,
    kit::{DEADLINE, Sidecar, Town, eventually, id, payments, policy},
    played::accepting,
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

#[tokio::test]
async fn a_grpc_workload_reads_the_same() {
    let town = Town::new().await;
    let (say, mut seen) = mpsc::channel(1);
    let (address, _tasks) = accepting(move |tcp| {
        let say = say.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let say = say.clone();
            async move {
                say.send(request.into_parts().0.headers).await.unwrap();
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        async move {
            let server = http2::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(tcp), service).await;
        }
    })
    .await;
    let _callee = ledger_beside(&town, address).await;
    let caller = town.caller_of("ledger", Protocol::Grpc).await;
    let call = CallDocument::Grpc { service: "ledger.v1".to_owned(), method: "Post".to_owned() };
    let identity_headers = IdentityHeader::ALL.to_vec();
    let policy = policy("ledger", Protocol::Grpc, &[call]);
    let version = town.publish(SnapshotDocument { identity_headers, ..policy });
    town.control.acknowledged(&id("ledger"), version, DEADLINE).await.unwrap();
    let spoof = HeaderValue::from_static("By=spiffe://a/b;URI=spiffe://a/c");
    let forged = ["x-forwarded-client-cert", "x-spiffe-id", "x_spiffe_id"];
    let forged: HeaderMap =
        forged.map(|name| (HeaderName::from_static(name), spoof.clone())).into_iter().collect();
    client::grpc_with(caller.outbound["ledger"], "ledger.v1/Post", forged).await.unwrap();
    let read = seen.recv().await.unwrap();
    let its = |name: &str| {
        let values = read.get_all(name).into_iter();
        values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let hash = Digest::of(&shown(&caller, &town.svid("ledger")).await);
    let element = format!("By={};Hash={hash};URI={}", id("ledger"), id("checkout"));
    assert_eq!(its("x-forwarded-client-cert"), [element]);
    assert_eq!(its("x-spiffe-id"), [id("checkout")]);
    assert!(!read.values().any(|value| *value == spoof), "{read:?}");
}
