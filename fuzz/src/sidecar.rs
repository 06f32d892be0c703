//! A whole sidecar in this process, and a workload beside it that repairs nothing. Each input is what an
//! authenticated caller sends on one connection.
//!
//! The clock stands still while there is anything to do: an input is over when the sidecar has nothing
//! left to say about it.

use std::{cell::RefCell, io, sync::Arc, time::{Duration, SystemTime}};

use cellwall_mtls::{Alpn, Session};
use cellwall_policy::{
    CallDocument, CallerDocument, Callers, Digest, GuardDocument, IdentityHeader, ListensDocument,
    Mode, Protocol, RuleDocument, SCHEMA, Snapshot, SnapshotDocument,
};
use cellwall_proxy::{
    AccessLog, Authz, Directory, Drain, Flows, Identities, Live, Peers, Proxy, Register, Served,
    Workload,
};
use cellwall_testkit::{
    ca::TestCa,
    strict::{self, Seen},
    tls::DangerousParty,
    workload_api::{ScriptedWorkloadApi, X509State},
    x509::Validity,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::{Semaphore, mpsc},
};
use tokio_rustls::server::TlsStream;

use crate::{judge::judge, scripted::Scripted};

const CALLER: &str = "spiffe://pay.example/prod/checkout";
const CALLEE: &str = "spiffe://pay.example/prod/payments";

/// What the client of HTTP/2 says first (RFC 9113 §3.4), with no settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A request that has to come through, so that nothing else is found only because nothing works.
const CANARY: &[u8] = b"GET /v1/canary HTTP/1.1\r\nhost: payments\r\n\r\n";

/// After so many inputs it is sent again.
const CANARY_EVERY: u32 = 5_000;

thread_local! {
    static TOWN: RefCell<Option<Town>> = const { RefCell::new(None) };
}

/// Sends bytes over HTTP/1.
pub(crate) fn http1(data: &[u8]) {
    with(|town| town.check(data, Alpn::Http11));
}

/// Sends bytes as the frames of HTTP/2.
pub(crate) fn http2(data: &[u8]) {
    let data = [PREFACE, data].concat();
    with(|town| town.check(&data, Alpn::H2));
}

fn with(run: impl FnOnce(&mut Town)) {
    TOWN.with_borrow_mut(|town| run(town.get_or_insert_with(Town::new)));
}

struct Town {
    runtime: Runtime,
    proxy: Arc<Proxy>,
    served: Arc<Served>,
    http1: Session<TlsStream<TcpStream>>,
    http2: Session<TlsStream<TcpStream>>,
    seen: mpsc::Receiver<Seen>,
    inputs: u32,
    _identity: ScriptedWorkloadApi,
    _folder: tempfile::TempDir,
}

