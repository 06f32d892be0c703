//! The authority's own certificate and key.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use spiffe::TrustDomain;
use x509_parser::parse_x509_certificate;
use zeroize::Zeroizing;

use super::BACKDATED;

/// An authority that can sign.
pub struct Ca {
    /// Whose it is.
    pub trust_domain: TrustDomain,
    /// Its certificate.
    pub certificate: CertificateDer<'static>,
    /// When its certificate begins.
    pub not_before: SystemTime,
    /// When its certificate ends.
    pub not_after: SystemTime,
    pub(super) issuer: Issuer<'static, KeyPair>,
}

/// An authority that was made a moment ago and is not stored yet.
pub struct NewCa {
    /// Its certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key, PKCS #8.
    pub key: Zeroizing<Vec<u8>>,
}

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The cryptographic library failed, or the key is not one.
    #[error("the authority's key or certificate cannot be made or read")]
    Library(#[source] rcgen::Error),
    /// The stored certificate is not one.
    #[error("the authority's certificate cannot be read")]
    Certificate,
    /// Certificate and key do not belong together.
    #[error("the authority's certificate is not for its key")]
    Mismatch,
    /// The certificate is another trust domain's.
    #[error("the authority's certificate is not for `{0}`")]
    TrustDomain(TrustDomain),
}

impl Ca {
    /// Makes a self-signed P-256 authority: SPIFFE ID without a path, `cA`, `keyCertSign` and
    /// `cRLSign`, no extended key usage (SPID-10, SPID-11, X5-05, X5-06, X5-09, X5-14).
    ///
    /// # Errors
    ///
    /// [`CaError::Library`] when the cryptographic library fails.
    pub fn found(
        trust_domain: &TrustDomain,
        now: SystemTime,
        life: Duration,
    ) -> Result<NewCa, CaError> {
        let key = Zeroizing::new(KeyPair::generate().map_err(CaError::Library)?);
        let mut ca = CertificateParams::default();
        ca.not_before = now.checked_sub(BACKDATED).unwrap_or(SystemTime::UNIX_EPOCH).into();
        ca.not_after = (now + life).into();
        // Positive, and its own: the hash of a key that was made a moment ago.
        let serial = digest(&SHA256, key.der_bytes());
        let serial: Vec<u8> =
            [0x40].into_iter().chain(serial.as_ref().iter().copied().take(15)).collect();
        ca.serial_number = Some(SerialNumber::from(serial));
        ca.distinguished_name = rcgen::DistinguishedName::new();
        ca.distinguished_name.push(DnType::OrganizationName, "Cellwall");
        ca.distinguished_name.push(DnType::CommonName, trust_domain.as_str());
        let name = trust_domain.id_string().try_into().map_err(CaError::Library)?;
        ca.subject_alt_names = vec![SanType::URI(name)];
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = ca.self_signed(&*key).map_err(CaError::Library)?;
        Ok(NewCa {
            certificate: certificate.der().clone(),
            key: Zeroizing::new(key.serialized_der().to_vec()),
        })
    }

    /// An authority from what was stored.
    ///
    /// # Errors
    ///
    /// [`CaError`] when certificate, key and trust domain do not belong together.
    pub fn load(
        trust_domain: TrustDomain,
        certificate: CertificateDer<'static>,
        key: &[u8],
    ) -> Result<Self, CaError> {
        let key = PrivatePkcs8KeyDer::from(key);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)
            .map_err(CaError::Library)?;
        let (_, parsed) = parse_x509_certificate(&certificate).map_err(|_| CaError::Certificate)?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(CaError::Mismatch);
        }
        let expected = trust_domain.id_string();
        let names = parsed.subject_alternative_name().map_err(|_| CaError::Certificate)?;
        let names = names.map(|names| names.value.general_names.as_slice());
        if !matches!(names, Some([x509_parser::extensions::GeneralName::URI(name)])
            if *name == expected)
        {
            return Err(CaError::TrustDomain(trust_domain));
        }
        let not_before = parsed.validity().not_before.to_datetime().into();
        let not_after = parsed.validity().not_after.to_datetime().into();
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(CaError::Library)?;
        Ok(Self { trust_domain, certificate, not_before, not_after, issuer })
    }
}

impl std::fmt::Debug for NewCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewCa").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ca").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}
