//! The signed form of a snapshot: how the control plane writes it, how the proxy opens it.

use std::fmt;

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair,
        ParsedPublicKey,
    },
};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use serde::Deserialize;
use spiffe::SpiffeId;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{Digest, SCHEMA, Snapshot, SnapshotDocument, SnapshotError};

/// What is signed begins with this, so that the key's signatures mean nothing elsewhere.
const CONTEXT: &[u8] = b"cellwall policy snapshot v1\0";
/// The longest payload: below what one gRPC message carries.
pub const MAX_PAYLOAD_BYTES: usize = 4_000_000;

/// A snapshot as it travels. Nothing in it is true before [`PolicyKey::open`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignedSnapshot {
    /// The [`SnapshotDocument`], as JSON.
    pub payload: Vec<u8>,
    /// ECDSA P-256 with SHA-256 over a fixed prefix and the payload, as ASN.1.
    pub signature: Vec<u8>,
}

/// The public half of the key that signs policies. A proxy takes it from its configuration.
#[derive(Debug)]
pub struct PolicyKey(ParsedPublicKey);

/// The key that signs policies. Another one than the certificate authority's (POL-01).
pub struct PolicySigner(EcdsaKeyPair);

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum KeyError {
    /// The text is no PEM "PUBLIC KEY".
    #[error("not a PEM file with a PUBLIC KEY")]
    NotPem,
    /// It is not a P-256 key.
    #[error("not a P-256 key")]
    NotP256,
    /// No key could be made.
    #[error("no key could be made")]
    Generate,
}

/// Why a snapshot could not be signed.
#[derive(Debug, Error)]
pub enum SignError {
    /// The document is no policy.
    #[error("the document is not a valid policy")]
    Document(#[from] SnapshotError),
    /// The document has no JSON form.
    #[error("the document cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// The payload would be longer than [`MAX_PAYLOAD_BYTES`].
    #[error("the payload has {0} bytes, more than {MAX_PAYLOAD_BYTES}")]
    TooLong(usize),
    /// The signature could not be made.
    #[error("the signature could not be made")]
    Signature,
}

/// Why a signed snapshot is not in force.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The payload is longer than [`MAX_PAYLOAD_BYTES`].
    #[error("the payload has {0} bytes, more than {MAX_PAYLOAD_BYTES}")]
    TooLong(usize),
    /// The control plane's key did not sign this.
    #[error("the signature does not fit")]
    Signature,
    /// It is of a schema that this release does not read (AZ-08).
    #[error("schema {0} is not known, this release reads schema {SCHEMA}")]
    Schema(u32),
    /// It is not a document of this schema: a field is unknown, missing or of another type.
    #[error("not a policy document")]
    Document(#[source] serde_json::Error),
    /// It is somebody else's.
    #[error("the policy is for `{0}`")]
    Callee(String),
    /// It contradicts itself.
    #[error("the policy is not valid")]
    Policy(#[from] SnapshotError),
}

/// The one field that every schema has.
#[derive(Deserialize)]
struct Header {
    schema: u32,
}

impl SignedSnapshot {
    /// SHA-256 of the payload: what an ack names besides the version.
    pub fn hash(&self) -> [u8; 32] {
        *Digest::of(&self.payload).as_bytes()
    }
}

impl PolicyKey {
    /// Reads a PEM file with a P-256 "PUBLIC KEY".
    ///
    /// # Errors
    ///
    /// [`KeyError`] when it is something else.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let spki = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| KeyError::NotPem)?;
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, spki.as_ref());
        key.map(Self).map_err(|_| KeyError::NotP256)
    }

    /// Opens a snapshot for `callee`: the signature first, then the schema, then whose it is, then
    /// everything else.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: then nothing of it may be used, and what was in force stays.
    pub fn open(&self, signed: &SignedSnapshot, callee: &SpiffeId) -> Result<Snapshot, OpenError> {
        if signed.payload.len() > MAX_PAYLOAD_BYTES {
            return Err(OpenError::TooLong(signed.payload.len()));
        }
        self.0
            .verify_sig(&message(&signed.payload), &signed.signature)
            .map_err(|_| OpenError::Signature)?;
        let header: Header =
            serde_json::from_slice(&signed.payload).map_err(OpenError::Document)?;
        if header.schema != SCHEMA {
            return Err(OpenError::Schema(header.schema));
        }
        let document: SnapshotDocument =
            serde_json::from_slice(&signed.payload).map_err(OpenError::Document)?;
        if document.callee != callee.to_string() {
            return Err(OpenError::Callee(document.callee));
        }
        Ok(Snapshot::new(document)?)
    }
}

impl PolicySigner {
    /// Makes a new private key, as PKCS#8 DER.
    ///
    /// # Errors
    ///
    /// [`KeyError::Generate`] when the cryptographic library fails.
    pub fn generate() -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let random = SystemRandom::new();
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
            .map(|der| Zeroizing::new(der.as_ref().to_vec()))
            .map_err(|_| KeyError::Generate)
    }

    /// Takes a private key as [`generate`](Self::generate) made it.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotP256`] when it is something else.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der)
            .map(Self)
            .map_err(|_| KeyError::NotP256)
    }

    /// The public half, for [`PolicyKey::from_pem`].
    ///
    /// # Errors
    ///
    /// [`KeyError::NotP256`] when the cryptographic library cannot write it.
    pub fn public_key_pem(&self) -> Result<String, KeyError> {
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(self.0.public_key())
            .map_err(|_| KeyError::NotP256)?;
        Ok(pem::encode(&pem::Pem::new("PUBLIC KEY", der.as_ref())))
    }

    /// Checks and signs a document.
    ///
    /// # Errors
    ///
    /// [`SignError`]: a document that a proxy would refuse is not signed.
    pub fn sign(&self, document: &SnapshotDocument) -> Result<SignedSnapshot, SignError> {
        Snapshot::new(document.clone())?;
        let payload = serde_json::to_vec(document).map_err(SignError::Json)?;
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(SignError::TooLong(payload.len()));
        }
        let signature = self
            .0
            .sign(&SystemRandom::new(), &message(&payload))
            .map_err(|_| SignError::Signature)?;
        Ok(SignedSnapshot { payload, signature: signature.as_ref().to_vec() })
    }
}

impl fmt::Debug for PolicySigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PolicySigner")
    }
}

fn message(payload: &[u8]) -> Vec<u8> {
    [CONTEXT, payload].concat()
}
