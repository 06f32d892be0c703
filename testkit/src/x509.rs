//! Certificates in the making: a draft whose every field can be bent before it is signed.

use std::time::{Duration, SystemTime};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    },
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::der::{self, Form};

/// Object identifiers of extensions, usages and algorithms.
pub mod oid {
    /// `subjectAltName`.
    pub const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];
    /// `basicConstraints`.
    pub const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
    /// `keyUsage`.
    pub const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
    /// `extKeyUsage`.
    pub const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
    /// `subjectKeyIdentifier`.
    pub const SUBJECT_KEY_IDENTIFIER: &[u64] = &[2, 5, 29, 14];
    /// `authorityKeyIdentifier`.
    pub const AUTHORITY_KEY_IDENTIFIER: &[u64] = &[2, 5, 29, 35];
    /// `nameConstraints`.
    pub const NAME_CONSTRAINTS: &[u64] = &[2, 5, 29, 30];
    /// `id-kp-serverAuth`.
    pub const SERVER_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 1];
    /// `id-kp-clientAuth`.
    pub const CLIENT_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 2];
    /// `id-kp-codeSigning`.
    pub const CODE_SIGNING: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 3];
    /// `anyExtendedKeyUsage`.
    pub const ANY_USAGE: &[u64] = &[2, 5, 29, 37, 0];
    /// `ecdsa-with-SHA1`: no longer to be trusted.
    pub const ECDSA_SHA1: &[u64] = &[1, 2, 840, 10045, 4, 1];
    /// `ecdsa-with-SHA256`.
    pub const ECDSA_SHA256: &[u64] = &[1, 2, 840, 10045, 4, 3, 2];
    /// `ecdsa-with-SHA384`.
    pub const ECDSA_SHA384: &[u64] = &[1, 2, 840, 10045, 4, 3, 3];
    /// An arc under which nobody defines anything.
    pub const UNKNOWN: &[u64] = &[1, 3, 6, 1, 4, 1, 57264, 99, 1];

    pub(super) const EC_PUBLIC_KEY: &[u64] = &[1, 2, 840, 10045, 2, 1];
    pub(super) const PRIME256V1: &[u64] = &[1, 2, 840, 10045, 3, 1, 7];
    pub(super) const SECP384R1: &[u64] = &[1, 3, 132, 0, 34];
    pub(super) const COMMON_NAME: &[u64] = &[2, 5, 4, 3];
}

/// `keyUsage` bits, in the order of RFC 5280 §4.2.1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Bit 0.
    DigitalSignature = 0,
    /// Bit 2.
    KeyEncipherment = 2,
    /// Bit 4.
    KeyAgreement = 4,
    /// Bit 5.
    KeyCertSign = 5,
    /// Bit 6.
    CrlSign = 6,
}

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: SystemTime,
    /// The last second.
    pub not_after: SystemTime,
}

impl Validity {
    /// `lasting` from `from` on.
    pub fn starting(from: SystemTime, lasting: Duration) -> Self {
        Self { not_before: from, not_after: from + lasting }
    }

    /// From `before` ago until `after` from now, by the system clock.
    pub fn around_now(before: Duration, after: Duration) -> Self {
        let now = SystemTime::now();
        Self { not_before: now - before, not_after: now + after }
    }
}

/// The kind of a key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    P256,
    /// ECDSA on P-384 with SHA-384.
    P384,
}

impl Algorithm {
    const fn signature_oid(self) -> &'static [u64] {
        match self {
            Self::P256 => oid::ECDSA_SHA256,
            Self::P384 => oid::ECDSA_SHA384,
        }
    }

    const fn curve_oid(self) -> &'static [u64] {
        match self {
            Self::P256 => oid::PRIME256V1,
            Self::P384 => oid::SECP384R1,
        }
    }
}

/// A key pair that signs certificates and handshakes.
#[derive(Debug)]
pub struct Key {
    pair: EcdsaKeyPair,
    algorithm: Algorithm,
}

impl Key {
    /// A new key pair.
    pub fn generate(algorithm: Algorithm) -> Self {
        let signing = match algorithm {
            Algorithm::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Algorithm::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        };
        Self { pair: EcdsaKeyPair::generate(signing).expect("a key pair"), algorithm }
    }

