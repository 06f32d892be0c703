//! POL-01: what the control plane did not sign for this callee is not in force.

use cellwall_policy::{
    CallerDocument, KeyError, MAX_PAYLOAD_BYTES, OpenError, PolicyKey, PolicySigner, PolicyVersion,
    SignError, SignedSnapshot, SnapshotDocument, SnapshotError,
};
use spiffe::SpiffeId;

use crate::sample::{id, vault};

const CALLEE: &str = "spiffe://pay.example/prod/card-vault";

struct Pair {
    signer: PolicySigner,
    key: PolicyKey,
}

fn pair() -> Pair {
    let signer = PolicySigner::from_pkcs8(&PolicySigner::generate().unwrap()).unwrap();
    let key = PolicyKey::from_pem(signer.public_key_pem().unwrap().as_bytes()).unwrap();
    Pair { signer, key }
}

impl Pair {
    fn open(&self, signed: &SignedSnapshot) -> Result<PolicyVersion, OpenError> {
        self.key.open(signed, &id(CALLEE)).map(|snapshot| snapshot.version())
    }
}

#[test]
fn what_the_control_plane_signs_opens_for_its_callee() {
    let pair = pair();
    let signed = pair.signer.sign(&vault()).unwrap();
    assert_eq!(pair.open(&signed).unwrap(), PolicyVersion(42));
    assert_eq!(signed.hash(), pair.signer.sign(&vault()).unwrap().hash());
    let newer = SnapshotDocument { version: 43, ..vault() };
    assert_ne!(signed.hash(), pair.signer.sign(&newer).unwrap().hash());
}

#[test]
fn a_change_of_any_byte_breaks_the_signature() {
    let pair = pair();
    let signed = pair.signer.sign(&vault()).unwrap();
    for at in 0..signed.payload.len() {
        let mut bent = signed.clone();
        bent.payload[at] ^= 1;
        assert!(matches!(pair.open(&bent), Err(OpenError::Signature)), "byte {at}");
    }
    let longer = SignedSnapshot { payload: [&signed.payload[..], b" "].concat(), ..signed.clone() };
    assert!(matches!(pair.open(&longer), Err(OpenError::Signature)));
    let unsigned = SignedSnapshot { signature: Vec::new(), ..signed };
    assert!(matches!(pair.open(&unsigned), Err(OpenError::Signature)));
}

#[test]
fn a_signature_by_another_key_or_for_another_purpose_does_not_fit() {
    let signed = pair().signer.sign(&vault()).unwrap();
    assert!(matches!(pair().open(&signed), Err(OpenError::Signature)));
    // The same key over the bare payload.
    let pkcs8 = PolicySigner::generate().unwrap();
    let signer = PolicySigner::from_pkcs8(&pkcs8).unwrap();
    let key = PolicyKey::from_pem(signer.public_key_pem().unwrap().as_bytes()).unwrap();
    let payload = serde_json::to_vec(&vault()).unwrap();
    let signature = bare_signature(&pkcs8, &payload);
    let bare = SignedSnapshot { payload, signature };
    assert!(matches!(key.open(&bare, &id(CALLEE)), Err(OpenError::Signature)));
}

fn bare_signature(pkcs8: &[u8], message: &[u8]) -> Vec<u8> {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
    };
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8).unwrap();
    pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

/// Signs any bytes as the control plane would.
fn signed_bytes(payload: &[u8]) -> (PolicyKey, SignedSnapshot) {
    let pkcs8 = PolicySigner::generate().unwrap();
    let signer = PolicySigner::from_pkcs8(&pkcs8).unwrap();
    let key = PolicyKey::from_pem(signer.public_key_pem().unwrap().as_bytes()).unwrap();
    let message = [&b"cellwall policy snapshot v1\0"[..], payload].concat();
    let signature = bare_signature(&pkcs8, &message);
    (key, SignedSnapshot { payload: payload.to_vec(), signature })
}

fn refusal(payload: &[u8], callee: &SpiffeId) -> OpenError {
    let (key, signed) = signed_bytes(payload);
    key.open(&signed, callee).unwrap_err()
}

#[test]
fn a_snapshot_for_another_callee_is_refused() {
    let payload = serde_json::to_vec(&vault()).unwrap();
    for other in [
        "spiffe://pay.example/staging/card-vault",
        "spiffe://pay.example/prod/card-vault2",
        "spiffe://other.example/prod/card-vault",
    ] {
        match refusal(&payload, &id(other)) {
            OpenError::Callee(found) => assert_eq!(found, CALLEE),
            error => panic!("{error}"),
        }
    }
}

