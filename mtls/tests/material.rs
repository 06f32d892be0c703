//! What may become a generation of material, and what keeps the one before in force.

use std::time::{Duration, SystemTime};

use cellwall_mtls::{Alpn, DenyList, MaterialError, MaterialInput, Refusal, Serial, TlsMaterial};
use cellwall_testkit::{
    ca::TestCa,
    x509::{Extension, Name, Validity, oid},
};
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::kit::{CHECKOUT, PAYMENTS, accept_from, bundles, id, input, material};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn own(result: Result<TlsMaterial, MaterialError>) -> Refusal {
    match result.unwrap_err() {
        MaterialError::OwnSvid { refusal, .. } => refusal,
        other => panic!("{other}"),
    }
}

#[test]
fn a_generation_knows_its_svid_and_its_ends() {
    let ca = TestCa::new("pay.example");
    let svid = ca.svid(CHECKOUT);
    let material = material(&svid, bundles(&[&ca])).unwrap();
    assert_eq!(material.id().to_string(), CHECKOUT);
    assert_eq!(*material.serial(), Serial::new(&svid.serial));
    assert!(material.not_after() > UnixTime::now());
    assert!(material.authority_end() <= material.not_after());
    assert_eq!(material.anchor_ends().count(), 1);
    assert_eq!(material.defects(), []);
}

#[test]
fn a_key_that_does_not_fit_is_refused() {
    let ca = TestCa::new("pay.example");
    let mut mixed = input(&ca.svid(CHECKOUT), bundles(&[&ca]));
    mixed.key = ca.svid(PAYMENTS).key;
    assert!(matches!(TlsMaterial::build(mixed).unwrap_err(), MaterialError::Key(_)));
}

#[test]
fn an_svid_that_no_peer_would_accept_is_refused() {
    let (ca, other) = (TestCa::new("pay.example"), TestCa::new("partner.example"));
    let now = SystemTime::now();
    let past = Validity { not_before: now - 2 * DAY, not_after: now - DAY };
    let expired = ca.svid_valid(CHECKOUT, past);
    assert_eq!(own(material(&expired, bundles(&[&ca]))), Refusal::Expired);
    let foreign = ca.svid(CHECKOUT);
    assert_eq!(own(material(&foreign, bundles(&[&other]))), Refusal::UnknownTrustDomain);
    let draft = TestCa::svid_draft(CHECKOUT).without(oid::EXTENDED_KEY_USAGE);
    assert_eq!(
        own(material(&ca.svid_from(&draft), bundles(&[&ca]))),
        Refusal::ExtendedKeyUsageMissing
    );
    let mut empty = input(&ca.svid(CHECKOUT), bundles(&[&ca]));
    empty.chain.clear();
    assert!(matches!(TlsMaterial::build(empty).unwrap_err(), MaterialError::EmptyChain));
}

#[test]
fn an_empty_bundle_of_our_own_is_refused() {
    let ca = TestCa::new("pay.example");
    let mut empty = bundles(&[&ca]);
    empty.values_mut().for_each(Vec::clear);
    assert_eq!(own(material(&ca.svid(CHECKOUT), empty)), Refusal::AnchorsExpired);
}

#[test]
fn an_expired_anchor_is_left_out_and_said_so() {
    // ID-11
    let ca = TestCa::new("pay.example");
    let now = SystemTime::now();
    let old = TestCa::valid(
        "partner.example",
        Validity { not_before: now - 2 * DAY, not_after: now - DAY },
    );
    let material = material(&ca.svid(CHECKOUT), bundles(&[&ca, &old])).unwrap();
    let [defect] = material.defects() else { panic!("{:?}", material.defects()) };
    assert_eq!(
        (defect.trust_domain.as_str(), defect.refusal),
        ("partner.example", Refusal::Expired)
    );
}

/// A certificate of pay.example that says it is `uri`, with everything else an authority has.
fn authority(ca: &TestCa, uri: &str) -> CertificateDer<'static> {
    let names = Extension::names(&[Name::Uri(uri.as_bytes())]);
    ca.intermediate_from(&ca.intermediate_draft().instead(names)).certificate()
}

