//! A certificate authority for tests: roots, intermediates and X509-SVIDs, right or bent.

use std::{fmt, sync::Arc, time::Duration};

use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::x509::{
    Algorithm, Constraints, Draft, Extension, Key, Name, Signer, Usage, Validity, oid,
};

const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A signing authority of one trust domain: a root, or an intermediate below one.
#[derive(Clone, Debug)]
pub struct TestCa {
    trust_domain: Arc<str>,
    name: Arc<str>,
    key: Arc<Key>,
    root: CertificateDer<'static>,
    /// Own certificate first, without the root.
    chain: Vec<CertificateDer<'static>>,
}

impl TestCa {
    /// A new root for `trust_domain`, valid from an hour ago for ten years.
    pub fn new(trust_domain: &str) -> Self {
        Self::valid(trust_domain, Validity::around_now(HOUR, 10 * YEAR))
    }

    /// A new root with a validity of its own.
    pub fn valid(trust_domain: &str, validity: Validity) -> Self {
        // RFC 5280 allows 64 characters; a trust domain may have 255.
        let name = trust_domain.chars().take(40).chain(" root".chars()).collect::<String>();
        let draft = Self::draft(&name, &format!("spiffe://{trust_domain}"), validity);
        Self::from_draft(trust_domain, &draft)
    }

    /// A root from any draft, signed by itself.
    pub fn from_draft(trust_domain: &str, draft: &Draft) -> Self {
        let key = Key::generate(Algorithm::P256);
        let name = draft.subject.clone().unwrap_or_default();
        let root = draft.sign(&key, Signer { name: draft.subject.as_deref(), key: &key });
        Self {
            trust_domain: trust_domain.into(),
            name: name.into(),
            key: Arc::new(key),
            root,
            chain: Vec::new(),
        }
    }

    /// Another root of the same trust domain and the same name, with a key of its own.
    pub fn rotated(&self) -> Self {
        Self::new(&self.trust_domain)
    }

    /// An intermediate that this authority signs, valid from an hour ago for a year.
    pub fn intermediate(&self) -> Self {
        self.intermediate_from(&self.intermediate_draft())
    }

    /// An intermediate from any draft. What it issues carries it in the chain.
    pub fn intermediate_from(&self, draft: &Draft) -> Self {
        let key = Key::generate(Algorithm::P256);
        let mut chain = vec![draft.sign(&key, self.signer())];
        chain.extend(self.chain.iter().cloned());
        Self {
            trust_domain: self.trust_domain.clone(),
            name: draft.subject.as_deref().unwrap_or_default().into(),
            key: Arc::new(key),
            root: self.root.clone(),
            chain,
        }
    }

    /// What [`TestCa::intermediate`] signs, to be changed before it is signed. Its common name is
    /// one longer than its issuer's.
    pub fn intermediate_draft(&self) -> Draft {
        let name = format!("{} intermediate", self.name);
        let id = format!("spiffe://{}", self.trust_domain);
        Self::draft(&name, &id, Validity::around_now(HOUR, YEAR))
    }

    fn draft(name: &str, id: &str, validity: Validity) -> Draft {
        Draft::new(Some(name), validity)
            .with(Extension::names(&[Name::Uri(id.as_bytes())]))
            .with(Extension::basic_constraints(Constraints::Ca))
            .with(Extension::key_usage(&[Usage::KeyCertSign, Usage::CrlSign]))
    }

    /// An X509-SVID for `id`, valid from a minute ago for an hour.
    pub fn svid(&self, id: &str) -> Svid {
        self.svid_from(&Self::svid_draft(id))
    }

    /// An X509-SVID with a validity of its own.
    pub fn svid_valid(&self, id: &str, validity: Validity) -> Svid {
        self.svid_from(&Self::svid_draft(id).valid(validity))
    }

    /// What [`TestCa::svid`] signs, to be changed before it is signed. `id` is written as it is.
    pub fn svid_draft(id: &str) -> Draft {
        Draft::new(Some("workload"), Validity::around_now(Duration::from_secs(60), HOUR))
            .with(Extension::names(&[Name::Uri(id.as_bytes())]))
            .with(Extension::basic_constraints(Constraints::Leaf))
            .with(Extension::key_usage(&[Usage::DigitalSignature]))
            .with(Extension::extended_key_usage(&[oid::SERVER_AUTH, oid::CLIENT_AUTH]))
    }

