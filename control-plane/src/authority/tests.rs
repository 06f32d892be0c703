//! What the authority promises about every certificate, and that a broken one stays here.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use cellwall_agent::{FreshKey, Issued};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateSigningRequestDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use spiffe::{SpiffeId, TrustDomain};
use tempfile::TempDir;
use x509_parser::{certificate::X509Certificate, parse_x509_certificate};

use super::{
    Authority, Ca, Defect, Expected, IssueError, PublicKey, Subject, Validity, check::check,
    leaf::sign,
};
use crate::store::Store;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn ca(trust_domain: &str, now: SystemTime) -> Ca {
    let trust_domain = TrustDomain::new(trust_domain).unwrap();
    let new = Ca::found(&trust_domain, now, 90 * DAY).unwrap();
    Ca::load(trust_domain, new.certificate, &new.key).unwrap()
}

fn id(text: &str) -> SpiffeId {
    SpiffeId::new(text).unwrap()
}

fn key() -> PublicKey {
    PublicKey::from_csr(&FreshKey::generate().unwrap().csr).unwrap()
}

fn authority(dir: &Path, now: SystemTime, newest: i64) -> Authority {
    let (store, _) = Store::open(&dir.join("test.db")).unwrap();
    Authority::new(ca("pay.example", now), HOUR, store, newest)
}

async fn issue(authority: &Authority, now: SystemTime) -> Result<Issued, IssueError> {
    let subject = Subject { actor: "uid:1 pid:2".into(), process: Value::Null, ttl_max: None };
    let csr = FreshKey::generate().unwrap().csr;
    authority.issue(&id("spiffe://pay.example/prod/web"), &csr, subject, now).await
}

#[tokio::test]
async fn a_certificate_lives_as_long_as_the_policy_and_the_authority_both_allow() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let authority = authority(dir.path(), now, 0);
    for (ttl_max, expected) in [(None, HOUR), (Some(HOUR / 6), HOUR / 6), (Some(HOUR * 2), HOUR)] {
        let subject = Subject { actor: "x".into(), process: Value::Null, ttl_max };
        let csr = FreshKey::generate().unwrap().csr;
        let id = id("spiffe://pay.example/prod/web");
        let issued = authority.issue(&id, &csr, subject, now).await.unwrap();
        assert_eq!(issued.not_after.duration_since(issued.issued_at).unwrap(), expected);
    }
}

#[test]
fn the_authority_is_what_the_standard_asks_for() {
    // SPID-10, SPID-11, X5-05, X5-06, X5-09, X5-14
    let now = SystemTime::now();
    let ca = ca("pay.example", now);
    let (rest, parsed) = parse_x509_certificate(&ca.certificate).unwrap();
    assert!(rest.is_empty());
    parsed.verify_signature(None).unwrap();
    assert_eq!(parsed.subject(), parsed.issuer());
    let basic = parsed.basic_constraints().unwrap().unwrap();
    assert_eq!((basic.critical, basic.value.ca), (true, true));
    let usage = parsed.key_usage().unwrap().unwrap();
    assert_eq!((usage.critical, usage.value.to_string()), (true, "Key Cert Sign, CRL Sign".into()));
    assert!(parsed.extended_key_usage().unwrap().is_none());
    assert_eq!(names(&parsed), ["URI(spiffe://pay.example)"]);
    assert!(ca.not_before < now && ca.not_after <= now + 90 * DAY);
}

#[test]
fn an_authority_with_anothers_key_or_name_is_not_loaded() {
    let now = SystemTime::now();
    let [here, there] =
        ["pay.example", "other.example"].map(|name| TrustDomain::new(name).unwrap());
    let one = Ca::found(&here, now, DAY).unwrap();
    let other = Ca::found(&here, now, DAY).unwrap();
    let mixed = Ca::load(here, one.certificate.clone(), &other.key);
    assert_eq!(mixed.unwrap_err().to_string(), "the authority's certificate is not for its key");
    let foreign = Ca::load(there, one.certificate, &one.key);
    assert!(foreign.unwrap_err().to_string().contains("not for `other.example`"));
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    names.value.general_names.iter().map(ToString::to_string).collect()
}

