//! The hostile corpus, from both sides: each case is refused, and for its own reason (T4).

use std::{collections::BTreeMap, time::SystemTime};

use cellwall_mtls::{Alpn, TlsMaterial};
use cellwall_testkit::{
    ca::TestCa,
    hostile::{Case, Corpus, Directions, corpus},
    tls::DangerousParty,
};
use rustls::pki_types::CertificateDer;
use spiffe::{SpiffeId, TrustDomain};

use crate::kit::{Bundles, PAYMENTS, accept_from, connect_to, material};

fn ours(ca: &TestCa, corpus: &Corpus) -> TlsMaterial {
    let domain = |name: &String| TrustDomain::new(name).unwrap();
    let bundles: Bundles =
        corpus.bundles.iter().map(|(name, roots)| (domain(name), roots.clone())).collect();
    material(&ca.svid(PAYMENTS), bundles).unwrap()
}

/// Presents a case as a client; what our server makes of it.
async fn as_client(ours: &TlsMaterial, case: &Case) -> Result<(), &'static str> {
    let theirs = DangerousParty::presenting_chain(case.chain.clone(), &case.key).alpn(&["h2"]);
    let theirs =
        if case.chain.is_empty() { DangerousParty::anonymous().alpn(&["h2"]) } else { theirs };
    let (result, seen) = accept_from(ours, &theirs, &[Alpn::H2]).await;
    let result = result.map(drop).map_err(|error| error.refusal.as_str());
    assert_eq!(result.is_ok(), seen.is_let_in(), "{}: both sides agree", case.name);
    result
}

/// Presents a case as a server; what our client makes of it.
async fn as_server(ours: &TlsMaterial, case: &Case) -> Result<(), &'static str> {
    let theirs = DangerousParty::presenting_chain(case.chain.clone(), &case.key).alpn(&["h2"]);
    // Whoever it says it is, is whom we expect: the certificate alone has to fail it.
    let expected: Vec<SpiffeId> = uri(case.chain.first()).into_iter().collect();
    let (result, _) = connect_to(ours, &theirs, &expected).await;
    result.map(drop).map_err(|error| error.refusal.as_str())
}

fn uri(leaf: Option<&CertificateDer<'_>>) -> Option<SpiffeId> {
    let leaf = webpki::EndEntityCert::try_from(leaf?).ok()?;
    let uri = leaf.valid_uri_names().next()?;
    SpiffeId::new(uri).ok()
}

#[tokio::test]
async fn no_hostile_certificate_is_accepted_and_each_refusal_has_its_reason() {
    let ca = TestCa::new("pay.example");
    let corpus = corpus(&ca, SystemTime::now());
    let ours = ours(&ca, &corpus);
    let (mut wrong, mut counts) = (Vec::new(), BTreeMap::new());
    for case in &corpus.cases {
        let mut results = Vec::new();
        if case.directions != Directions::ServerOnly {
            results.push(("client", as_client(&ours, case).await));
        }
        // A server without a certificate cannot shake hands at all.
        if case.directions != Directions::ClientOnly && !case.chain.is_empty() {
            results.push(("server", as_server(&ours, case).await));
        }
        for (role, result) in results {
            match result {
                Err(reason) if case.expected.contains(&reason) => {
                    *counts.entry(reason).or_insert(0) += 1;
                }
                other => wrong.push((case.name, role, other, case.expected)),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let refused: i32 = counts.values().sum();
    assert!(corpus.cases.len() >= 60 && refused >= 120, "{refused} {counts:#?}");
}

#[tokio::test]
async fn what_is_odd_but_right_is_accepted() {
    let ca = TestCa::new("pay.example");
    let corpus = corpus(&ca, SystemTime::now());
    let ours = ours(&ca, &corpus);
    for case in &corpus.controls {
        if case.directions != Directions::ServerOnly {
            assert_eq!(as_client(&ours, case).await, Ok(()), "{} as client", case.name);
        }
        if case.directions != Directions::ClientOnly {
            assert_eq!(as_server(&ours, case).await, Ok(()), "{} as server", case.name);
        }
    }
}
