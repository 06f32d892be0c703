//! What a scripted Workload API says, and to whom it is saying it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use cellwall_api::workload::{X509BundlesResponse, X509svid, X509svidResponse};
use rustls_pki_types::CertificateDer;
use tokio::sync::mpsc;
use tonic::Status;

use super::service::{Call, Calls};
use crate::ca::{Svid, TestCa};

/// The whole X.509 state of one workload: what one message carries.
#[derive(Clone, Debug, Default)]
pub struct X509State {
    /// In the order of the message; the first is the default identity.
    svids: Vec<Entry>,
    federated: BTreeMap<String, Vec<CertificateDer<'static>>>,
}

#[derive(Clone, Debug)]
struct Entry {
    id: String,
    svid: Svid,
    bundle: Vec<CertificateDer<'static>>,
    hint: String,
}

impl X509State {
    /// A fresh SVID of `ca` for `id`, and `ca`'s root as the bundle. Publishing it again and again
    /// is a leaf rotation.
    pub fn issued(ca: &TestCa, id: &str) -> Self {
        Self::default().with(id, ca.svid(id), vec![ca.root()])
    }

    /// Adds an SVID with its bundle.
    #[must_use]
    pub fn with(mut self, id: &str, svid: Svid, bundle: Vec<CertificateDer<'static>>) -> Self {
        self.svids.push(Entry { id: id.to_owned(), svid, bundle, hint: String::new() });
        self
    }

    /// Gives the SVID that was added last a hint.
    #[must_use]
    pub fn hint(mut self, hint: &str) -> Self {
        if let Some(entry) = self.svids.last_mut() {
            hint.clone_into(&mut entry.hint);
        }
        self
    }

    /// Makes these roots the bundle of every SVID. A root rotation is three states: the old leaf
    /// trusting both roots, a leaf of the new root trusting both, the same trusting the new root.
    #[must_use]
    pub fn trusting(mut self, roots: &[&TestCa]) -> Self {
        for entry in &mut self.svids {
            entry.bundle = roots.iter().map(|ca| ca.root()).collect();
        }
        self
    }

    /// Adds the bundle of another trust domain. The name is taken as it is, the own one too
    /// (WAPI-31 forbids that, so a client must refuse it).
    #[must_use]
    pub fn federated(mut self, trust_domain: &str, roots: &[CertificateDer<'static>]) -> Self {
        self.federated.insert(format!("spiffe://{trust_domain}"), roots.to_vec());
        self
    }

    /// The serial number of the first SVID in lower-case hex, as logs show it; none without one.
    pub fn serial_hex(&self) -> Option<String> {
        self.svids.first().map(|entry| entry.svid.serial_hex())
    }

    /// The message, to be sent or spoilt.
    pub fn to_message(&self) -> X509svidResponse {
        let concatenated = |certificates: &[CertificateDer<'static>]| {
            certificates.iter().flat_map(|der| der.iter().copied()).collect::<Vec<_>>()
        };
        let svid = |entry: &Entry| X509svid {
            spiffe_id: entry.id.clone(),
            x509_svid: concatenated(&entry.svid.chain),
            x509_svid_key: entry.svid.key.secret_der().to_vec(),
            bundle: concatenated(&entry.bundle),
            hint: entry.hint.clone(),
        };
        let federated = self.federated.iter();
        X509svidResponse {
            svids: self.svids.iter().map(svid).collect(),
            crl: Vec::new(),
            federated_bundles: federated.map(|(id, der)| (id.clone(), concatenated(der))).collect(),
        }
    }
}

/// The bundles alone: that of each SVID's trust domain, and the federated ones.
fn bundles(message: &X509svidResponse) -> X509BundlesResponse {
    let trust_domain = |id: &str| {
        let name = id.strip_prefix("spiffe://").unwrap_or(id);
        format!("spiffe://{}", name.split('/').next().unwrap_or(name))
    };
    let own = message.svids.iter().map(|svid| (trust_domain(&svid.spiffe_id), svid.bundle.clone()));
    let bundles = own.chain(message.federated_bundles.clone()).collect::<HashMap<_, _>>();
    X509BundlesResponse { crl: message.crl.clone(), bundles }
}

/// How many messages a client may leave unread before its stream is cut: a test publishes less.
pub(super) const QUEUE: usize = 4096;

/// What has been said and who listens.
#[derive(Debug, Default)]
pub(super) struct Script(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    last: Option<Result<X509svidResponse, Status>>,
    streams: Vec<Stream>,
    calls: Calls,
}

#[derive(Debug)]
pub(super) enum Stream {
    Svids(mpsc::Sender<Result<X509svidResponse, Status>>),
    Bundles(mpsc::Sender<Result<X509BundlesResponse, Status>>),
}

impl Stream {
    /// Whether the stream goes on after this.
    fn send(&self, answer: &Result<X509svidResponse, Status>) -> bool {
        // A full queue cuts the stream: its client does not read.
        let sent = match self {
            Self::Svids(sender) => sender.try_send(answer.clone()).is_ok(),
            Self::Bundles(sender) => {
                sender.try_send(answer.as_ref().map(bundles).map_err(Clone::clone)).is_ok()
            }
        };
        sent && answer.is_ok()
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Svids(sender) => sender.is_closed(),
            Self::Bundles(sender) => sender.is_closed(),
        }
    }
}

impl Script {
    pub(super) fn answer(&self, answer: Result<X509svidResponse, Status>) {
        let mut inner = self.lock();
        inner.streams.retain(|stream| stream.send(&answer));
        inner.last = Some(answer);
    }

    pub(super) fn cut(&self, status: &Status) {
        let mut inner = self.lock();
        for stream in std::mem::take(&mut inner.streams) {
            stream.send(&Err(status.clone()));
        }
    }

    pub(super) fn subscribe(&self, stream: Stream) {
        let mut inner = self.lock();
        let goes_on = inner.last.as_ref().is_none_or(|answer| stream.send(answer));
        if goes_on {
            inner.streams.push(stream);
        }
    }

    pub(super) fn count(&self, call: Call) {
        self.lock().calls.count(call);
    }

    pub(super) fn calls(&self) -> Calls {
        self.lock().calls
    }

    pub(super) fn open_streams(&self) -> usize {
        let mut inner = self.lock();
        inner.streams.retain(|stream| !stream.is_closed());
        inner.streams.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