#[test]
fn a_certificate_that_is_no_authority_is_left_out_of_its_bundle() {
    // X5-05, X5-06, SPID-11: the slash of the standard's own example is let pass
    let ca = TestCa::new("pay.example");
    let leaf = ca.svid(PAYMENTS).chain.swap_remove(0);
    let table = [
        (leaf, Some(Refusal::IssuerNotCa)),
        (authority(&ca, "https://pay.example"), Some(Refusal::IssuerSpiffeId)),
        (authority(&ca, "spiffe://partner.example"), Some(Refusal::IssuerSpiffeId)),
        (authority(&ca, PAYMENTS), Some(Refusal::IssuerSpiffeId)),
        (authority(&ca, "spiffe://pay.example/"), None),
        (authority(&ca, "spiffe://pay.example"), None),
    ];
    for (odd, expected) in table {
        let mut bundles = bundles(&[&ca]);
        bundles.values_mut().for_each(|anchors| anchors.push(odd.clone()));
        let material = material(&ca.svid(CHECKOUT), bundles).unwrap();
        let refusals: Vec<_> = material.defects().iter().map(|defect| defect.refusal).collect();
        assert_eq!(refusals, Vec::from_iter(expected));
    }
}

#[test]
fn an_svid_has_to_do_in_both_roles() {
    // X5-13: our own, before any peer sees it
    let ca = TestCa::new("pay.example");
    for purpose in [oid::SERVER_AUTH, oid::CLIENT_AUTH] {
        let usage = Extension::extended_key_usage(&[purpose]);
        let draft = TestCa::svid_draft(CHECKOUT).instead(usage);
        let refusal = own(material(&ca.svid_from(&draft), bundles(&[&ca])));
        assert_eq!(refusal, Refusal::ExtendedKeyUsageRole);
    }
}

#[test]
fn an_authority_ends_with_the_first_certificate_of_its_chain() {
    // ROT-05: what a pooled connection is retired by
    let lasting = |hours: u64| Validity::around_now(DAY, Duration::from_secs(3600 * hours));
    let end = |validity: Validity| {
        validity.not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    };
    let (short, long) = (lasting(10), lasting(20));
    // Leaf, lower and upper intermediate, root: each is the first to end, once.
    for first in 0..4 {
        let of = |place| if place == first { short } else { long };
        let root = TestCa::valid("pay.example", of(3));
        let upper = root.intermediate_from(&root.intermediate_draft().valid(of(2)));
        let lower = upper.intermediate_from(&upper.intermediate_draft().valid(of(1)));
        // Another root of the same name, which lasts, is no help.
        let mut bundles = bundles(&[&root]);
        let other = TestCa::valid("pay.example", lasting(30)).root();
        bundles.values_mut().for_each(|anchors| anchors.push(other.clone()));
        let material = material(&lower.svid_valid(CHECKOUT, of(0)), bundles).unwrap();
        assert_eq!(material.authority_end().as_secs(), end(short), "{first}");
    }
}

#[test]
fn the_next_end_of_an_anchor_is_still_to_come() {
    // ID-11: what the rebuilding of a generation waits for
    let ca = TestCa::new("pay.example");
    let material = material(&ca.svid(CHECKOUT), bundles(&[&ca])).unwrap();
    let end = material.next_anchor_end(UnixTime::now()).unwrap();
    assert_eq!(material.next_anchor_end(end), None);
}

#[test]
fn a_serial_number_is_a_number_whatever_zeros_lead_it() {
    // ID-15: a deny list names it as whoever wrote the list did
    assert_eq!(Serial::new(&[0, 0, 1, 0]), Serial::new(&[1, 0]));
    assert_ne!(Serial::new(&[1, 0]), Serial::new(&[1]));
    assert_eq!(Serial::new(&[0, 10, 255]).to_string(), "0aff");
}

#[test]
fn trust_is_another_when_somebody_is_denied() {
    // AZ-13, ID-15
    let ca = TestCa::new("pay.example");
    let open = material(&ca.svid(CHECKOUT), bundles(&[&ca])).unwrap();
    let deny = DenyList { ids: [id(PAYMENTS)].into(), ..DenyList::default() };
    let narrower = MaterialInput { deny, ..input(&ca.svid(CHECKOUT), bundles(&[&ca])) };
    assert!(!open.trusts_like(&TlsMaterial::build(narrower).unwrap()));
}

