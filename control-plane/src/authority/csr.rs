//! What is taken from a certificate request: the public key, and the proof that it is theirs.

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::SubjectPublicKeyInfo;
use rustls_pki_types::CertificateSigningRequestDer;
use x509_parser::{
    certification_request::X509CertificationRequest,
    oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384},
    prelude::FromDer,
    x509,
};

/// A request with one public key fits many times; more is not one.
const MAX_BYTES: usize = 16 * 1024;
/// Uncompressed points: a byte `04`, then two coordinates (SEC 1 §2.3.3).
const P256_POINT_BYTES: usize = 1 + 2 * 32;
const P384_POINT_BYTES: usize = 1 + 2 * 48;

/// A public key that its owner proved to hold, of a kind that we certify (CA-05).
#[derive(Clone, Debug)]
pub struct PublicKey {
    pub(super) for_signing: SubjectPublicKeyInfo,
    pub(super) info: Vec<u8>,
}

/// Why a request is not one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CsrError {
    /// Not PKCS #10, or far too long.
    #[error("not a certificate request")]
    Malformed,
    /// Whoever sent it does not hold the private key.
    #[error("the request is not signed by the key in it")]
    NoProof,
    /// Only P-256 and P-384 are certified.
    #[error("the key is not P-256 or P-384")]
    KeyKind,
}

impl PublicKey {
    /// Takes the key out of a request and nothing else: no name, no extension, no attribute
    /// (CA-01).
    ///
    /// # Errors
    ///
    /// [`CsrError`] when the request is malformed, unproved or of a kind of key that is not
    /// certified.
    pub fn from_csr(csr: &CertificateSigningRequestDer<'_>) -> Result<Self, CsrError> {
        if csr.len() > MAX_BYTES {
            return Err(CsrError::Malformed);
        }
        let (rest, request) =
            X509CertificationRequest::from_der(csr).map_err(|_| CsrError::Malformed)?;
        if !rest.is_empty() {
            return Err(CsrError::Malformed);
        }
        let info = &request.certification_request_info.subject_pki;
        if !is_certified(info) {
            return Err(CsrError::KeyKind);
        }
        request.verify_signature().map_err(|_| CsrError::NoProof)?;
        let for_signing =
            SubjectPublicKeyInfo::from_der(info.raw).map_err(|_| CsrError::KeyKind)?;
        Ok(Self { for_signing, info: info.raw.to_vec() })
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    pub fn sha256(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &self.info).as_ref());
        hash
    }
}

fn is_certified(info: &x509::SubjectPublicKeyInfo<'_>) -> bool {
    let curve = info.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    let point = info.subject_public_key.data.as_ref();
    let length = match curve {
        Some(curve) if curve == OID_EC_P256 => P256_POINT_BYTES,
        Some(curve) if curve == OID_NIST_EC_P384 => P384_POINT_BYTES,
        Some(_) | None => return false,
    };
    info.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY
        && point.len() == length
        && point.first() == Some(&4)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
        PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm,
    };
    use rustls_pki_types::CertificateSigningRequestDer;

    use super::{CsrError, PublicKey};

    fn csr(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        CertificateParams::default().serialize_request(&key).unwrap().der().to_vec()
    }

    fn read(csr: &[u8]) -> Result<(), CsrError> {
        PublicKey::from_csr(&CertificateSigningRequestDer::from(csr)).map(|_| ())
    }

    #[test]
    fn only_two_curves_are_certified() {
        // CA-05
        assert_eq!(read(&csr(&PKCS_ECDSA_P256_SHA256)), Ok(()));
        assert_eq!(read(&csr(&PKCS_ECDSA_P384_SHA384)), Ok(()));
        for other in [&PKCS_ED25519, &PKCS_RSA_SHA256, &PKCS_ECDSA_P521_SHA512] {
            assert_eq!(read(&csr(other)), Err(CsrError::KeyKind));
        }
    }

    #[test]
    fn a_request_is_at_most_so_large() {
        // CA-01: names are not used, so they need no room
        let key = KeyPair::generate().unwrap();
        let sized = |bytes: usize| {
            let mut names = CertificateParams::default();
            let oid = [1, 2, 3];
            let filler = rcgen::CustomExtension::from_oid_content(&oid, vec![0; bytes]);
            names.custom_extensions.push(filler);
            read(names.serialize_request(&key).unwrap().der())
        };
        assert_eq!(sized(15 * 1024), Ok(()));
        assert_eq!(sized(16 * 1024), Err(CsrError::Malformed));
    }

    #[test]
    fn a_request_without_proof_of_possession_is_refused() {
        // CA-01: another's public key, signed for with ours.
        let mut forged = csr(&PKCS_ECDSA_P256_SHA256);
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert_eq!(read(&forged), Err(CsrError::NoProof));
    }

    #[test]
    fn a_point_that_is_no_public_key_is_refused() {
        // CA-05: off the curve, at infinity, compressed; each where the right one was
        let good = csr(&PKCS_ECDSA_P256_SHA256);
        let mark = [0x03, 0x42, 0x00, 0x04]; // BIT STRING of 66 bytes, an uncompressed point
        let at = good.windows(4).position(|window| window == mark).unwrap() + 3;
        let bent = |spoil: fn(&mut [u8])| {
            let mut bent = good.clone();
            spoil(&mut bent[at..at + 65]);
            read(&bent)
        };
        assert_eq!(bent(|_| ()), Ok(()));
        assert_eq!(bent(|point| point[64] ^= 1), Err(CsrError::NoProof));
        assert_eq!(bent(|point| point[1..].fill(0)), Err(CsrError::NoProof));
        for form in [0, 2, 3, 6, 7] {
            let mut bent = good.clone();
            bent[at] = form;
            assert_eq!(read(&bent), Err(CsrError::KeyKind), "form {form}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let good = csr(&PKCS_ECDSA_P256_SHA256);
        let pem = cellwall_testkit::ca::pem("CERTIFICATE REQUEST", &good);
        let certificate = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&certificate).unwrap();
        for bad in [
            b"",
            &good[..good.len() - 1],
            &[good.as_slice(), b"x"].concat(),
            &[good.as_slice(), &good].concat(),
            &[0x30; 20_000],
            pem.as_bytes(),
            certificate.der(),
        ] {
            assert_eq!(read(bad), Err(CsrError::Malformed));
        }
    }
}
