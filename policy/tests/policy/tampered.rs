//! Nothing of a signed snapshot can be changed: no field, no byte, no bit (POL-01).

use cellwall_policy::{OpenError, PolicyKey, PolicySigner, SignedSnapshot, SnapshotDocument};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::sample::{id, vault};

/// What was signed, and who would open it.
struct Genuine {
    signer: PolicySigner,
    key: PolicyKey,
    signed: SignedSnapshot,
    document: Value,
}

/// How many changes were tried, and how many of them were let through.
#[derive(Default)]
struct Tried {
    cases: u64,
    accepted: Vec<String>,
}

fn signer() -> PolicySigner {
    PolicySigner::from_pkcs8(&PolicySigner::generate().unwrap()).unwrap()
}

fn genuine() -> Genuine {
    let signer = signer();
    let key = PolicyKey::from_pem(signer.public_key_pem().unwrap().as_bytes()).unwrap();
    let signed = signer.sign(&vault()).unwrap();
    let document = serde_json::from_slice(&signed.payload).unwrap();
    Genuine { signer, key, signed, document }
}

impl Genuine {
    fn open(&self, signed: &SignedSnapshot) -> Result<(), OpenError> {
        self.key.open(signed, &id(&vault().callee)).map(drop)
    }

    fn payload(&self, payload: Vec<u8>) -> SignedSnapshot {
        SignedSnapshot { payload, signature: self.signed.signature.clone() }
    }

    fn signature(&self, signature: Vec<u8>) -> SignedSnapshot {
        SignedSnapshot { payload: self.signed.payload.clone(), signature }
    }

    fn attempt(&self, what: &str, changed: &SignedSnapshot, tried: &mut Tried) {
        assert_ne!(*changed, self.signed, "{what}: nothing was changed");
        tried.cases += 1;
        if !matches!(self.open(changed), Err(OpenError::Signature)) {
            tried.accepted.push(what.to_owned());
        }
    }
}

/// Other values that could stand in the place of this one.
fn others(value: &Value) -> Vec<Value> {
    let mut others = match value {
        Value::Null | Value::Bool(_) => Vec::new(),
        Value::Number(number) => {
            let number = number.as_u64().unwrap();
            vec![json!(number + 1), json!(number - 1), json!(0), json!(u64::MAX)]
        }
        Value::String(text) => {
            let shorter: String = text.chars().skip(1).collect();
            vec![json!(format!("{text}x")), json!(shorter), json!(""), json!(text.to_uppercase())]
        }
        Value::Array(items) => {
            let mut doubled = items.clone();
            doubled.extend(items.first().cloned());
            let shorter: Vec<_> = items.iter().skip(1).cloned().collect();
            let turned: Vec<_> = items.iter().rev().cloned().collect();
            vec![json!([]), json!(shorter), json!(doubled), json!(turned)]
        }
        Value::Object(fields) => {
            let mut others = Vec::new();
            for name in fields.keys() {
                let mut without = fields.clone();
                let field = without.remove(name).unwrap();
                others.push(Value::Object(without.clone()));
                without.insert(format!("{name}_"), field);
                others.push(Value::Object(without));
            }
            let mut more = fields.clone();
            more.insert("when".to_owned(), json!("never"));
            others.push(Value::Object(more));
            others
        }
    };
    others.push(Value::Null);
    others.push(json!(value.to_string()));
    others.retain(|other| other != value);
    others
}

