//! Key pairs that sign certificates and handshakes.

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    },
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::oid;
use crate::der;

/// The kind of a key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    P256,
    /// ECDSA on P-384 with SHA-384.
    P384,
}

impl Algorithm {
    pub(super) const fn signature_oid(self) -> &'static [u64] {
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
    pub(super) algorithm: Algorithm,
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
