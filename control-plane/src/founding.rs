//! `init`: makes a trust domain, once.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use cellwall_policy::{KeyError, PolicySigner};
use serde_json::json;
use spiffe::TrustDomain;

use crate::{
    audit::{Act, Record},
    authority::{Ca, CaError},
    epoch::{self, EpochError},
    files::{DataDir, FilesError, write_public},
    store::{Founded, Founding, SealingKey, SealingKeyError, Store, StoreError, Unsealable, hex},
};

const CA_KEY: &str = "authority-key/1";
const POLICY_KEY: &str = "policy-key/1";

/// A trust domain's secrets, opened.
#[derive(Debug)]
pub struct TrustRoot {
    /// The authority.
    pub ca: Ca,
    /// Signs policies.
    pub signer: PolicySigner,
    /// Orders them before their version does.
    pub epoch: u64,
}

/// Why there is no trust domain here.
#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
    /// There is one already.
    #[error("{directory}: trust domain `{name}` was founded here already")]
    AlreadyFounded {
        /// Where.
        directory: String,
        /// Its name.
        name: String,
    },
    /// There is none yet.
    #[error("{0}: no trust domain here; run `cellwalld init` first")]
    NotFounded(String),
    /// The name in the database is not one.
    #[error("the trust domain's name in the database cannot be read: {0}")]
    Name(String),
    /// A secret is missing in the database.
    #[error("the database has no `{0}`")]
    Missing(&'static str),
    /// The sealing key does not fit.
    #[error("`{0}` in the database")]
    Sealed(&'static str, #[source] Unsealable),
    /// The sealing key cannot be made or used.
    #[error("cannot seal")]
    Sealing(#[from] SealingKeyError),
    /// The authority cannot be made or loaded.
    #[error("cannot use the authority")]
    Ca(#[from] CaError),
    /// The policy key cannot be made or loaded.
    #[error("cannot use the policy key")]
    PolicyKey(#[from] KeyError),
    /// The epoch cannot be read.
    #[error("cannot read the epoch")]
    Epoch(#[from] EpochError),
    /// The database refused.
    #[error("cannot use the database")]
    Store(#[from] StoreError),
    /// A file cannot be written.
    #[error("cannot write")]
    Files(#[from] FilesError),
}

/// Makes the authority and the policy key and stores both, sealed. All of it or nothing: a
/// sealing key without a trust domain, left by an earlier attempt, is used again.
///
/// # Errors
///
/// [`FoundingError`], also when a trust domain was founded here before.
pub async fn found(
    dir: &DataDir,
    store: &Store,
    sealing_key: &Path,
    order: &FoundingOrder,
) -> Result<(), FoundingError> {
    if let Some(Founded { name, .. }) = store.founded().await? {
        let directory = dir.root().display().to_string();
        return Err(FoundingError::AlreadyFounded { directory, name });
    }
    let sealing = if sealing_key.exists() {
        SealingKey::load(sealing_key)?
    } else {
        SealingKey::create(sealing_key)?
    };
    let ca = Ca::found(&order.trust_domain, order.now, order.ca_life)?;
    let policy_key = PolicySigner::generate()?;
    let certificate_hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &ca.certificate);
    let founding = Founding {
        name: order.trust_domain.to_string(),
        certificate: ca.certificate.to_vec(),
        secrets: vec![
            (CA_KEY, sealing.seal(CA_KEY, &ca.key)?),
            (POLICY_KEY, sealing.seal(POLICY_KEY, &policy_key)?),
        ],
        record: Record {
            at: order.now,
            act: Act::TrustDomainFounded,
            actor: "cellwalld".into(),
            detail: json!({
                "trust_domain": order.trust_domain.to_string(),
                "authority_sha256": hex(certificate_hash.as_ref()),
            }),
        },
    };
    store.found(founding).await?;
    Ok(())
}

/// What to found.
#[derive(Debug)]
pub struct FoundingOrder {
    /// Its name.
    pub trust_domain: TrustDomain,
    /// How long its authority lives.
    pub ca_life: Duration,
    /// When.
    pub now: SystemTime,
}

/// Opens what was founded.
///
/// # Errors
///
/// [`FoundingError`] when nothing was, or the sealing key is another's.
pub async fn open(
    dir: &DataDir,
    store: &Store,
    sealing: &SealingKey,
) -> Result<TrustRoot, FoundingError> {
    let founded = store.founded().await?;
    let epoch = founded.as_ref().map(|founded| epoch::read(founded, sealing)).transpose()?;
    let Some(Founded { name, certificate, secrets }) = founded else {
        return Err(FoundingError::NotFounded(dir.root().display().to_string()));
    };
    let trust_domain =
        TrustDomain::new(&name).map_err(|error| FoundingError::Name(error.to_string()))?;
    let secret = |purpose: &'static str| {
        let sealed = secrets.get(purpose).ok_or(FoundingError::Missing(purpose))?;
        sealing.open(purpose, sealed).map_err(|source| FoundingError::Sealed(purpose, source))
    };
    let ca = Ca::load(trust_domain, certificate.into(), &secret(CA_KEY)?)?;
    let signer = PolicySigner::from_pkcs8(&secret(POLICY_KEY)?)?;
    Ok(TrustRoot { ca, signer, epoch: epoch.unwrap_or(epoch::FIRST) })
}

/// Writes what is public: the policy key for proxies, the authority's certificate for whoever
/// wants to look.
///
/// # Errors
///
/// [`FoundingError::Files`] when a file cannot be written.
pub fn publish(dir: &DataDir, root: &TrustRoot) -> Result<(), FoundingError> {
    write_public(&dir.policy_key(), &root.signer.public_key_pem()?)?;
    let bundle = pem::Pem::new("CERTIFICATE", root.ca.certificate.as_ref());
    write_public(&dir.bundle(), &pem::encode(&bundle))?;
    Ok(())
}
