//! Certificates in the making: a draft whose every field can be bent before it is signed.

mod extension;
mod key;
pub mod oid;

use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;

pub use self::{
    extension::{Constraints, Extension, Name, Usage},
    key::{Algorithm, Key},
};
use crate::der::{self, Form};

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
        // 16 bytes in every notation: neither a sign to pad nor a zero to cut.
        if let Some(first) = serial.first_mut() {
            *first = *first & 0x3f | 0x40;
        }
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
