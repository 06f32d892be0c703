use rustls::{AlertDescription, NamedGroup};

use super::*;
use crate::ca::TestCa;

const SOON: Duration = Duration::from_secs(2);

fn svids() -> (Svid, Svid) {
    let ca = TestCa::new("pay.example");
    (ca.svid("spiffe://pay.example/prod/a"), ca.svid("spiffe://pay.example/prod/b"))
}

#[tokio::test]
async fn each_end_reports_the_other_ends_certificate_protocol_and_words() {
    let (client, server) = svids();
    let (left, right) = tokio::io::duplex(64 * 1024);
    let (one, other) = (DangerousParty::presenting(&client), DangerousParty::presenting(&server));
    let (one, other) = (one.alpn(&["h2", "cellwall-tcp/1"]), other.alpn(&["cellwall-tcp/1"]));

    let (by_client, by_server) = tokio::join!(
        one.probe_server(left, b"ping", SOON),
        other.probe_client(right, b"pong", SOON)
    );

    assert_eq!(by_client.certificates, server.chain);
    assert_eq!(by_client.after, After::Data(b"pong".to_vec()));
    assert_eq!(by_server.certificates, client.chain);
    assert_eq!(by_server.after, After::Data(b"ping".to_vec()));
    assert_eq!(by_server.alpn.as_deref(), Some("cellwall-tcp/1"));
    assert_eq!(by_client.group, Some(NamedGroup::X25519MLKEM768));
}

#[tokio::test]
async fn a_refusal_shows_as_the_alert_that_was_sent() {
    let (_, server) = svids();
    let (left, right) = tokio::io::duplex(64 * 1024);
    let (one, other) = (DangerousParty::anonymous(), DangerousParty::presenting(&server));

    let (by_client, by_server) =
        tokio::join!(one.probe_server(left, b"ping", SOON), other.probe_client(right, b"", SOON));

    assert_eq!(by_client.alert, Some(AlertDescription::CertificateRequired));
    assert!(!by_client.is_let_in());
    assert_eq!(by_server.after, After::NotReached);
}

#[tokio::test]
async fn bytes_that_are_no_certificate_reach_the_other_end_in_both_directions() {
    let (client, server) = svids();
    let garbage = vec![CertificateDer::from(b"garbage".to_vec())];
    let (left, right) = tokio::io::duplex(64 * 1024);
    let one = DangerousParty::presenting_chain(garbage.clone(), &client.key);
    let other = DangerousParty::presenting_chain(garbage.clone(), &server.key);

    let (by_client, by_server) =
        tokio::join!(one.probe_server(left, b"a", SOON), other.probe_client(right, b"b", SOON));

    assert_eq!((by_client.certificates, by_server.certificates), (garbage.clone(), garbage));
}