/// Every value of a document by its JSON pointer, the document itself too.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| pointers(field, &format!("{at}/{name}"), found));
        }
        Value::Array(items) => {
            let numbered = items.iter().enumerate();
            numbered.for_each(|(number, item)| pointers(item, &format!("{at}/{number}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Each value of each field replaced, and the whole spelled otherwise. Returns how many there are.
fn change_fields(genuine: &Genuine, tried: &mut Tried) -> usize {
    let mut found = Vec::new();
    pointers(&genuine.document, "", &mut found);
    for pointer in &found {
        for other in others(genuine.document.pointer(pointer).unwrap()) {
            let what = format!("{pointer} = {other}");
            let mut bent = genuine.document.clone();
            *bent.pointer_mut(pointer).unwrap() = other;
            let payload = serde_json::to_vec(&bent).unwrap();
            genuine.attempt(&what, &genuine.payload(payload), tried);
        }
    }
    let pretty = serde_json::to_vec_pretty(&vault()).unwrap();
    genuine.attempt("pretty", &genuine.payload(pretty), tried);
    let sorted = serde_json::to_vec(&genuine.document).unwrap();
    genuine.attempt("fields sorted by name", &genuine.payload(sorted), tried);
    found.len()
}

/// Each bit turned; each byte gone, doubled; each beginning alone; each byte appended.
fn change_bytes(
    bytes: &[u8],
    whole: impl Fn(Vec<u8>) -> SignedSnapshot,
    genuine: &Genuine,
    tried: &mut Tried,
) {
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let turned = bytes.iter().enumerate();
            let turned = turned.map(|(here, byte)| byte ^ if here == at { 1 << bit } else { 0 });
            genuine.attempt(&format!("bit {bit} of byte {at}"), &whole(turned.collect()), tried);
        }
        let (before, after) = bytes.split_at(at);
        let (byte, rest) = after.split_first().unwrap();
        let without = [before, rest].concat();
        genuine.attempt(&format!("without byte {at}"), &whole(without), tried);
        let doubled = [before, &[*byte], after].concat();
        genuine.attempt(&format!("byte {at} twice"), &whole(doubled), tried);
        genuine.attempt(&format!("the first {at} bytes"), &whole(before.to_vec()), tried);
    }
    for byte in 0..=u8::MAX {
        let longer = [bytes, &[byte]].concat();
        genuine.attempt(&format!("byte {byte} appended"), &whole(longer), tried);
    }
}

/// Signatures that are another's, or nobody's.
fn swap_signatures(genuine: &Genuine, tried: &mut Tried) {
    let document = vault();
    let siblings = [
        SnapshotDocument { epoch: document.epoch + 1, ..vault() },
        SnapshotDocument { version: document.version + 1, ..vault() },
        SnapshotDocument { issued_at: document.issued_at + 1, ..vault() },
        SnapshotDocument { callee: document.callee.replace("prod", "staging"), ..vault() },
    ];
    for sibling in siblings {
        let signed = genuine.signer.sign(&sibling).unwrap();
        genuine.attempt("a sibling's signature", &genuine.signature(signed.signature), tried);
        genuine.attempt("a sibling's payload", &genuine.payload(signed.payload), tried);
    }
    let foreign = signer().sign(&document).unwrap();
    genuine.attempt("another key's signature", &genuine.signature(foreign.signature), tried);
    // ECDSA-Sig-Value (RFC 3279 §2.2.3) with r and s of 0 and of 1.
    for number in [0, 1] {
        let trivial = vec![0x30, 6, 2, 1, number, 2, 1, number];
        genuine.attempt("a trivial signature", &genuine.signature(trivial), tried);
    }
}

#[test]
fn no_field_and_no_byte_can_be_changed() {
    // POL-01
    let genuine = genuine();
    genuine.open(&genuine.signed).unwrap();
    let mut tried = Tried::default();
    let values = change_fields(&genuine, &mut tried);
    let by_field = tried.cases;
    change_bytes(&genuine.signed.payload, |bytes| genuine.payload(bytes), &genuine, &mut tried);
    let signature = &genuine.signed.signature;
    change_bytes(signature, |bytes| genuine.signature(bytes), &genuine, &mut tried);
    swap_signatures(&genuine, &mut tried);
    let figures = json!({
        "values": values, "field_cases": by_field, "cases": tried.cases,
        "payload_bytes": genuine.signed.payload.len(), "signature_bytes": signature.len(),
        "accepted": tried.accepted.len(),
    });
    println!("evidence: {figures}");
    assert_eq!(tried.accepted, Vec::<String>::new());
    assert!(values > 50 && tried.cases > 5_000, "{figures}");
}

#[test]
fn every_field_of_the_document_is_in_what_is_signed() {
    // POL-01: trust domain, target, version, issued-at, max-age, and all else
    let genuine = genuine();
    let names: Vec<_> = genuine.document.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "callee",
        "callers",
        "destinations",
        "digest",
        "epoch",
        "guards",
        "identity",
        "issued_at",
        "listens",
        "max_age_seconds",
        "mode",
        "rules",
        "schema",
        "trust_domain",
        "version",
        "workload",
    ];
    assert_eq!(names, expected);
}

proptest! {
    #[test]
    fn no_region_can_be_replaced(
        at in any::<prop::sample::Index>(),
        length in 0_usize..64,
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        in_signature in any::<bool>(),
    ) {
        let genuine = genuine();
        let old = if in_signature { &genuine.signed.signature } else { &genuine.signed.payload };
        let start = at.index(old.len());
        let end = old.len().min(start + length);
        let mut new = old.clone();
        new.splice(start..end, bytes);
        prop_assume!(new != *old);
        let changed =
            if in_signature { genuine.signature(new) } else { genuine.payload(new) };
        prop_assert!(matches!(genuine.open(&changed), Err(OpenError::Signature)));
    }
}
