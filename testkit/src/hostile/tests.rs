use std::{collections::BTreeSet, time::Instant};

use rustls::{
    RootCertStore,
    crypto::aws_lc_rs,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::UnixTime;

use super::*;

fn made() -> Corpus {
    corpus(&TestCa::new("pay.example"), SystemTime::now())
}

fn webpki(corpus: &Corpus) -> std::sync::Arc<dyn ClientCertVerifier> {
    let mut roots = RootCertStore::empty();
    for root in corpus.bundles.values().flatten() {
        roots.add(root.clone()).unwrap();
    }
    let provider = aws_lc_rs::default_provider().into();
    WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap()
}

fn webpki_accepts(verifier: &dyn ClientCertVerifier, case: &Case) -> bool {
    let Some((leaf, rest)) = case.chain.split_first() else { return false };
    verifier.verify_client_cert(leaf, rest, UnixTime::now()).is_ok()
}

#[test]
fn the_corpus_is_large_and_every_name_in_it_is_unique() {
    let corpus = made();
    let all = corpus.cases.iter().chain(&corpus.controls);
    let names = all.map(|case| case.name).collect::<BTreeSet<_>>();

    assert_eq!(names.len(), corpus.cases.len() + corpus.controls.len());
    assert!(corpus.cases.len() >= 150, "{} cases", corpus.cases.len());
    println!("{} cases, {} controls", corpus.cases.len(), corpus.controls.len());
}

#[test]
fn every_case_has_reasons_and_every_control_has_none() {
    let corpus = made();

    assert!(corpus.cases.iter().all(|case| !case.expected.is_empty()));
    assert!(corpus.controls.iter().all(|case| case.expected.is_empty()));
}

#[test]
fn a_general_verifier_accepts_every_control_that_clients_present() {
    let corpus = made();
    let verifier = webpki(&corpus);
    let refused = corpus
        .controls
        .iter()
        .filter(|case| case.directions != Directions::ServerOnly)
        .filter(|case| !webpki_accepts(verifier.as_ref(), case))
        .map(|case| case.name)
        .collect::<Vec<_>>();

    assert_eq!(refused, Vec::<&str>::new());
}

#[test]
fn a_general_verifier_accepts_only_what_spiffe_alone_forbids() {
    // What RFC 5280 forbids as well, webpki must refuse too: it is a second opinion on how the
    // cases are made. These reasons are SPIFFE's, ours, or known gaps of webpki (security.md 0.2,
    // 0.4).
    let beyond_webpki = [
        "no_uri_san",
        "multiple_uri_sans",
        "san_not_canonical",
        "spiffe_id_invalid",
        "spiffe_id_too_long",
        "spiffe_id_no_path",
        "unknown_trust_domain",
        "anchors_expired",
        "basic_constraints_missing",
        "key_usage_missing",
        "key_usage_forbidden",
        "extended_key_usage_missing",
        "issuer_key_usage",
        "issuer_spiffe_id",
        "chain_too_long",
        "chain_too_large",
    ];
    // All roots are in one store for webpki: it knows no trust domains (X5-16).
    // It does not read key usages, nor remember extensions that it does not use. Whose key it is
    // shows in the handshake only.
    let apart = [
        "cross-",
        "key-usage-malformed",
        "leaf-unknown-extension-twice",
        "leaf-authority-key-identifier-twice",
        "certificate-stolen-without-key",
    ];
    let corpus = made();
    let verifier = webpki(&corpus);
    let accepted = corpus
        .cases
        .iter()
        .filter(|case| case.directions != Directions::ServerOnly)
        .filter(|case| !case.expected.iter().any(|reason| beyond_webpki.contains(reason)))
        .filter(|case| !apart.iter().any(|prefix| case.name.starts_with(prefix)))
        .filter(|case| webpki_accepts(verifier.as_ref(), case))
        .map(|case| (case.name, case.expected))
        .collect::<Vec<_>>();

    assert_eq!(accepted, []);
}

#[test]
fn the_cases_that_show_gaps_of_a_general_verifier_do_show_them() {
    let corpus = made();
    let verifier = webpki(&corpus);
    let shown = ["root-expired", "issuer-without-cert-sign", "uri-upper-case-scheme"];
    for name in shown {
        let case = corpus.cases.iter().find(|case| case.name == name).unwrap();
        assert!(webpki_accepts(verifier.as_ref(), case), "{name}");
    }
}

#[test]
fn making_the_corpus_takes_no_time_worth_speaking_of() {
    let start = Instant::now();
    drop(made());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}
