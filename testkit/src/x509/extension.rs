//! Certificate extensions, right ones and others.

use super::oid;
use crate::der::{self, Form};

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

    pub(super) fn der(&self) -> Vec<u8> {
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
