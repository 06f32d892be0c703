//! Connections whose listener the policy does not declare any more as it did when they came (AZ-03,
//! AZ-10). That streams in progress end with it is in `ending.rs`.

use cellwall_policy::{ListensDocument, Protocol, SnapshotDocument};
use cellwall_testkit::{
    ca::Svid,
    client::{self, HttpConnection},
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::{
    kit::{DEADLINE, Sidecar, Town, eventually, payments},
    raw_h2::RawH2,
    spoofs::Fields,
};

const fn on(protocol: Protocol, port: u16) -> ListensDocument {
    ListensDocument::of(protocol, port)
}

/// Publishes the policy with these listeners, and waits until it is in force.
async fn declare(town: &Town, callee: &Sidecar, listens: &[ListensDocument]) {
    let policy = SnapshotDocument { listens: listens.to_vec(), ..payments().1 };
    let version = json!(town.publish(policy));
    eventually("the policy", async || callee.config().await["policy_version"] == version).await;
}

/// One call on a connection that is there.
async fn pays(connection: &mut HttpConnection) -> bool {
    let request = client::build("POST /v1/payments").unwrap().body(Default::default()).unwrap();
    connection.send(request).await.is_ok_and(|response| response.status() == 200)
}

async fn http1(callee: &Sidecar, port: &str, svid: &Svid) -> HttpConnection {
    let stream = callee.dial_at(callee.listeners[port], svid, &["http/1.1"]).await;
    let mut connection = HttpConnection::over(stream).await.unwrap();
    assert!(pays(&mut connection).await, "before, on {port}");
    connection
}

async fn http2(callee: &Sidecar, svid: &Svid) -> RawH2<TlsStream<TcpStream>> {
    let mut connection = RawH2::begin(callee.dial(svid, &["h2"]).await).await;
    assert_eq!(connection.answered(&Fields::default()).await, Some(true));
    connection
}

#[tokio::test]
async fn idle_connections_end_with_their_listener_and_those_of_another_stay() {
    let town = Town::new().await;
    let flags = |workload| {
        ["8443", "9443"].map(|port| format!("--inbound={port}@127.0.0.1:0={workload}")).into()
    };
    let (plan, policy) = payments();
    let callee = town.flagged(plan, flags).await;
    let callee = town.made_ready(callee, "payments", policy).await;
    let caller = town.svid("checkout");
    let stays = on(Protocol::Http, 9443);
    for (what, listens) in [
        ("withdrawn", vec![stays]),
        ("tcp now", vec![on(Protocol::Tcp, 8443), stays]),
        ("grpc now", vec![on(Protocol::Grpc, 8443), stays]),
        ("on another port", vec![on(Protocol::Http, 8444), stays]),
    ] {
        declare(&town, &callee, &[on(Protocol::Http, 8443), stays]).await;
        let one = http1(&callee, "8443", &caller).await;
        let mut two = http2(&callee, &caller).await;
        let mut other = http1(&callee, "9443", &caller).await;
        declare(&town, &callee, &listens).await;
        eventually(what, async || one.is_closed()).await;
        tokio::time::timeout(DEADLINE, two.left()).await.expect(what);
        assert!(pays(&mut other).await, "{what}: the other listener");
    }
}

#[tokio::test]
async fn a_second_listener_ends_the_connections_to_one_without_a_port() {
    // As decision 0017 has it for new ones: nobody can say which of the two it is.
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let caller = town.svid("checkout");
    let one = http1(&callee, "", &caller).await;
    declare(&town, &callee, &[on(Protocol::Http, 8443), on(Protocol::Tcp, 5432)]).await;
    eventually("closed", async || one.is_closed()).await;
}

#[tokio::test]
async fn a_call_on_a_connection_that_is_about_to_close_is_refused() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let mut callee = town.sidecar(plan, policy).await;
    let mut connection = http2(&callee, &town.svid("checkout")).await;
    declare(&town, &callee, &[on(Protocol::Http, 8444)]).await;
    // GOAWAY is there, and what is on its way until then is still heard.
    tokio::time::timeout(DEADLINE, connection.left()).await.unwrap();
    for _ in 0..20 {
        assert_ne!(connection.answered(&Fields::default()).await, Some(true));
    }
    assert_eq!(callee.seen().len(), 1);
    let line = callee.logged(|line| line["cellwall.reason"] == "not_declared").await;
    assert_eq!(line["kind"], "call");
    assert!(line["cellwall.decision"].is_string(), "{line}");
}

#[tokio::test]
async fn a_call_in_progress_is_told_that_it_may_have_acted() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let mut connection = callee.http(&town.svid("checkout")).await;
    let slow = client::build("POST /v1/payments").unwrap().header("x-delay-ms", "60000");
    let slow = connection.send(slow.body(Default::default()).unwrap());
    let withdrawn = async {
        eventually("the call", async || callee.seen().len() == 1).await;
        declare(&town, &callee, &[on(Protocol::Http, 8444)]).await;
    };
    let (response, ()) = tokio::join!(slow, withdrawn);
    let response = response.unwrap();
    let problem: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(
        (response.status().as_u16(), &problem["reason"], &problem["sent"]),
        (502, &json!("not_declared"), &json!("unknown"))
    );
}
