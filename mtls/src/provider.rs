//! Which cryptography a handshake may use: chosen here, never the process default (TLS-07).

use std::sync::{Arc, OnceLock};

use ::aws_lc_rs::digest as aws_lc;
use rustls::{
    NamedGroup, SignatureScheme,
    crypto::{
        CryptoProvider, SupportedKxGroup, WebPkiSupportedAlgorithms,
        aws_lc_rs::{self, cipher_suite, kx_group},
    },
};
use webpki::aws_lc_rs as alg;

/// What may sign a certificate or a handshake: ECDSA on P-256 and P-384, Ed25519, and RSA of at
/// least 2048 bits for those whose authority has it. No SHA-1 (TLS-02).
static SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        alg::ECDSA_P256_SHA256,
        alg::ECDSA_P256_SHA384,
        alg::ECDSA_P384_SHA256,
        alg::ECDSA_P384_SHA384,
        alg::ED25519,
        alg::RSA_PKCS1_2048_8192_SHA256,
        alg::RSA_PKCS1_2048_8192_SHA384,
        alg::RSA_PKCS1_2048_8192_SHA512,
        alg::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        alg::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        alg::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
    ],
    // RFC 8446 §4.2.3: in TLS 1.3 a scheme names its curve, and RSA signs with PSS only.
    mapping: &[
        (SignatureScheme::ECDSA_NISTP256_SHA256, &[alg::ECDSA_P256_SHA256]),
        (SignatureScheme::ECDSA_NISTP384_SHA384, &[alg::ECDSA_P384_SHA384]),
        (SignatureScheme::ED25519, &[alg::ED25519]),
        (SignatureScheme::RSA_PSS_SHA256, &[alg::RSA_PSS_2048_8192_SHA256_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA384, &[alg::RSA_PSS_2048_8192_SHA384_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA512, &[alg::RSA_PSS_2048_8192_SHA512_LEGACY_KEY]),
    ],
};

/// Our one provider: aws-lc-rs, the hybrid post-quantum group first (TLS-02).
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| {
            Arc::new(CryptoProvider {
                // AES-128 before AES-256: 8 % less work in bulk, and no known reason against it.
                cipher_suites: vec![
                    cipher_suite::TLS13_AES_128_GCM_SHA256,
                    cipher_suite::TLS13_AES_256_GCM_SHA384,
                    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
                ],
                kx_groups: vec![
                    kx_group::X25519MLKEM768,
                    kx_group::X25519,
                    kx_group::SECP256R1,
                    kx_group::SECP384R1,
                ],
                signature_verification_algorithms: SIGNATURES,
                ..aws_lc_rs::default_provider()
            })
        })
        .clone()
}

/// The groups of a key exchange that a session may have, as conditions of a policy name them.
pub const GROUPS: [&str; 4] = ["X25519MLKEM768", "X25519", "secp256r1", "secp384r1"];

/// The name of a session's group. A session always has one of our provider's.
pub(crate) fn group_name(group: Option<&'static dyn SupportedKxGroup>) -> &'static str {
    let [hybrid, x25519, p256, p384] = GROUPS;
    match group.map(SupportedKxGroup::name) {
        Some(NamedGroup::X25519MLKEM768) => hybrid,
        Some(NamedGroup::X25519) => x25519,
        Some(NamedGroup::secp256r1) => p256,
        Some(NamedGroup::secp384r1) => p384,
        _ => "unknown",
    }
}

/// One line for the start log: library, groups in order of preference, cipher suites (TLS-07).
pub fn describe_provider() -> String {
    let provider = provider();
    let groups: Vec<NamedGroup> = provider.kx_groups.iter().map(|group| group.name()).collect();
    let suites: Vec<_> = provider.cipher_suites.iter().map(|suite| suite.suite()).collect();
    format!("aws-lc-rs, TLS 1.3, groups {groups:?}, suites {suites:?}")
}

/// SHA-256, for names of keys and certificates.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc::digest(&aws_lc::SHA256, bytes);
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}
