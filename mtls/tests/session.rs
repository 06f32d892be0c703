//! What a session is and is not: versions, groups, resumption, protocols, deadlines, identities.

use std::{io, sync::Arc, time::Duration};

use cellwall_mtls::{Alpn, DenyList, Refusal, Serial, TlsMaterial, accept, connect};
use cellwall_testkit::{
    ca::TestCa,
    tls::{After, DangerousParty},
};
use rustls::{NamedGroup, pki_types::UnixTime};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
    time::Instant,
};

use crate::kit::{
    CHECKOUT, DEADLINE, PAYMENTS, accept_from, bundles, connect_to, id, input, material,
};

fn world() -> (TestCa, TlsMaterial) {
    let ca = TestCa::new("pay.example");
    let ours = material(&ca.svid(PAYMENTS), bundles(&[&ca])).unwrap();
    (ca, ours)
}

/// SHA-256 in hexadecimal digits.
fn hash(der: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn refusal<T>(result: Result<T, cellwall_mtls::HandshakeError>) -> Option<Refusal> {
    result.err().map(|error| error.refusal)
}

#[tokio::test]
async fn both_sides_learn_who_the_other_is() {
    let (ca, ours) = world();
    let svid = ca.svid(CHECKOUT);
    let theirs = material(&svid, bundles(&[&ca])).unwrap();
    let (near, far) = duplex(64 * 1024);
    let expected = [id(PAYMENTS)];
    let (server, client) = tokio::join!(
        accept(&ours, near, &[Alpn::Http11, Alpn::H2], DEADLINE),
        connect(&theirs, far, &expected, &[Alpn::H2], DEADLINE),
    );
    let (server, client) = (server.unwrap(), client.unwrap());
    assert_eq!((server.peer.id_text(), server.alpn), (CHECKOUT, Alpn::H2));
    assert_eq!((client.peer.id_text(), client.alpn), (PAYMENTS, Alpn::H2));
    assert_eq!(*server.peer.serial(), Serial::new(&svid.serial));
    assert!(server.peer.authority_end() <= server.peer.not_after());
    assert_eq!(server.peer.certificate_hash(), hash(&svid.chain[0]));
    assert_ne!(client.peer.certificate_hash(), server.peer.certificate_hash());
}

#[tokio::test]
async fn a_destination_is_its_expected_identity_and_no_other() {
    // AZ-12: a valid SVID of another service is not enough
    let (ca, ours) = world();
    let theirs = DangerousParty::presenting(&ca.svid(CHECKOUT)).alpn(&["h2"]);
    let (ok, _) = connect_to(&ours, &theirs, &[id(CHECKOUT)]).await;
    assert_eq!(ok.unwrap().id_text(), CHECKOUT);
    let near_misses = [
        PAYMENTS,
        "spiffe://pay.example/prod/checkou",
        "spiffe://pay.example/prod/checkout/x",
        "spiffe://pay.example/prod/Checkout",
        "spiffe://pay.example/staging/checkout",
        "spiffe://pay.example2/prod/checkout",
    ];
    for other in near_misses {
        let (result, _) = connect_to(&ours, &theirs, &[id(other)]).await;
        assert_eq!(refusal(result), Some(Refusal::UnexpectedPeer), "{other}");
    }
    let (nobody, _) = connect_to(&ours, &theirs, &[]).await;
    assert_eq!(refusal(nobody), Some(Refusal::UnexpectedPeer));
}

#[tokio::test]
async fn the_hybrid_group_comes_first_and_no_ticket_ever() {
    // TLS-02, TLS-04
    let (ca, ours) = world();
    let theirs = DangerousParty::presenting(&ca.svid(CHECKOUT)).alpn(&["h2"]);
    let (result, seen) = accept_from(&ours, &theirs, &[Alpn::H2]).await;
    result.unwrap();
    assert_eq!(seen.group, Some(NamedGroup::X25519MLKEM768));
    assert_eq!(seen.tickets, 0);
    assert_eq!(seen.after, After::Data(b"hello".to_vec()));
}

#[tokio::test]
async fn a_session_is_never_resumed() {
    // TLS-04: one client configuration, with a session cache, against one generation
    let (ca, ours) = world();
    let theirs = DangerousParty::presenting(&ca.svid(CHECKOUT)).alpn(&["h2"]);
    let config = theirs.client_config();
    for _ in 0..3 {
        let (near, far) = duplex(64 * 1024);
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&config));
        let serve = async {
            let mut session = accept(&ours, near, &[Alpn::H2], DEADLINE).await.unwrap();
            session.stream.write_all(b"x").await.unwrap();
            session
        };
        let call = async {
            let mut stream = connector.connect(name, far).await.unwrap();
            stream.read_u8().await.unwrap();
            stream
        };
        let (_session, stream) = tokio::join!(serve, call);
        let kind = stream.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(rustls::HandshakeKind::Full));
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused_whatever_it_speaks() {
    // TLS-03
    let (_ca, ours) = world();
    for alpn in [&["h2"][..], &["http/1.1"], &["cellwall-tcp/1"], &["acme-tls/1"], &[]] {
        let all = [Alpn::H2, Alpn::Http11, Alpn::Tcp];
        let theirs = DangerousParty::anonymous().alpn(alpn);
        let (result, seen) = accept_from(&ours, &theirs, &all).await;
        let expected =
            if alpn == ["acme-tls/1"] { Refusal::AlpnMismatch } else { Refusal::NoCertificate };
        assert_eq!(refusal(result), Some(expected), "{alpn:?}");
        assert!(!seen.is_let_in(), "{alpn:?}");
    }
}

