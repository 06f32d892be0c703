//! Many handshakes: nothing of one is of use in another.

use std::sync::Arc;

use cellwall_testkit::tls::DangerousParty;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{HandshakeKind, NamedGroup, ProtocolVersion, pki_types::ServerName};

use crate::kit::{Town, evidence, is_asked_for_all, payments};

/// How many handshakes are made: for `cargo evidence`, as many as the goal names.
const HANDSHAKES: u32 = 50;
const WANTED: u32 = 10_000;

fn handshakes() -> u32 {
    if is_asked_for_all() { WANTED } else { HANDSHAKES }
}

#[tokio::test]
async fn no_ticket_is_sent_and_no_session_resumed_however_many_there_are() {
    // TLS-01, TLS-02, TLS-04: one client configuration with a session cache, for all of them
    let town = Town::new().await;
    let (plan, policy) = payments();
    let sidecar = town.sidecar(plan, policy).await;
    let party = DangerousParty::presenting(&town.svid("checkout")).alpn(&["http/1.1"]);
    let config = party.client_config();
    let request = b"GET /v1/payments/p_1 HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n";
    let (mut full, mut hybrid, mut tickets) = (0, 0, 0);
    for _ in 0..handshakes() {
        let tcp = TcpStream::connect(sidecar.inbound).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let connector = TlsConnector::from(Arc::clone(&config));
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, tcp).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        let tls = stream.get_ref().1;
        assert_eq!(tls.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        full += u32::from(tls.handshake_kind() == Some(HandshakeKind::Full));
        let group = tls.negotiated_key_exchange_group().map(|group| group.name());
        hybrid += u32::from(group == Some(NamedGroup::X25519MLKEM768));
        tickets += tls.tls13_tickets_received();
    }
    evidence(&json!({
        "handshakes": handshakes(), "full": full, "hybrid_group": hybrid, "tickets": tickets,
    }));
    assert_eq!((full, hybrid, tickets), (handshakes(), handshakes(), 0));
}
