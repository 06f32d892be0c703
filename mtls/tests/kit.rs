//! Material and handshakes, in a line each.

use std::{collections::BTreeMap, time::Duration};

use cellwall_mtls::{
    Alpn, DenyList, HandshakeError, MaterialError, MaterialInput, Peer, TlsMaterial, accept,
    connect,
};
use cellwall_testkit::{
    ca::{Svid, TestCa},
    tls::{DangerousParty, Seen},
};
use rustls::pki_types::{CertificateDer, UnixTime};
use spiffe::{SpiffeId, TrustDomain};
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

pub(crate) const DEADLINE: Duration = Duration::from_secs(5);
pub(crate) const CHECKOUT: &str = "spiffe://pay.example/prod/checkout";
pub(crate) const PAYMENTS: &str = "spiffe://pay.example/prod/payments";

/// The certificates of each trust domain.
pub(crate) type Bundles = BTreeMap<TrustDomain, Vec<CertificateDer<'static>>>;

pub(crate) fn bundles(cas: &[&TestCa]) -> Bundles {
    let domain = |ca: &&TestCa| TrustDomain::new(ca.trust_domain()).unwrap();
    cas.iter().map(|ca| (domain(ca), vec![ca.root()])).collect()
}

pub(crate) fn input(svid: &Svid, bundles: Bundles) -> MaterialInput {
    MaterialInput {
        chain: svid.chain.clone(),
        key: svid.key.clone_key(),
        bundles,
        deny: DenyList::default(),
        generation: 1,
        now: UnixTime::now(),
    }
}

pub(crate) fn material(svid: &Svid, bundles: Bundles) -> Result<TlsMaterial, MaterialError> {
    TlsMaterial::build(input(svid, bundles))
}

pub(crate) fn id(text: &str) -> SpiffeId {
    SpiffeId::new(text).unwrap()
}

/// `ours` accepts, `theirs` connects and looks at what it gets.
pub(crate) async fn accept_from(
    ours: &TlsMaterial,
    theirs: &DangerousParty,
    alpn: &[Alpn],
) -> (Result<Peer, HandshakeError>, Seen) {
    let (near, far) = duplex(256 * 1024);
    let serve = async {
        let mut session = accept(ours, near, alpn, DEADLINE).await?;
        session.stream.write_all(b"hello").await.unwrap();
        session.stream.shutdown().await.unwrap();
        Ok(session.peer)
    };
    tokio::join!(serve, theirs.probe_server(far, b"hi", DEADLINE))
}

/// `ours` connects to `theirs` and expects `expected`.
pub(crate) async fn connect_to(
    ours: &TlsMaterial,
    theirs: &DangerousParty,
    expected: &[SpiffeId],
) -> (Result<Peer, HandshakeError>, Seen) {
    let (near, far): (DuplexStream, DuplexStream) = duplex(256 * 1024);
    let call = async {
        let mut session = connect(ours, near, expected, &[Alpn::H2], DEADLINE).await?;
        session.stream.write_all(b"hello").await.unwrap();
        session.stream.shutdown().await.unwrap();
        Ok(session.peer)
    };
    tokio::join!(call, theirs.probe_client(far, b"hi", DEADLINE))
}