#[test]
fn every_leaf_passes_the_second_look_and_no_two_serials_are_the_same() {
    // X5-01 to X5-13, X5-20
    let ca = ca("pay.example", SystemTime::now());
    let mut serials = std::collections::BTreeSet::new();
    for number in 0..200 {
        let id = id(&format!("spiffe://pay.example/prod/w-{number}"));
        let (key, validity) = (key(), Validity::starting(SystemTime::now(), HOUR));
        let (leaf, serial) = sign(&ca.issuer, &id, &key, validity).unwrap();
        let expected = Expected { ca: &ca, id: &id, key: &key, validity };
        assert_eq!(check(&leaf, &expected), Ok(()));
        let (_, parsed) = parse_x509_certificate(&leaf).unwrap();
        assert_eq!(parsed.raw_serial(), serial);
        assert_eq!(names(&parsed), [format!("URI({id})")]);
        assert_eq!(serial.len(), 16);
        assert!(serials.insert(serial));
    }
}

/// A leaf as it should be, for the cases below to spoil.
fn good(id: &SpiffeId, validity: Validity) -> CertificateParams {
    let mut leaf = CertificateParams::default();
    leaf.serial_number = Some(SerialNumber::from_slice(&[0x40; 16]));
    leaf.not_before = validity.not_before().into();
    leaf.not_after = validity.not_after.into();
    leaf.distinguished_name = rcgen::DistinguishedName::new();
    leaf.subject_alt_names = vec![SanType::URI(id.to_string().try_into().unwrap())];
    leaf.is_ca = IsCa::ExplicitNoCa;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    leaf.use_authority_key_identifier_extension = true;
    leaf
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

type Spoil = fn(&mut CertificateParams);

const SPOILT: [(Defect, Spoil); 24] = [
    (Defect::Name, |leaf| leaf.subject_alt_names.clear()),
    (Defect::Name, |leaf| leaf.subject_alt_names = vec![uri("spiffe://pay.example/prod/db")]),
    (Defect::Name, |leaf| leaf.subject_alt_names.push(uri("spiffe://pay.example/prod/db"))),
    (Defect::Name, |leaf| leaf.subject_alt_names.push(leaf.subject_alt_names[0].clone())),
    (Defect::Name, |leaf| {
        leaf.subject_alt_names.push(SanType::DnsName("web".try_into().unwrap()));
    }),
    (Defect::Name, |leaf| leaf.distinguished_name.push(DnType::CommonName, "web")),
    (Defect::BasicConstraints, |leaf| leaf.is_ca = IsCa::NoCa),
    (Defect::BasicConstraints, |leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
    (Defect::KeyUsage, |leaf| leaf.key_usages.clear()),
    (Defect::KeyUsage, |leaf| leaf.key_usages = vec![KeyUsagePurpose::KeyEncipherment]),
    (Defect::KeyUsage, |leaf| leaf.key_usages.push(KeyUsagePurpose::KeyAgreement)),
    (Defect::KeyUsage, |leaf| leaf.key_usages.push(KeyUsagePurpose::KeyCertSign)),
    (Defect::KeyUsage, |leaf| leaf.key_usages.push(KeyUsagePurpose::CrlSign)),
    (Defect::ExtendedKeyUsage, |leaf| leaf.extended_key_usages.clear()),
    (Defect::ExtendedKeyUsage, |leaf| leaf.extended_key_usages.truncate(1)),
    (Defect::ExtendedKeyUsage, |leaf| {
        leaf.extended_key_usages.remove(0);
    }),
    (Defect::ExtendedKeyUsage, |leaf| {
        leaf.extended_key_usages.push(ExtendedKeyUsagePurpose::Any);
    }),
    (Defect::ExtendedKeyUsage, |leaf| {
        leaf.extended_key_usages.push(ExtendedKeyUsagePurpose::CodeSigning);
    }),
    (Defect::Serial, |leaf| leaf.serial_number = Some(SerialNumber::from_slice(&[0x40; 7]))),
    (Defect::Dates, |leaf| leaf.not_before -= Duration::from_secs(1)),
    (Defect::Dates, |leaf| leaf.not_after += Duration::from_secs(1)),
    (Defect::Dates, |leaf| leaf.not_before += Duration::from_secs(60)),
    (Defect::Extension, |leaf| {
        let extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        leaf.custom_extensions.push(extension);
    }),
    (Defect::Extension, |leaf| {
        let points = vec!["http://crl".to_owned()];
        leaf.crl_distribution_points.push(rcgen::CrlDistributionPoint { uris: points });
    }),
];

#[test]
fn a_leaf_that_is_not_what_was_meant_is_noticed() {
    // CA-04
    let now = SystemTime::now();
    let ca = ca("pay.example", now);
    let (id, key) = (id("spiffe://pay.example/prod/web"), key());
    let validity = Validity::starting(now, HOUR);
    let expected = Expected { ca: &ca, id: &id, key: &key, validity };
    let signed = |leaf: &CertificateParams| {
        leaf.signed_by(&key.for_signing, &ca.issuer).unwrap().der().to_vec()
    };
    assert_eq!(check(&signed(&good(&id, validity)), &expected), Ok(()));
    for (index, (defect, spoil)) in SPOILT.into_iter().enumerate() {
        let mut leaf = good(&id, validity);
        spoil(&mut leaf);
        assert_eq!(check(&signed(&leaf), &expected), Err(defect), "case {index}");
    }
    let followed = [signed(&good(&id, validity)), vec![0]].concat();
    assert_eq!(check(&followed, &expected), Err(Defect::Malformed));
}

#[test]
fn a_leaf_of_another_authority_key_or_trust_domain_is_noticed() {
    // CA-04, X5-03, X5-06, SPID-08
    let now = SystemTime::now();
    let validity = Validity::starting(now, HOUR);
    let [ours, twin, foreign] =
        ["pay.example", "pay.example", "other.example"].map(|name| ca(name, now));
    let (web, key, other) = (id("spiffe://pay.example/prod/web"), key(), key());
    let judge = |signer: &Ca, id: &SpiffeId, expected_key| {
        let (leaf, _) = sign(&signer.issuer, id, &key, validity).unwrap();
        check(&leaf, &Expected { ca: &ours, id, key: expected_key, validity })
    };
    assert_eq!(judge(&ours, &web, &key), Ok(()));
    assert_eq!(judge(&ours, &web, &other), Err(Defect::Key));
    assert_eq!(judge(&twin, &web, &key), Err(Defect::Signature));
    assert_eq!(judge(&foreign, &web, &key), Err(Defect::Issuer));
    for text in ["spiffe://pay.example", "spiffe://other.example/web"] {
        assert_eq!(judge(&ours, &id(text), &key), Err(Defect::Id), "{text}");
    }
    let prefix = "spiffe://pay.example/";
    let longest = format!("{prefix}{}", "a".repeat(2048 - prefix.len()));
    assert_eq!(judge(&ours, &id(&longest), &key), Ok(()));
    assert_eq!(judge(&ours, &id(&format!("{longest}a")), &key), Err(Defect::Id));
    let past = Validity { not_after: ours.not_after + HOUR, ..validity };
    let (leaf, _) = sign(&ours.issuer, &web, &key, past).unwrap();
    let expected = Expected { ca: &ours, id: &web, key: &key, validity: past };
    assert_eq!(check(&leaf, &expected), Err(Defect::Dates)); // X5-20
}

/// Everything of a certificate but its serial number and signature.
fn substance(leaf: &[u8]) -> Vec<Vec<u8>> {
    let (_, leaf) = parse_x509_certificate(leaf).unwrap();
    let extensions = leaf.extensions().iter().map(|extension| {
        [extension.oid.as_bytes(), &[u8::from(extension.critical)], extension.value].concat()
    });
    let dates = [leaf.validity().not_before, leaf.validity().not_after];
    let subject = leaf.subject().as_raw().to_vec();
    [subject, leaf.public_key().raw.to_vec()]
        .into_iter()
        .chain(dates.map(|date| date.timestamp().to_be_bytes().to_vec()))
        .chain(extensions)
        .collect()
}

#[test]
fn a_request_with_extras_gives_the_same_certificate_as_a_plain_one() {
    // CA-01
    let FreshKey { key, csr } = FreshKey::generate().unwrap();
    let pair = KeyPair::try_from(&PrivatePkcs8KeyDer::from(key.as_slice())).unwrap();
    let mut extras = CertificateParams::new(["db.example".to_owned()]).unwrap();
    extras.subject_alt_names.push(uri("spiffe://pay.example/prod/db"));
    extras.subject_alt_names.push(uri("spiffe://other.example/x"));
    extras.distinguished_name.push(DnType::CommonName, "db");
    extras.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    extras.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    extras.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    extras.custom_extensions.push(CustomExtension::from_oid_content(&[1, 2, 3], vec![5, 0]));
    let challenge = rcgen::Attribute {
        oid: &[1, 2, 840, 113_549, 1, 9, 7], // challengePassword, RFC 2985 §5.4.1
        values: b"\x31\x08\x0c\x06secret".to_vec(),
    };
    let extras = extras.serialize_request_with_attributes(&pair, vec![challenge]).unwrap();
    let now = SystemTime::now();
    let ca = ca("pay.example", now);
    let [plain, extra] = [&csr, extras.der()].map(|csr: &CertificateSigningRequestDer<'_>| {
        let key = PublicKey::from_csr(csr).unwrap();
        assert_eq!(key.info, pair.subject_public_key_info());
        let web = id("spiffe://pay.example/prod/web");
        let (leaf, _) = sign(&ca.issuer, &web, &key, Validity::starting(now, HOUR)).unwrap();
        substance(&leaf)
    });
    assert_eq!(plain, extra);
}

#[tokio::test]
async fn nothing_is_issued_by_an_authority_that_ends_or_a_clock_that_is_wrong() {
    // CA-07
    let dir = TempDir::new().unwrap();
    let now = SystemTime::now();
    let authority = authority(dir.path(), now, 0);
    let end = authority.ca().not_after;
    let clock = "the clock is wrong: it is behind what has been recorded";
    assert_eq!(issue(&authority, now - HOUR).await.unwrap_err().to_string(), clock);
    let last = issue(&authority, end - HOUR).await.unwrap();
    assert!(last.not_after <= end);
    let second = Duration::from_secs(1);
    for (now, expected) in [
        (end - HOUR + second, "the authority ends before the certificate would"),
        (end + HOUR, "the authority ends before the certificate would"),
        // The audit log has seen the future above.
        (now, clock),
    ] {
        assert_eq!(issue(&authority, now).await.unwrap_err().to_string(), expected);
    }
}

#[tokio::test]
async fn a_clock_behind_the_audit_log_is_not_believed_after_a_restart_either() {
    // CA-07
    let dir = TempDir::new().unwrap();
    let now = SystemTime::now();
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let newest = i64::try_from((since + HOUR).as_millis()).unwrap();
    let authority = authority(dir.path(), now, newest);
    assert!(matches!(issue(&authority, now).await, Err(IssueError::Clock)));
}

#[tokio::test]
async fn without_its_audit_record_no_certificate_leaves() {
    // CA-08
    let dir = TempDir::new().unwrap();
    let now = SystemTime::now();
    let authority = authority(dir.path(), now, 0);
    issue(&authority, now).await.unwrap();
    let vandal = rusqlite::Connection::open(dir.path().join("test.db")).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END";
    vandal.execute_batch(full).unwrap();
    assert!(matches!(issue(&authority, now).await, Err(IssueError::Audit(_))));
    let rows = |table| {
        let count = format!("SELECT count(*) FROM {table}");
        vandal.query_row(&count, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!((rows("audit"), rows("issuances")), (1, 1));
}

#[tokio::test]
async fn a_certificate_that_fails_the_second_look_does_not_leave() {
    // CA-04
    let dir = TempDir::new().unwrap();
    let now = SystemTime::now();
    let authority = authority(dir.path(), now, 0);
    for text in ["spiffe://other.example/web", "spiffe://pay.example"] {
        let subject = Subject { actor: "x".into(), process: Value::Null, ttl_max: None };
        let csr = FreshKey::generate().unwrap().csr;
        let refused = authority.issue(&id(text), &csr, subject, now).await;
        assert!(matches!(refused, Err(IssueError::Defect(Defect::Id))), "{text}");
    }
    let database = rusqlite::Connection::open(dir.path().join("test.db")).unwrap();
    let count = "SELECT count(*) FROM issuances";
    assert_eq!(database.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[tokio::test]
async fn a_key_that_was_certified_before_is_refused() {
    // CA-05
    let dir = TempDir::new().unwrap();
    let now = SystemTime::now();
    let authority = authority(dir.path(), now, 0);
    let csr = FreshKey::generate().unwrap().csr;
    let mut outcomes = Vec::new();
    for name in ["web", "db"] {
        let subject = Subject { actor: "x".into(), process: Value::Null, ttl_max: None };
        let id = id(&format!("spiffe://pay.example/prod/{name}"));
        outcomes.push(authority.issue(&id, &csr, subject, now).await.map(|_| ()));
    }
    assert!(matches!(outcomes.as_slice(), [Ok(()), Err(IssueError::KeyInUse)]));
}