impl Town {
    fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let parts = runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let ca = TestCa::new("pay.example");
            let validity = Validity::around_now(Duration::from_secs(60), Duration::from_secs(86_400));
            let svid = |id: &str| ca.svid_valid(id, validity);
            let api = ScriptedWorkloadApi::start(folder.path()).await.unwrap();
            api.publish(&X509State::default().with(CALLEE, svid(CALLEE), vec![ca.root()]));
            let (drain, identities) = (Drain::default(), Identities::default());
            let mut changed = identities.watch();
            tokio::spawn(identities.clone().follow(api.endpoint(), None, drain.watch()));
            while identities.current().is_none() {
                changed.changed().await;
            }
            let (say, seen) = mpsc::channel(4096);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move {
                loop {
                    let (tcp, _) = listener.accept().await.unwrap();
                    tokio::spawn(strict::serve(tcp, CALLER.to_owned(), say.clone()));
                }
            });
            let served = Arc::new(Served {
                port: None,
                advertised: None,
                streams: Semaphore::new(1),
                workload: Workload::new(address, drain.clone()),
            });
            let policy = Arc::new(Live::default());
            policy.publish(Snapshot::new(policy_document()).unwrap());
            let (log, _) = AccessLog::start(io::sink()).unwrap();
            let proxy = Arc::new(Proxy {
                peers: Peers::new(identities.clone(), Authz::new(policy.clone()), drain.clone()),
                identities: identities.clone(),
                authz: Authz::new(policy),
                directory: Arc::new(Directory::default()),
                flows: Flows::new(log),
                register: Register::default(),
                drain,
            });
            let caller = DangerousParty::presenting(&svid(CALLER));
            let http1 = session(&identities, caller.clone().alpn(&["http/1.1"]), Alpn::Http11).await;
            let http2 = session(&identities, caller.alpn(&["h2"]), Alpn::H2).await;
            tokio::time::pause();
            (proxy, served, http1, http2, seen, api, folder)
        });
        let (proxy, served, http1, http2, seen, _identity, _folder) = parts;
        Self { runtime, proxy, served, http1, http2, seen, inputs: 0, _identity, _folder }
    }

    fn check(&mut self, data: &[u8], alpn: Alpn) {
        if self.inputs % CANARY_EVERY == 0 {
            let canary = self.sent(CANARY, Alpn::Http11);
            let line = |seen: &Seen| matches!(seen, Seen::Whole(read) if read.line == "GET /v1/canary");
            assert!(canary.iter().any(line), "the sidecar lets nothing through: {canary:?}");
        }
        self.inputs += 1;
        for seen in self.sent(data, alpn) {
            match seen {
                Seen::Whole(read) => judge(&read),
                Seen::Cut => {}
                Seen::Mistake(mistake) => panic!("{mistake}"),
            }
        }
    }

    /// What the workload saw of it.
    fn sent(&mut self, data: &[u8], alpn: Alpn) -> Vec<Seen> {
        let session = if alpn == Alpn::H2 { &self.http2 } else { &self.http1 };
        let (proxy, served) = (self.proxy.clone(), self.served.clone());
        self.runtime.block_on(async {
            proxy.overhear(Scripted::new(data.to_vec()), session, served).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        });
        std::iter::from_fn(|| self.seen.try_recv().ok()).collect()
    }
}

/// A handshake between the caller and our sidecar.
async fn session(
    identities: &Identities,
    caller: DangerousParty,
    alpn: Alpn,
) -> Session<TlsStream<TcpStream>> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let identity = identities.current().unwrap();
    let client = async { caller.connect(TcpStream::connect(address).await.unwrap()).await.unwrap() };
    let server = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let patience = Duration::from_secs(5);
        cellwall_mtls::accept(&identity.material, tcp, &[alpn], patience).await.unwrap()
    };
    let (_client, session) = tokio::join!(client, server);
    session
}

/// `GET`, `POST` and `PUT` of what is below `/v1/`, but not of what is below `/v1/admin/`.
fn policy_document() -> SnapshotDocument {
    let methods = ["GET", "POST", "PUT"].map(str::to_owned).to_vec();
    let below = |path: &str, methods| CallDocument::Http { methods, path: format!("{path}/{{rest...}}") };
    let from = Callers::Named(vec!["checkout".to_owned()]);
    SnapshotDocument {
        schema: SCHEMA,
        trust_domain: "pay.example".to_owned(),
        callee: CALLEE.to_owned(),
        workload: "payments".to_owned(),
        epoch: 1,
        version: 1,
        digest: Digest::of(b"fuzz").to_string(),
        issued_at: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(),
        max_age_seconds: 86_400,
        identity_headers: IdentityHeader::USUAL.to_vec(),
        mode: Mode::Enforce,
        listens: vec![ListensDocument::of(Protocol::Http, 8443)],
        identity: "spiffe://pay.example/{env}/{workload}".to_owned(),
        callers: vec![CallerDocument { name: "checkout".to_owned(), id: None }],
        foreign: Vec::new(),
        grants: Vec::new(),
        probes: Vec::new(),
        rules: vec![RuleDocument {
            name: "checkout-calls".to_owned(),
            from: from.clone(),
            calls: vec![below("/v1", methods.clone())],
            ..RuleDocument::default()
        }],
        guards: vec![GuardDocument {
            name: "no-admin".to_owned(),
            from,
            except: Vec::new(),
            calls: vec![below("/v1/admin", methods)],
            when: None,
            mode: Mode::Enforce,
        }],
        destinations: Vec::new(),
    }
}
