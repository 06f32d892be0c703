//! Object identifiers of extensions, usages and algorithms.

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