#[test]
fn trust_is_compared_by_its_anchors_and_not_by_our_own_svid() {
    // AZ-13: what keeps a pooled connection usable over a renewal, and ends it with its anchor
    let ca = TestCa::new("pay.example");
    let first = material(&ca.svid(CHECKOUT), bundles(&[&ca])).unwrap();
    let renewed = material(&ca.svid(CHECKOUT), bundles(&[&ca])).unwrap();
    assert!(first.trusts_like(&renewed));
    let partner = TestCa::new("partner.example");
    let wider = material(&ca.svid(CHECKOUT), bundles(&[&ca, &partner])).unwrap();
    assert!(!first.trusts_like(&wider));
}

#[tokio::test]
async fn a_peer_is_judged_again_by_the_generation_of_the_moment() {
    // ROT-05, ID-15: the peer of an open connection, as later generations see it
    let ca = TestCa::new("pay.example");
    let ours = || input(&ca.svid(PAYMENTS), bundles(&[&ca]));
    let now = TlsMaterial::build(ours()).unwrap();
    let svid = ca.svid(CHECKOUT);
    let theirs = cellwall_testkit::tls::DangerousParty::presenting(&svid).alpn(&["h2"]);
    let peer = accept_from(&now, &theirs, &[Alpn::H2]).await.0.unwrap();
    assert_eq!(now.still_trusts(&peer, UnixTime::now()), Ok(()));
    let renewed = TlsMaterial::build(ours()).unwrap();
    assert_eq!(renewed.still_trusts(&peer, UnixTime::now()), Ok(()));
    // RFC 5280 §4.1.2.5: the last second is one of them.
    assert_eq!(now.still_trusts(&peer, peer.authority_end()), Ok(()));
    let later = UnixTime::since_unix_epoch(Duration::from_secs(peer.authority_end().as_secs() + 1));
    assert_eq!(now.still_trusts(&peer, later), Err(Refusal::Expired));
    let deny = DenyList { ids: [id(CHECKOUT)].into(), ..DenyList::default() };
    let denying = TlsMaterial::build(MaterialInput { deny, ..ours() }).unwrap();
    assert_eq!(denying.still_trusts(&peer, UnixTime::now()), Err(Refusal::DeniedId));
    let next = ca.rotated();
    let moved = material(&next.svid(PAYMENTS), bundles(&[&next])).unwrap();
    assert_eq!(moved.still_trusts(&peer, UnixTime::now()), Err(Refusal::UnknownIssuer));
    let other = TestCa::new("partner.example");
    let elsewhere = other.svid("spiffe://partner.example/a");
    let elsewhere = material(&elsewhere, bundles(&[&other])).unwrap();
    let gone = elsewhere.still_trusts(&peer, UnixTime::now());
    assert_eq!(gone, Err(Refusal::UnknownTrustDomain));
}

#[test]
fn no_key_shows_in_a_debug_line() {
    // SEC-03
    let ca = TestCa::new("pay.example");
    let svid = ca.svid(CHECKOUT);
    let shown = format!("{:?}", material(&svid, bundles(&[&ca])).unwrap());
    assert!(shown.contains("pay.example") && shown.contains("generation"), "{shown}");
    // PKCS#8 of P-256: the private scalar, without the public key that follows it (RFC 5915 §3).
    let scalar = &svid.key.secret_der()[36..68];
    for window in scalar.windows(8) {
        let hex: String = window.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = format!("{window:?}");
        assert!(!shown.contains(&hex) && !shown.contains(list.trim_matches(['[', ']'])));
    }
}

#[test]
fn an_anchor_counts_through_its_last_second() {
    // ID-11
    let validity = Validity::around_now(Duration::from_secs(60), Duration::from_secs(600));
    let ca = TestCa::valid("pay.example", validity);
    let svid = ca.svid_valid(PAYMENTS, validity);
    let unix = validity.not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let at = |seconds: u64| {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        TlsMaterial::build(MaterialInput { now, ..input(&svid, bundles(&[&ca])) })
    };
    assert_eq!(at(unix.as_secs()).unwrap().defects().len(), 0);
    assert!(at(unix.as_secs() + 1).is_err());
}
