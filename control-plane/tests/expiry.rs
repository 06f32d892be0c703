//! What happens when an SVID ends, with lives shorter than cellwalld would grant.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use cellwall_agent::FreshKey;
use cellwall_control_plane::{
    authority::{Authority, Ca, OwnIdentity, Subject},
    distribution::{Distribution, Fleet, MeshListener, serve},
    drain::Drain,
    policy_book::{PolicyBook, Proposal},
    store::{SealingKey, Store},
};
use cellwall_policy::PolicySigner;
use cellwall_policy_language::Sources;
use spiffe::{SpiffeId, TrustDomain};
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
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let trust_domain = TrustDomain::new(TRUST_DOMAIN).unwrap();
    let (store, _thread) = Store::open(&dir.path().join("test.db")).unwrap();
    let sealing = Arc::new(SealingKey::create(&dir.path().join("key")).unwrap());
    let new = Ca::found(&trust_domain, now, Duration::from_secs(3600)).unwrap();
    let ca = Ca::load(trust_domain.clone(), new.certificate.clone(), &new.key).unwrap();
    let authority = Arc::new(Authority::new(ca, TTL, store.clone(), 0));
    let book = PolicyBook::open(trust_domain, store, sealing).await.unwrap();
    let sources = Sources::single(we_are_nobody());
    let proposal = Proposal { sources, message: String::new(), actor: "test".into() };
    book.apply(proposal, now).await.unwrap();
    let own = OwnIdentity::establish(authority.clone()).await.unwrap();
    let (material, drain) = (own.material(), Drain::default());
    drain.spawn(own.keep(drain.stop().clone()));
    let signer = PolicySigner::from_pkcs8(&PolicySigner::generate().unwrap()).unwrap();
    let distribution = Distribution {
        book: Arc::new(book),
        signer: Arc::new(signer),
        fleet: Fleet::default(),
        drain: drain.clone(),
    };
    let fleet = distribution.fleet.clone();
    let listener = MeshListener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mesh = listener.address().unwrap();
    drain.spawn(serve(listener, distribution, material));

    let first = issue(&authority, &new.certificate).await;
    let mut sidecar = Sidecar::attach(mesh, &first, hello("web-1", &[])).await.unwrap();
    sidecar.serve(&["127.0.0.1:1"]).await;
    sidecar.snapshot().await;
    let status = sidecar.end().await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    let ended = SystemTime::now();
    let not_after: SystemTime = first.certificate().validity().not_after.to_datetime().into();
    assert!(ended >= not_after && ended < not_after + Duration::from_secs(1));
    assert_eq!(fleet.list().len(), 0);

    let second = issue(&authority, &new.certificate).await;
    let mut sidecar = Sidecar::attach(mesh, &second, hello("web-1", &[])).await.unwrap();
    sidecar.snapshot().await;
    drain.drain(Duration::from_secs(4)).await;
}

async fn issue(authority: &Authority, anchor: &rustls_pki_types::CertificateDer<'static>) -> Svid {
    let FreshKey { key, csr } = FreshKey::generate().unwrap();
    let id = SpiffeId::new("spiffe://pay.example/prod/web").unwrap();
    let subject = Subject { actor: "test".into(), process: serde_json::Value::Null };
    let issued = authority.issue(&id, &csr, subject, SystemTime::now()).await.unwrap();
    let (leaf, anchor, key) = (issued.chain.into(), anchor.clone(), key.to_vec());
    Svid { id: id.to_string(), leaf, key, anchor }
}
