//! Signing a leaf: everything in it comes from the registration entry and the clock.

use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use spiffe::SpiffeId;

use super::PublicKey;

/// `notBefore` lies so far before issuance, for peers whose clocks are behind (X5-20).
pub const BACKDATED: Duration = Duration::from_secs(60);
const SERIAL_BYTES: usize = 16;

/// Why a leaf could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    /// There was no randomness for a serial number.
    #[error("no randomness")]
    Random,
    /// The identity cannot stand in a certificate, or signing failed.
    #[error("cannot sign")]
    Sign(#[source] rcgen::Error),
}

/// From when to when, in whole seconds: a certificate knows no smaller ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// When it was signed.
    pub issued_at: SystemTime,
    /// When it ends.
    pub not_after: SystemTime,
}

impl Validity {
    /// `ttl` from `now` on.
    pub fn starting(now: SystemTime, ttl: Duration) -> Self {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let issued_at = SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs());
        Self { issued_at, not_after: issued_at + ttl }
    }

    /// When it begins to be valid.
    pub fn not_before(&self) -> SystemTime {
        self.issued_at.checked_sub(BACKDATED).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// Signs a leaf for `id`. The result is not checked: see [`super::check`].
pub(super) fn sign(
    issuer: &Issuer<'_, KeyPair>,
    id: &SpiffeId,
    key: &PublicKey,
    validity: Validity,
) -> Result<(CertificateDer<'static>, Vec<u8>), LeafError> {
    let serial = serial()?;
    let mut leaf = CertificateParams::default();
    leaf.serial_number = Some(SerialNumber::from_slice(&serial));
    leaf.not_before = validity.not_before().into();
    leaf.not_after = validity.not_after.into();
    // X5-04: without a subject, the one name is critical.
    leaf.distinguished_name = DistinguishedName::new();
    // X5-01
    let name = id.to_string().try_into().map_err(LeafError::Sign)?;
    leaf.subject_alt_names = vec![SanType::URI(name)];
    // X5-08
    leaf.is_ca = IsCa::ExplicitNoCa;
    // X5-09 to X5-12
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // X5-13
    leaf.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    leaf.use_authority_key_identifier_extension = true;
    let signed = leaf.signed_by(&key.for_signing, issuer).map_err(LeafError::Sign)?;
    Ok((signed.der().clone(), serial.to_vec()))
}

/// 126 random bits: never zero, never negative, always of the same length (X5-20).
fn serial() -> Result<[u8; SERIAL_BYTES], LeafError> {
    let mut serial = [0; SERIAL_BYTES];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| LeafError::Random)?;
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    Ok(serial)
}