    /// PKCS#8, as rustls and the Workload API take it.
    pub fn pkcs8(&self) -> PrivateKeyDer<'static> {
        let document = self.pair.to_pkcs8v1().expect("a key pair has a PKCS#8 form");
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(document.as_ref().to_vec()))
    }

    /// The `SubjectPublicKeyInfo`.
    pub fn public_key_info(&self) -> Vec<u8> {
        der::sequence(&[
            &der::sequence(&[
                &der::object_identifier(oid::EC_PUBLIC_KEY),
                &der::object_identifier(self.algorithm.curve_oid()),
            ]),
            &der::bit_string(self.pair.public_key().as_ref()),
        ])
    }

    /// What key identifiers of certificates name this key by.
    pub fn identifier(&self) -> Vec<u8> {
        let digest = digest(&SHA256, self.pair.public_key().as_ref());
        digest.as_ref().iter().take(20).copied().collect()
    }

    /// Signs `message` with the hash that belongs to the curve; ASN.1 form.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.pair.sign(&SystemRandom::new(), message).expect("a signature");
        signature.as_ref().to_vec()
    }
}

/// One certificate extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Which one.
    pub oid: Vec<u64>,
    /// Whether a reader who does not know it must refuse the certificate.
    pub critical: bool,
    /// What the `OCTET STRING` wraps; not necessarily valid.
    pub value: Vec<u8>,
}

impl Extension {
    /// An extension that readers may ignore.
    pub fn plain(oid: &[u64], value: Vec<u8>) -> Self {
        Self { oid: oid.to_vec(), critical: false, value }
    }

    /// An extension that readers must understand.
    pub fn critical(oid: &[u64], value: Vec<u8>) -> Self {
        Self { critical: true, ..Self::plain(oid, value) }
    }

    /// A subject alternative name that holds exactly these names.
    pub fn names(names: &[Name<'_>]) -> Self {
        let names = names.iter().map(Name::der).collect::<Vec<_>>().concat();
        Self::plain(oid::SUBJECT_ALT_NAME, der::element(der::SEQUENCE, &names))
    }

    /// Basic constraints, written out also where the leaf default would do.
    pub fn basic_constraints(constraints: Constraints) -> Self {
        let content = match constraints {
            Constraints::Leaf => Vec::new(),
            Constraints::Ca => der::boolean_true(),
            Constraints::CaWithPathLength(length) => {
                [der::boolean_true(), der::integer(&[length])].concat()
            }
        };
        Self::critical(oid::BASIC_CONSTRAINTS, der::element(der::SEQUENCE, &content))
    }

    /// Key usage with exactly these bits.
    pub fn key_usage(usages: &[Usage]) -> Self {
        let bits = usages.iter().fold(0u8, |bits, usage| bits | 0x80 >> (*usage as u8));
        let unused = if bits == 0 { 0 } else { bits.trailing_zeros() as u8 };
        let content = if bits == 0 { vec![0] } else { vec![unused, bits] };
        Self::critical(oid::KEY_USAGE, der::element(der::BIT_STRING, &content))
    }

    /// Extended key usage with exactly these purposes.
    pub fn extended_key_usage(purposes: &[&[u64]]) -> Self {
        let purposes = purposes.iter().map(|oid| der::object_identifier(oid)).collect::<Vec<_>>();
        Self::plain(oid::EXTENDED_KEY_USAGE, der::element(der::SEQUENCE, &purposes.concat()))
    }

    /// Names the subject's key.
    pub fn subject_key_identifier(identifier: &[u8]) -> Self {
        Self::plain(oid::SUBJECT_KEY_IDENTIFIER, der::element(der::OCTET_STRING, identifier))
    }

    /// Names the issuer's key.
    pub fn authority_key_identifier(identifier: &[u8]) -> Self {
        let identifier = der::element(der::context(0, Form::Primitive), identifier);
        Self::plain(oid::AUTHORITY_KEY_IDENTIFIER, der::element(der::SEQUENCE, &identifier))
    }

    fn der(&self) -> Vec<u8> {
        let critical = if self.critical { der::boolean_true() } else { Vec::new() };
        der::sequence(&[
            &der::object_identifier(&self.oid),
            &critical,
            &der::element(der::OCTET_STRING, &self.value),
        ])
    }
}

/// What basic constraints say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constraints {
    /// No CA.
    Leaf,
    /// A CA without a limit on what follows it.
    Ca,
    /// A CA that at most so many other CAs may follow.
    CaWithPathLength(u8),
}

