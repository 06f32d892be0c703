//! An X509-SVID as a client got it.

use cellwall_api::workload::X509svid;
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use x509_parser::{certificate::X509Certificate, parse_x509_certificate};

pub(crate) struct Svid {
    pub(crate) id: String,
    pub(crate) leaf: CertificateDer<'static>,
    pub(crate) key: Vec<u8>,
    pub(crate) anchor: CertificateDer<'static>,
}

impl Svid {
    /// One leaf, one anchor, each exactly one certificate; the key is the leaf's.
    pub(crate) fn read(svid: X509svid) -> Self {
        let [leaf, anchor] = [svid.x509_svid, svid.bundle].map(CertificateDer::from);
        let read = Self { id: svid.spiffe_id, leaf, key: svid.x509_svid_key, anchor };
        assert!(parse_x509_certificate(&read.anchor).unwrap().0.is_empty());
        assert!(parse_x509_certificate(&read.leaf).unwrap().0.is_empty());
        let key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(read.key.as_slice())).unwrap();
        assert_eq!(read.certificate().public_key().raw, key.subject_public_key_info());
        read
    }

    pub(crate) fn certificate(&self) -> X509Certificate<'_> {
        parse_x509_certificate(&self.leaf).unwrap().1
    }

    pub(crate) fn serial(&self) -> String {
        self.certificate().raw_serial().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn public_key(&self) -> Vec<u8> {
        self.certificate().public_key().raw.to_vec()
    }

    /// Seconds from `notBefore` to `notAfter`.
    pub(crate) fn life(&self) -> i64 {
        let certificate = self.certificate();
        let validity = certificate.validity();
        validity.not_after.timestamp() - validity.not_before.timestamp()
    }
}