#[tokio::test]
async fn a_protocol_is_agreed_or_there_is_no_session() {
    // TLS-06
    let (ca, ours) = world();
    let svid = ca.svid(CHECKOUT);
    let table = [
        (&["h2", "http/1.1"][..], &[Alpn::H2, Alpn::Http11][..], None),
        (&["http/1.1"], &[Alpn::H2], Some(Refusal::AlpnMismatch)),
        (&["h3"], &[Alpn::H2], Some(Refusal::AlpnMismatch)),
        (&["h2"], &[Alpn::Tcp], Some(Refusal::AlpnMismatch)),
        (&[], &[Alpn::H2, Alpn::Http11, Alpn::Tcp], Some(Refusal::AlpnMismatch)),
    ];
    for (offered, ours_speak, expected) in table {
        let theirs = DangerousParty::presenting(&svid).alpn(offered);
        let (result, _) = accept_from(&ours, &theirs, ours_speak).await;
        assert_eq!(refusal(result), expected, "{offered:?} {ours_speak:?}");
    }
    let silent = DangerousParty::presenting(&svid);
    let (result, _) = connect_to(&ours, &silent, &[id(CHECKOUT)]).await;
    assert_eq!(refusal(result), Some(Refusal::AlpnMismatch), "a server that agrees to nothing");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_one_deadline_for_the_whole_of_it() {
    // TLS-05: a byte now and then does not extend it
    let (_ca, ours) = world();
    let (near, mut far) = duplex(64 * 1024);
    let drip = async {
        // A record header that promises more than ever comes.
        for byte in [0x16, 0x03, 0x01, 0x02, 0x00].into_iter().chain([0; 60]) {
            if far.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::advance(Duration::from_millis(500)).await;
        }
    };
    let started = Instant::now();
    let handshake = async {
        let result = accept(&ours, near, &[Alpn::H2], DEADLINE).await;
        (refusal(result), started.elapsed())
    };
    let ((result, took), ()) = tokio::join!(handshake, drip);
    assert_eq!(result, Some(Refusal::HandshakeTimeout));
    assert!(took < DEADLINE + Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    // TLS-01: a ClientHello that offers nothing newer
    let (_ca, ours) = world();
    let (near, mut far) = duplex(64 * 1024);
    let body = [
        &[0x03, 0x03][..],   // TLS 1.2
        &[7; 32],            // random
        &[0],                // no session id
        &[0, 2, 0xc0, 0x2b], // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        &[1, 0],             // no compression
    ]
    .concat();
    let mut hello = vec![0x16, 0x03, 0x01];
    hello.extend(u16::try_from(body.len() + 4).unwrap().to_be_bytes());
    hello.extend([1, 0, 0, u8::try_from(body.len()).unwrap()]);
    hello.extend(body);
    let probe = async {
        far.write_all(&hello).await.unwrap();
        let mut answer = Vec::new();
        far.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let (result, answer) = tokio::join!(accept(&ours, near, &[Alpn::H2], DEADLINE), probe);
    assert_eq!(refusal(result), Some(Refusal::TlsProtocol));
    assert_eq!(answer.first(), Some(&0x15), "an alert, and nothing else");
}

#[tokio::test]
async fn a_denied_identity_is_refused_although_its_certificate_is_good() {
    // ID-15
    let ca = TestCa::new("pay.example");
    let svid = ca.svid(CHECKOUT);
    let theirs = DangerousParty::presenting(&svid).alpn(&["h2"]);
    let spki = {
        let leaf = webpki::EndEntityCert::try_from(&svid.chain[0]).unwrap();
        leaf.subject_public_key_info()
    };
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &spki);
    let lists = [
        (DenyList { ids: [id(CHECKOUT)].into(), ..DenyList::default() }, Refusal::DeniedId),
        (
            DenyList { serials: [Serial::new(&svid.serial)].into(), ..DenyList::default() },
            Refusal::DeniedSerial,
        ),
        (
            DenyList { keys: [hash.as_ref().try_into().unwrap()].into(), ..DenyList::default() },
            Refusal::DeniedKey,
        ),
        (
            DenyList {
                trust_domains: [id(CHECKOUT).trust_domain().clone()].into(),
                ..DenyList::default()
            },
            Refusal::DeniedTrustDomain,
        ),
    ];
    for (deny, expected) in lists {
        let ours = input(&ca.svid(PAYMENTS), bundles(&[&ca]));
        let ours = TlsMaterial::build(cellwall_mtls::MaterialInput { deny, ..ours }).unwrap();
        let (result, _) = accept_from(&ours, &theirs, &[Alpn::H2]).await;
        assert_eq!(refusal(result), Some(expected));
        let (result, _) = connect_to(&ours, &theirs, &[id(CHECKOUT)]).await;
        assert_eq!(refusal(result), Some(expected));
    }
}

#[tokio::test]
async fn an_anchor_that_ends_while_we_run_is_trusted_no_more() {
    // ID-11: the generation was built when the anchor was good
    let ca = TestCa::new("pay.example");
    let soon = TestCa::valid(
        "partner.example",
        cellwall_testkit::x509::Validity::around_now(
            Duration::from_secs(60),
            Duration::from_secs(2),
        ),
    );
    let ours = material(&ca.svid(PAYMENTS), bundles(&[&ca, &soon])).unwrap();
    let end = ours.next_anchor_end(UnixTime::now()).unwrap();
    let theirs = DangerousParty::presenting(&soon.svid("spiffe://partner.example/a")).alpn(&["h2"]);
    let (before, _) = accept_from(&ours, &theirs, &[Alpn::H2]).await;
    assert_eq!(before.unwrap().authority_end(), end);
    while UnixTime::now() <= end {
        tokio::time::sleep(Duration::from_millis(50)).await; // the wall clock is what is tested
    }
    let (after, _) = accept_from(&ours, &theirs, &[Alpn::H2]).await;
    assert_eq!(refusal(after), Some(Refusal::AnchorsExpired));
}

#[tokio::test]
async fn a_peer_that_refuses_us_is_told_apart_from_one_we_refuse() {
    let (_ca, ours) = world();
    let stranger = TestCa::new("pay.example");
    let theirs = material(&stranger.svid(CHECKOUT), bundles(&[&stranger])).unwrap();
    let (near, far) = duplex(64 * 1024);
    let expected = [id(PAYMENTS)];
    let (server, client) = tokio::join!(
        accept(&ours, near, &[Alpn::H2], DEADLINE),
        connect(&theirs, far, &expected, &[Alpn::H2], DEADLINE),
    );
    assert_eq!(refusal(client), Some(Refusal::BadSignature), "same name, other key");
    assert_eq!(refusal(server), Some(Refusal::RefusedByPeer));
}

#[tokio::test]
async fn a_connection_that_breaks_is_no_protocol_error() {
    let (_ca, ours) = world();
    let (near, far) = duplex(64);
    drop(far);
    let error = accept(&ours, near, &[Alpn::H2], DEADLINE).await.unwrap_err();
    assert_eq!(error.refusal, Refusal::Io);
    assert_eq!(error.source.unwrap().kind(), io::ErrorKind::UnexpectedEof);
}
