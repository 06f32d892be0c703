//! How long a session lasts: as long as those on it, and not as long as somebody who has no permission.

use std::time::Duration;

use cellwall_policy::Protocol;
use cellwall_testkit::{ca::TestCa, tls::DangerousParty, workload_api::X509State, x509::Validity};
use http::Response;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
};

use super::{asked::Client, connect, talk};
use crate::{
    kit::{DEADLINE, Town, checkout, destination, eventually, id},
    reproof::{BEYOND_GRACE, replace_root},
    tcp::{open, played_db},
};

/// A connection in the beginning of its certificates' time, and what becomes of it.
async fn lasts(flags: &[&str]) {
    let town = Town::new().await;
    let (callee, workload, _) = played_db(&town).await;
    let caller = town.flagged_caller("ledger-db", Protocol::Tcp, flags).await;
    let (mut app, mut served) = open(&caller, &workload).await;
    replace_root(&town, [(&callee, "ledger-db"), (&caller, "checkout")]).await;
    let cut = tokio::time::timeout(BEYOND_GRACE, app.read_u8()).await;
    assert!(cut.is_err(), "{flags:?}: {cut:?}");
    talk(&mut app, &mut served).await;
}

#[tokio::test]
async fn streams_live_on_when_a_root_is_replaced_early_as_sessions_of_their_own_do() {
    // ROT-03, ROT-05
    tokio::join!(lasts(&["--tcp-sessions=shared"]), lasts(&["--tcp-sessions=own"]));
}

#[tokio::test]
async fn a_callee_says_in_time_that_its_session_ends() {
    // ROT-05: streams go on, others go elsewhere before it is cut
    let town = Town::new().await;
    let (callee, workload, _) = played_db(&town).await;
    let soon = Validity::around_now(Duration::from_secs(60), Duration::from_secs(5));
    let client = Client::of(&callee, &town.ca.svid_valid(&id("checkout"), soon)).await;
    let mut stream = client.open(&callee, &workload).await;
    // What would not come to the workload: it is refused until then.
    eventually("the GOAWAY", async || client.ask(connect("127.0.0.1:22")).await.is_err()).await;
    assert!(stream.says("before the end").await);
}

#[tokio::test]
async fn a_session_ends_with_its_authority_also_where_the_other_side_would_keep_it() {
    // ROT-05
    let town = Town::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap().to_string();
    let (plan, policy) = checkout(&["ledger-db"], vec![destination("ledger-db", Protocol::Tcp)]);
    let caller = town.sidecar(plan, policy).await;
    town.control.set_sharing_endpoints("ledger-db", &[here]);
    caller.knows("ledger-db").await;
    let _app = TcpStream::connect(caller.outbound["ledger-db"]).await.unwrap();
    let party = DangerousParty::presenting(&town.svid("ledger-db")).alpn(&["h2"]);
    let (tcp, _) = listener.accept().await.unwrap();
    let mut session = h2::server::handshake(party.accept(tcp).await.unwrap()).await.unwrap();
    let (_request, mut respond) = session.accept().await.unwrap().unwrap();
    let _open = respond.send_response(Response::new(()), false).unwrap();
    // Nobody proves anything to it any more, and it does not care.
    let other = TestCa::new("pay.example");
    let revoked = X509State::issued(&other, &id("checkout")).trusting(&[&other]);
    let ended = async { while let Some(Ok(_)) = session.accept().await {} };
    let both = async { tokio::join!(ended, caller.renewed(&revoked)) };
    tokio::time::timeout(DEADLINE, both).await.unwrap();
}