/// One entry of a subject alternative name; the bytes are written as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// `rfc822Name`.
    Email(&'a [u8]),
    /// `dNSName`.
    Dns(&'a [u8]),
    /// `uniformResourceIdentifier`.
    Uri(&'a [u8]),
}

impl Name<'_> {
    /// The `GeneralName`.
    pub fn der(&self) -> Vec<u8> {
        let (number, bytes) = match self {
            Self::Email(bytes) => (1, bytes),
            Self::Dns(bytes) => (2, bytes),
            Self::Uri(bytes) => (6, bytes),
        };
        der::element(der::context(number, Form::Primitive), bytes)
    }
}

/// A certificate before its signature.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Big-endian; written as a non-negative number.
    pub serial: Vec<u8>,
    /// Common name of the subject; `None` writes an empty name.
    pub subject: Option<String>,
    /// From when until when.
    pub validity: Validity,
    /// In this order; the key identifiers of subject and issuer follow at the signature.
    pub extensions: Vec<Extension>,
    /// The algorithm that the certificate claims to be signed with; `None` tells the truth.
    pub claimed_algorithm: Option<Vec<u64>>,
}

impl Draft {
    /// A draft with a random serial number and no extensions.
    pub fn new(subject: Option<&str>, validity: Validity) -> Self {
        let mut serial = vec![0; 16];
        aws_lc_rs::rand::fill(&mut serial).expect("random bytes");
        Self {
            serial,
            subject: subject.map(ToOwned::to_owned),
            validity,
            extensions: Vec::new(),
            claimed_algorithm: None,
        }
    }

    /// Adds an extension, also a second one of its kind.
    #[must_use]
    pub fn with(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Leaves out every extension of this kind.
    #[must_use]
    pub fn without(mut self, oid: &[u64]) -> Self {
        self.extensions.retain(|extension| extension.oid != oid);
        self
    }

    /// Puts this extension where the one of its kind was, or at the end.
    #[must_use]
    pub fn instead(self, extension: Extension) -> Self {
        self.without(&extension.oid.clone()).with(extension)
    }

    /// Changes the validity.
    #[must_use]
    pub fn valid(mut self, validity: Validity) -> Self {
        self.validity = validity;
        self
    }

    /// The signed part, for a subject key and an issuer.
    pub fn to_be_signed(&self, subject: &Key, issuer: Signer<'_>) -> Vec<u8> {
        let mut extensions = self.extensions.iter().map(Extension::der).collect::<Vec<_>>();
        extensions.push(Extension::subject_key_identifier(&subject.identifier()).der());
        extensions.push(Extension::authority_key_identifier(&issuer.key.identifier()).der());
        let version = der::element(der::context(0, Form::Constructed), &der::integer(&[2]));
        der::sequence(&[
            &version,
            &der::integer(&self.serial),
            &self.algorithm(issuer),
            &common_name(issuer.name),
            &der::sequence(&[
                &der::time(self.validity.not_before),
                &der::time(self.validity.not_after),
            ]),
            &common_name(self.subject.as_deref()),
            &subject.public_key_info(),
            &der::element(
                der::context(3, Form::Constructed),
                &der::element(der::SEQUENCE, &extensions.concat()),
            ),
        ])
    }

    /// The certificate.
    pub fn sign(&self, subject: &Key, issuer: Signer<'_>) -> CertificateDer<'static> {
        let signed = self.to_be_signed(subject, issuer);
        let signature = issuer.key.sign(&signed);
        assemble(&signed, &self.algorithm(issuer), &signature)
    }

    /// The `AlgorithmIdentifier` that both parts of the certificate carry.
    pub fn algorithm(&self, issuer: Signer<'_>) -> Vec<u8> {
        let truth = issuer.key.algorithm.signature_oid();
        let oid = self.claimed_algorithm.as_deref().unwrap_or(truth);
        der::sequence(&[&der::object_identifier(oid)])
    }
}

/// Who signs.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    /// Common name of the issuer; `None` writes an empty name.
    pub name: Option<&'a str>,
    /// The issuer's key.
    pub key: &'a Key,
}

/// A certificate from its three parts, whether they fit or not.
pub fn assemble(signed: &[u8], algorithm: &[u8], signature: &[u8]) -> CertificateDer<'static> {
    der::sequence(&[signed, algorithm, &der::bit_string(signature)]).into()
}

/// A distinguished name of one common name, or of nothing.
fn common_name(name: Option<&str>) -> Vec<u8> {
    let Some(name) = name else { return der::sequence(&[]) };
    let attribute = der::sequence(&[
        &der::object_identifier(oid::COMMON_NAME),
        &der::element(der::UTF8_STRING, name.as_bytes()),
    ]);
    der::sequence(&[&der::element(der::SET, &attribute)])
}
