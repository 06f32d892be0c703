//! Bytes that are no certificate, or hardly one (X5-15, ID-14), and algorithms nobody may use.

use rustls_pki_types::CertificateDer;

use super::{Case, World};
use crate::{
    ca::{Svid, TestCa, pem},
    der,
    x509::{Algorithm, Key, assemble, oid},
};

pub(super) fn cases(world: &World<'_>) -> Vec<Case> {
    let mut cases = bytes(world);
    cases.extend(structure(world));
    cases.extend(algorithms(world));
    cases
}

fn presenting(
    name: &'static str,
    expected: &'static [&'static str],
    svid: &Svid,
    leaf: Vec<u8>,
) -> Case {
    let chain = vec![CertificateDer::from(leaf)];
    Case::new(name, expected, Svid { chain, ..svid.clone() })
}

fn bytes(world: &World<'_>) -> Vec<Case> {
    let svid = world.ca.svid(&world.id());
    let leaf = svid.chain[0].to_vec();
    let malformed = &["malformed"];
    let case = |name, leaf: Vec<u8>| presenting(name, malformed, &svid, leaf);
    let half = leaf[..leaf.len() / 2].to_vec();
    let mut longer = leaf.clone();
    longer[3] = longer[3].wrapping_add(1);
    vec![
        Case::new(
            "no-certificate",
            &["no_certificate"],
            Svid { chain: Vec::new(), ..svid.clone() },
        ),
        case("bytes-none", Vec::new()),
        case("bytes-garbage", b"garbage".to_vec()),
        case("bytes-zeros", vec![0; 600]),
        case("bytes-all-ones", vec![0xff; 600]),
        case("bytes-half-a-certificate", half),
        case("bytes-length-one-too-long", longer),
        case("bytes-after-the-end", [&leaf[..], b"\0"].concat()),
        case("bytes-two-certificates-in-one", [&leaf[..], &leaf[..]].concat()),
        case("bytes-pem", pem("CERTIFICATE", &leaf).into_bytes()),
        case("bytes-public-key-only", Key::generate(Algorithm::P256).public_key_info()),
        case("bytes-empty-sequence", der::sequence(&[])),
        case("bytes-deep-nesting", nested(2000)),
        case("bytes-indefinite-length", indefinite(&leaf)),
    ]
}

/// Sequences in sequences, to exhaust a reader that recurses.
fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(Vec::new(), |inner, _| der::element(der::SEQUENCE, &inner))
}

/// The outermost element in BER's indefinite form.
fn indefinite(certificate: &[u8]) -> Vec<u8> {
    // A certificate is longer than 255 bytes and shorter than 64 KiB: tag, 0x82, two bytes.
    [&[der::SEQUENCE, 0x80], &certificate[4..], &[0, 0]].concat()
}

fn structure(world: &World<'_>) -> Vec<Case> {
    let svid = world.ca.svid(&world.id());
    let key = Key::generate(Algorithm::P256);
    let draft = TestCa::svid_draft(&world.id());
    let signed = draft.to_be_signed(&key, world.ca.signer());
    let signature = world.ca.key().sign(&signed);
    let sha384 = der::sequence(&[&der::object_identifier(oid::ECDSA_SHA384)]);
    let sha256 = der::sequence(&[&der::object_identifier(oid::ECDSA_SHA256)]);
    let own = Svid { key: key.pkcs8(), ..svid };
    let case = |name, expected, certificate: CertificateDer<'_>| {
        presenting(name, expected, &own, certificate.to_vec())
    };
    let extended = der::sequence(&[&signed, &sha256, &der::bit_string(&signature), &[5, 0]]);
    let resigned = |name, expected, signed: Vec<u8>| {
        let signature = world.ca.key().sign(&signed);
        case(name, expected, assemble(&signed, &sha256, &signature))
    };
    vec![
        // The two places that name the algorithm disagree: not well-formed, and one of the two
        // does not fit the signature.
        case(
            "algorithms-differ",
            &["malformed", "bad_signature", "unsupported_algorithm"],
            assemble(&signed, &sha384, &signature),
        ),
        case("signature-not-der", &["bad_signature"], assemble(&signed, &sha256, &[0xff; 70])),
        case("signature-empty", &["bad_signature"], assemble(&signed, &sha256, &[])),
        case("element-after-the-signature", &["malformed"], extended.into()),
        resigned("element-after-the-extensions", &["malformed"], appended(&signed)),
        // A version 1 certificate has no extensions; one that has is not well-formed.
        resigned("version-1-with-extensions", &["malformed"], replaced_version(&signed, 0)),
        resigned("version-2-with-extensions", &["malformed"], replaced_version(&signed, 1)),
        resigned("version-9", &["malformed"], replaced_version(&signed, 8)),
    ]
}

/// The content of an element whose length takes two bytes, as that of every signed part does here.
fn content(element: &[u8]) -> &[u8] {
    &element[4..]
}

fn appended(signed: &[u8]) -> Vec<u8> {
    der::sequence(&[content(signed), &[5, 0]])
}

/// `[0] { INTEGER 2 }` is the first of the signed part's elements, 5 bytes long.
fn replaced_version(signed: &[u8], version: u8) -> Vec<u8> {
    der::sequence(&[&[0xa0, 3, der::INTEGER, 1, version], &content(signed)[5..]])
}

fn algorithms(world: &World<'_>) -> Vec<Case> {
    let claims = |oid: &[u64]| {
        let mut draft = TestCa::svid_draft(&world.id());
        draft.claimed_algorithm = Some(oid.to_vec());
        draft
    };
    let unsupported = &["unsupported_algorithm"];
    let case = |name, oid| Case::new(name, unsupported, world.ca.svid_from(&claims(oid)));
    let mut issuer = world.ca.intermediate_draft();
    issuer.claimed_algorithm = Some(oid::ECDSA_SHA1.to_vec());
    let below = world.ca.intermediate_from(&issuer).svid(&world.id());
    // RSA and Ed25519 are algorithms in use; what is wrong is that the issuer's key is neither.
    let other: &[&str] = &["unsupported_algorithm", "bad_signature"];
    let rsa = world.ca.svid_from(&claims(&[1, 2, 840, 113_549, 1, 1, 11]));
    let ed25519 = world.ca.svid_from(&claims(&[1, 3, 101, 112]));
    vec![
        case("algorithm-ecdsa-sha1", oid::ECDSA_SHA1),
        case("algorithm-rsa-md5", &[1, 2, 840, 113_549, 1, 1, 4]),
        case("algorithm-rsa-sha1", &[1, 2, 840, 113_549, 1, 1, 5]),
        case("algorithm-dsa-sha256", &[2, 16, 840, 1, 101, 3, 4, 3, 2]),
        case("algorithm-unknown", oid::UNKNOWN),
        Case::new("issuers-algorithm-ecdsa-sha1", unsupported, below),
        Case::new("algorithm-rsa-for-an-ec-key", other, rsa),
        Case::new("algorithm-ed25519-for-an-ec-key", other, ed25519),
    ]
}

pub(super) fn controls(world: &World<'_>) -> Vec<Case> {
    let draft = TestCa::svid_draft(&world.id());
    let mut long_serial = draft.clone();
    long_serial.serial = vec![0x7f; 20];
    let mut short_serial = draft;
    short_serial.serial = vec![1];
    vec![
        Case::new("control-serial-of-20-bytes", &[], world.ca.svid_from(&long_serial)),
        Case::new("control-serial-1", &[], world.ca.svid_from(&short_serial)),
    ]
}
