//! What a running cellwalld cannot be brought to do: an SVID that ends within seconds, a question
//! that its own agent would not ask.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use cellwall_agent::{FreshKey, Order, Process, Refused, Selector, Server};
use cellwall_control_plane::{
    authority::{Authority, Ca, OwnIdentity, Subject},
    distribution::{Distribution, Fleet, MeshListener, serve},
    drain::Drain,
    embedded::Embedded,
    ledger::Ledger,
    policy_book::{PolicyBook, Proposal},
    store::{LedgerReader, SealingKey, Store},
};
use cellwall_policy::PolicySigner;
use cellwall_policy_language::Sources;
use rustls_pki_types::CertificateDer;
use spiffe::{SpiffeId, TrustDomain};
use tempfile::TempDir;
use tonic::Code;

use crate::{
    daemon::TRUST_DOMAIN,
    policy::we_are_nobody,
    sidecar::{Sidecar, hello},
    svid::Svid,
};

const TTL: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_stream_ends_with_the_svid_that_opened_it_and_goes_on_with_the_next() {
    // ROT-05
    let Vault { authority, book, anchor, store, _dir: dir } = vault().await;
    let own = OwnIdentity::establish(authority.clone()).await.unwrap();
    let (material, drain) = (own.material(), Drain::default());
    drain.spawn(own.keep(drain.stop().clone()));
    let signer = PolicySigner::from_pkcs8(&PolicySigner::generate().unwrap()).unwrap();
    // Nothing is reported here, so nobody writes what would be.
    let (ledger, _writer) = Ledger::new(store, LedgerReader::new(dir.path()));
    let distribution = Distribution {
        book,
        ledger,
        signer: Arc::new(signer),
        fleet: Fleet::default(),
        drain: drain.clone(),
    };
    let fleet = distribution.fleet.clone();
    let listener = MeshListener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mesh = listener.address().unwrap();
    drain.spawn(serve(listener, distribution, material));

    let first = issue(&authority, &anchor).await;
    let mut sidecar = Sidecar::attach(mesh, &first, hello("web-1", &[])).await.unwrap();
    sidecar.serve(&["127.0.0.1:1"]).await;
    sidecar.snapshot().await;
    let status = sidecar.end().await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    let ended = SystemTime::now();
    let not_after: SystemTime = first.certificate().validity().not_after.to_datetime().into();
    assert!(ended >= not_after && ended < not_after + Duration::from_secs(1));
    assert_eq!(fleet.list().len(), 0);
    let again = sidecar.again(hello("web-1", &[])).await;
    assert_eq!(again.err().unwrap().code(), Code::Unauthenticated);
    let report = sidecar.report(cellwall_api::distribution::FlowBatch::default()).await;
    assert_eq!(report.unwrap_err().code(), Code::Unauthenticated);

    let second = issue(&authority, &anchor).await;
    let mut sidecar = Sidecar::attach(mesh, &second, hello("web-1", &[])).await.unwrap();
    sidecar.snapshot().await;
    drain.drain(Duration::from_secs(4)).await;
}

async fn issue(authority: &Authority, anchor: &CertificateDer<'static>) -> Svid {
    let FreshKey { key, csr } = FreshKey::generate().unwrap();
    let id = SpiffeId::new("spiffe://pay.example/prod/web").unwrap();
    let subject = Subject { actor: "test".into(), process: serde_json::Value::Null, ttl_max: None };
    let issued = authority.issue(&id, &csr, subject, SystemTime::now()).await.unwrap();
    let (leaf, anchor, key) = (issued.chain.into(), anchor.clone(), key.to_vec());
    Svid { id: id.to_string(), leaf, key, anchor }
}

#[tokio::test]
async fn the_server_signs_for_nobody_who_has_not_earned_it() {
    // CA-02: whatever an agent asks for.
    let Vault { authority, book, _dir, .. } = vault().await;
    let embedded = Embedded::new(authority, book);
    let ask = async |path: &str, program: &str| {
        let selectors = [Selector::Path(program.into())].into_iter().collect();
        let process = Process { pid: 1, started: 1, uid: 1, gid: 1, selectors };
        let id = SpiffeId::new(format!("spiffe://pay.example{path}")).unwrap();
        let csr = FreshKey::generate().unwrap().csr;
        let order = Order { id, process, executable: None, csr };
        embedded.sign(order).await.map(|issued| issued.serial.len())
    };
    assert_eq!(ask("/prod/web", "/nobody/runs/this").await, Ok(32));
    assert_eq!(ask("/prod/web", "/nobody/runs/that").await, Err(Refused::NotEntitled));
    assert_eq!(ask("/prod/db", "/nobody/runs/this").await, Err(Refused::NotEntitled));
    let ours = ask("/cellwall/control-plane", "/nobody/runs/this").await;
    assert_eq!(ours, Err(Refused::NotEntitled));
}

struct Vault {
    authority: Arc<Authority>,
    book: Arc<PolicyBook>,
    anchor: CertificateDer<'static>,
    store: Store,
    _dir: TempDir,
}

/// An authority of short lives and a policy in which `/nobody/runs/this` is `web`.
async fn vault() -> Vault {
    let dir = TempDir::new().unwrap();
    let now = SystemTime::now();
    let trust_domain = TrustDomain::new(TRUST_DOMAIN).unwrap();
    let (store, _thread) = Store::open(&dir.path().join("test.db")).unwrap();
    let sealing = Arc::new(SealingKey::create(&dir.path().join("key")).unwrap());
    let new = Ca::found(&trust_domain, now, Duration::from_secs(3600)).unwrap();
    let ca = Ca::load(trust_domain.clone(), new.certificate.clone(), &new.key).unwrap();
    let authority = Arc::new(Authority::new(ca, TTL, store.clone(), 0));
    let book = PolicyBook::open(trust_domain, store.clone(), sealing, 1).await.unwrap();
    let sources = Sources::single(we_are_nobody());
    let proposal = Proposal { sources, message: String::new(), actor: "test".into() };
    book.apply(proposal, now).await.unwrap();
    Vault { authority, book: Arc::new(book), anchor: new.certificate, store, _dir: dir }
}
