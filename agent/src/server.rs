//! The seam between a node and the control plane: embedded in its process, or behind mTLS.

use std::{sync::Arc, time::SystemTime};

use rustls_pki_types::CertificateSigningRequestDer;
use spiffe::{SpiffeId, TrustDomain};
use tokio::sync::watch;

use crate::{Process, Selectors};

/// What an agent asks of the control plane. The server decides who is entitled, at each question
/// anew; the agent only says what it saw.
pub trait Server: Send + Sync + 'static {
    /// A number that changes whenever entries or bundles may have.
    fn changes(&self) -> watch::Receiver<u64>;

    /// What a process with these selectors is entitled to now.
    fn view(&self, selectors: &Selectors) -> impl Future<Output = Result<View, Refused>> + Send;

    /// Signs for one identity, if the process in the order is entitled to it.
    fn sign(&self, order: Order) -> impl Future<Output = Result<Issued, Refused>> + Send;
}

/// One process's view of the trust domain, read at one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// The identities that it is entitled to, the default one first. Empty: not entitled.
    pub ids: Vec<SpiffeId>,
    /// Whom members of the trust domain trust.
    pub bundle: Arc<Bundle>,
}

/// The authorities of one trust domain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bundle {
    /// Whose they are.
    pub trust_domain: TrustDomain,
    /// Their certificates, DER, one after the other.
    pub authorities: Vec<u8>,
}

/// A request for one certificate.
#[derive(Debug)]
pub struct Order {
    /// Which identity.
    pub id: SpiffeId,
    /// For which process.
    pub process: Process,
    /// SHA-256 of its executable, for the audit record; absent when we may not read it.
    pub executable: Option<[u8; 32]>,
    /// The public key and the proof that its owner holds the private half.
    pub csr: CertificateSigningRequestDer<'static>,
}

/// A certificate that was issued.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issued {
    /// Leaf first, DER, one after the other.
    pub chain: Vec<u8>,
    /// The leaf's serial number, hexadecimal.
    pub serial: String,
    /// When it was signed. Its `notBefore` is earlier, for clocks that are behind.
    pub issued_at: SystemTime,
    /// When it ends.
    pub not_after: SystemTime,
}

/// Why the server gave nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// No entry gives this process this identity.
    #[error("not entitled")]
    NotEntitled,
    /// The server cannot answer now; later it may.
    #[error("unavailable: {0}")]
    Unavailable(String),
}
