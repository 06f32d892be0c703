//! A chain of three certificates, as the control plane issues them.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use cellwall_mtls::{DenyList, MaterialInput, TlsMaterial};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use spiffe::TrustDomain;

use super::StepError;

const LIFE: Duration = Duration::from_secs(3600);

/// What a generation of material is built from, again and again.
pub(super) struct Chain {
    chain: Vec<CertificateDer<'static>>,
    root: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    trust_domain: TrustDomain,
    now: UnixTime,
}

impl Chain {
    pub(super) fn new(now: SystemTime) -> Result<Self, StepError> {
        let root_key = KeyPair::generate().map_err(StepError::Certificates)?;
        let root = authority(now, 1)?;
        let root_certificate = root.self_signed(&root_key).map_err(StepError::Certificates)?;
        let root = Issuer::new(root, root_key);
        let between_key = KeyPair::generate().map_err(StepError::Certificates)?;
        let between = authority(now, 0)?;
        let between_certificate =
            between.signed_by(&between_key, &root).map_err(StepError::Certificates)?;
        let between = Issuer::new(between, between_key);
        let key = KeyPair::generate().map_err(StepError::Certificates)?;
        let mut leaf = params(now, "spiffe://bench.example/prod/caller")?;
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = leaf.signed_by(&key, &between).map_err(StepError::Certificates)?;
        let der = |certificate: &Certificate| certificate.der().clone();
        let chain = Self {
            chain: vec![der(&leaf), der(&between_certificate)],
            root: der(&root_certificate),
            key: PrivateKeyDer::try_from(key.serialize_der()).map_err(StepError::Key)?,
            trust_domain: TrustDomain::new("bench.example").map_err(StepError::Identity)?,
            now: UnixTime::since_unix_epoch(
                now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            ),
        };
        // A chain that is refused would be a quick one.
        TlsMaterial::build(chain.input()).map_err(StepError::Material)?;
        Ok(chain)
    }

    pub(super) fn input(&self) -> MaterialInput {
        MaterialInput {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            bundles: BTreeMap::from([(self.trust_domain.clone(), vec![self.root.clone()])]),
            deny: DenyList::default(),
            generation: 1,
            now: self.now,
        }
    }
}

fn authority(now: SystemTime, below: u8) -> Result<CertificateParams, StepError> {
    let mut params = params(now, "spiffe://bench.example")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn params(now: SystemTime, id: &str) -> Result<CertificateParams, StepError> {
    let mut params = CertificateParams::default();
    params.not_before = now.checked_sub(LIFE).unwrap_or(SystemTime::UNIX_EPOCH).into();
    params.not_after = (now + LIFE).into();
    params.distinguished_name = DistinguishedName::new();
    let id = id.try_into().map_err(StepError::Certificates)?;
    params.subject_alt_names = vec![SanType::URI(id)];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}