    /// Signs any draft with a new key and adds the chain up to, without, the root.
    pub fn svid_from(&self, draft: &Draft) -> Svid {
        self.svid_for(draft, &Key::generate(Algorithm::P256))
    }

    /// Signs any draft for a given key and adds the chain up to, without, the root.
    pub fn svid_for(&self, draft: &Draft, key: &Key) -> Svid {
        let mut chain = vec![draft.sign(key, self.signer())];
        chain.extend(self.chain.iter().cloned());
        Svid { chain, key: key.pkcs8(), serial: draft.serial.clone(), validity: draft.validity }
    }

    /// The root certificate: what belongs into the trust bundle.
    pub fn root(&self) -> CertificateDer<'static> {
        self.root.clone()
    }

    /// This authority's own certificate: the root's, or the intermediate's.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.chain.first().unwrap_or(&self.root).clone()
    }

    /// Its own certificates, below the root, nearest first; empty for a root.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The trust domain's name.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Name and key, to sign a draft by hand.
    pub fn signer(&self) -> Signer<'_> {
        Signer { name: Some(&self.name), key: &self.key }
    }

    /// The signing key, as a thief would have it.
    pub fn key(&self) -> &Key {
        &self.key
    }
}

/// What a workload holds: a certificate chain, leaf first, and the leaf's key.
pub struct Svid {
    /// Leaf first, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS#8.
    pub key: PrivateKeyDer<'static>,
    /// The leaf's serial number, big-endian.
    pub serial: Vec<u8>,
    /// From when until when the leaf is valid.
    pub validity: Validity,
}

impl Svid {
    /// The leaf's serial number in lower-case hex, as logs show it.
    pub fn serial_hex(&self) -> String {
        self.serial.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The chain and the key as PEM text, for programs that read files.
    pub fn pem(&self) -> (String, String) {
        let chain = self.chain.iter().map(|certificate| pem("CERTIFICATE", certificate));
        (chain.collect(), pem("PRIVATE KEY", self.key.secret_der()))
    }
}

impl Clone for Svid {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            serial: self.serial.clone(),
            validity: self.validity,
        }
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid")
            .field("certificates", &self.chain.len())
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// DER as PEM text with this label.
pub fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for (index, chunk) in der.chunks(3).enumerate() {
        if index % 16 == 0 {
            text.push('\n');
        }
        let group = chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let sextet = (group >> (18 - 6 * position) & 0x3f) as usize;
            let letter = ALPHABET.get(sextet).filter(|_| position <= chunk.len());
            text.push(letter.map_or('=', |letter| char::from(*letter)));
        }
    }
    format!("-----BEGIN {label}-----{text}\n-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use rustls::{RootCertStore, crypto::aws_lc_rs, server::WebPkiClientVerifier};
    use rustls_pki_types::UnixTime;

    use super::*;

    fn webpki_accepts(root: CertificateDer<'static>, svid: &Svid) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(root).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
        let (leaf, rest) = svid.chain.split_first().unwrap();
        verifier.verify_client_cert(leaf, rest, UnixTime::now()).map(|_| ())
    }

    #[test]
    fn webpki_accepts_an_svid_of_the_root_and_one_of_an_intermediate() {
        let ca = TestCa::new("pay.example");
        let id = "spiffe://pay.example/prod/checkout";

        assert_eq!(webpki_accepts(ca.root(), &ca.svid(id)), Ok(()));
        assert_eq!(webpki_accepts(ca.root(), &ca.intermediate().intermediate().svid(id)), Ok(()));
    }

    #[test]
    fn webpki_refuses_an_svid_of_the_root_before_the_rotation() {
        let (old, id) = (TestCa::new("pay.example"), "spiffe://pay.example/prod/checkout");

        assert!(webpki_accepts(old.rotated().root(), &old.svid(id)).is_err());
    }

    #[test]
    fn pem_pads_and_wraps_as_rfc_7468_says() {
        assert_eq!(pem("X", b"f"), "-----BEGIN X-----\nZg==\n-----END X-----\n");
        assert_eq!(pem("X", b"foob"), "-----BEGIN X-----\nZm9vYg==\n-----END X-----\n");
        let line = "AAAA".repeat(16);
        let expected = format!("-----BEGIN X-----\n{line}\nAAA=\n-----END X-----\n");
        assert_eq!(pem("X", &[0; 50]), expected);
    }
}