#[test]
fn an_unknown_schema_is_named_before_its_fields_are_read() {
    // AZ-08
    for payload in [&br#"{"schema":3}"#[..], br#"{"schema":3,"rules":7,"when":[]}"#] {
        assert!(matches!(refusal(payload, &id(CALLEE)), OpenError::Schema(3)));
    }
}

#[test]
fn fields_that_are_unknown_missing_or_double_are_refused() {
    // AZ-08
    let text = serde_json::to_string(&vault()).unwrap();
    let unknown = text.replacen('{', r#"{"when":"never","#, 1);
    let missing = text.replacen(r#""guards""#, r#""guard""#, 1);
    let double = text.replacen('{', r#"{"guards":[],"#, 1);
    let trailing = format!("{text}{{}}");
    for payload in [unknown, missing, double, trailing, String::new(), "[]".to_owned()] {
        let error = refusal(payload.as_bytes(), &id(CALLEE));
        assert!(matches!(error, OpenError::Document(_)), "{payload}: {error}");
    }
}

#[test]
fn a_payload_longer_than_the_limit_is_not_even_verified() {
    let payload = vec![b' '; MAX_PAYLOAD_BYTES + 1];
    let signed = SignedSnapshot { payload, signature: Vec::new() };
    assert!(matches!(pair().open(&signed), Err(OpenError::TooLong(bytes)) if bytes == 4_000_001));
}

/// A document that is so many bytes long when it is written: each of its callers is some of them.
fn of_length(bytes: usize) -> SnapshotDocument {
    let with = |widths: &mut dyn Iterator<Item = usize>| {
        let name = |(at, width)| format!("c{at:0width$}");
        let caller = |name| CallerDocument { name, id: None };
        let mut document = vault();
        document.callers.extend(widths.enumerate().map(name).map(caller));
        document
    };
    let length = |document: &SnapshotDocument| serde_json::to_vec(document).unwrap().len();
    let [none, one] = [0, 1].map(|callers| length(&with(&mut std::iter::repeat_n(50, callers))));
    let (callers, rest) = ((bytes - none) / (one - none), (bytes - none) % (one - none));
    with(&mut (0..callers).map(|at| if at < rest { 51 } else { 50 }))
}

#[test]
fn a_document_of_the_limit_is_signed_and_opened_and_no_longer_one() {
    let pair = pair();
    let signed = pair.signer.sign(&of_length(MAX_PAYLOAD_BYTES)).unwrap();
    assert_eq!(signed.payload.len(), MAX_PAYLOAD_BYTES);
    assert_eq!(pair.open(&signed).unwrap(), PolicyVersion(42));
    for more in [1, 2] {
        let refused = pair.signer.sign(&of_length(MAX_PAYLOAD_BYTES + more));
        assert!(
            matches!(refused, Err(SignError::TooLong(bytes)) if bytes == MAX_PAYLOAD_BYTES + more)
        );
    }
}

#[test]
fn a_document_that_a_proxy_would_refuse_is_not_signed() {
    let bad = SnapshotDocument { workload: "No Name".to_owned(), ..vault() };
    let refused = pair().signer.sign(&bad);
    assert!(matches!(refused, Err(SignError::Document(SnapshotError::Name(_)))));
    let payload = serde_json::to_vec(&bad).unwrap();
    assert!(matches!(refusal(&payload, &id(CALLEE)), OpenError::Policy(SnapshotError::Name(_))));
}

#[test]
fn keys_that_are_not_p256_public_keys_in_pem_are_refused() {
    let pem = pair().signer.public_key_pem().unwrap();
    assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----"));
    assert_eq!(PolicyKey::from_pem(b"").unwrap_err(), KeyError::NotPem);
    let certificate = pem.replace("PUBLIC KEY", "CERTIFICATE");
    assert_eq!(PolicyKey::from_pem(certificate.as_bytes()).unwrap_err(), KeyError::NotPem);
    // An Ed25519 key.
    let other = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";
    assert_eq!(PolicyKey::from_pem(other.as_bytes()).unwrap_err(), KeyError::NotP256);
    assert_eq!(PolicySigner::from_pkcs8(&[1, 2, 3]).unwrap_err(), KeyError::NotP256);
    assert_eq!(format!("{:?}", pair().signer), "PolicySigner");
}
