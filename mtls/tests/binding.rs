//! What the two ends of a session know of it, and what that proves on a later one.

use cellwall_mtls::{Alpn, Binding, End, accept, connect};
use cellwall_testkit::ca::TestCa;
use tokio::io::duplex;

use crate::kit::{CHECKOUT, DEADLINE, PAYMENTS, bundles, id, material};

/// The client's and the server's binding of one new session.
async fn session(ca: &TestCa) -> (Binding, Binding) {
    let client = material(&ca.svid(CHECKOUT), bundles(&[ca])).unwrap();
    let server = material(&ca.svid(PAYMENTS), bundles(&[ca])).unwrap();
    let (near, far) = duplex(64 * 1024);
    let expected = [id(PAYMENTS)];
    let (server, client) = tokio::join!(
        accept(&server, near, &[Alpn::Tcp, Alpn::Reproof], DEADLINE),
        connect(&client, far, &expected, &[Alpn::Reproof], DEADLINE),
    );
    let (server, client) = (server.unwrap(), client.unwrap());
    assert_eq!((server.alpn, client.alpn), (Alpn::Reproof, Alpn::Reproof));
    (client.binding, server.binding)
}

#[tokio::test]
async fn each_end_proves_itself_to_the_other_on_a_later_session() {
    let ca = TestCa::new("pay.example");
    let (client, server) = session(&ca).await;
    let (fresh_client, fresh_server) = session(&ca).await;
    assert_eq!(client.name(), server.name());
    let proof = client.prove(End::Client, &fresh_client);
    assert!(server.is_proved(End::Client, &fresh_server, &proof));
    let answer = server.prove(End::Server, &fresh_server);
    assert!(client.is_proved(End::Server, &fresh_client, &answer));
}

#[tokio::test]
async fn a_proof_is_good_for_one_connection_one_end_and_one_session() {
    let ca = TestCa::new("pay.example");
    let ((client, server), (other, _)) = (session(&ca).await, session(&ca).await);
    let ((fresh, heard), (stale, _)) = (session(&ca).await, session(&ca).await);
    let wrong = [
        ("another connection's", other.prove(End::Client, &fresh)),
        ("the new session's own", fresh.prove(End::Client, &fresh)),
        ("the other end's", client.prove(End::Server, &fresh)),
        ("shown on another session before", client.prove(End::Client, &stale)),
        ("shown on the connection itself", client.prove(End::Client, &client)),
        ("none", [0; 32]),
    ];
    for (name, proof) in wrong {
        assert!(!server.is_proved(End::Client, &heard, &proof), "{name}");
    }
    assert_ne!(client.name(), other.name());
}

#[tokio::test]
async fn its_debug_form_shows_no_key() {
    // SEC-03
    let (client, _) = session(&TestCa::new("pay.example")).await;
    let shown = format!("{client:?}");
    assert!(shown.starts_with("Binding { name: ConnectionName([") && shown.ends_with(", .. }"));
}
