//! h2spec, a client that breaks the rules of HTTP/2 one by one, at both doors of a sidecar.

use std::{net::SocketAddr, process::Stdio};

use cellwall_policy::Protocol;
use cellwall_testkit::{ca::Svid, tls::DangerousParty};
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    process::Command,
    task::JoinSet,
};

use crate::kit::{Plan, Town, evidence, http, policy};

/// The case that sends what is no preface, and wants to hear nothing. Where an app may speak HTTP/1.1 as
/// well, that is a request line without a version, and is answered as one.
const NO_PREFACE: &str = "2: Sends invalid connection preface";

/// What h2spec counted.
#[derive(Debug, Eq, PartialEq)]
struct Counted {
    tests: u32,
    passed: u32,
}

/// The program, from the one who runs this role.
#[expect(clippy::disallowed_methods, reason = "the one setting of a role, read at its one place")]
fn program() -> String {
    std::env::var("CELLWALL_H2SPEC").unwrap()
}

#[tokio::test]
#[ignore = "a role: `cargo evidence requests 1` gets h2spec and runs it"]
async fn both_doors_keep_the_rules() {
    // T2
    let town = Town::new().await;
    let calls = ["GET", "HEAD", "POST", "OPTIONS"].map(|method| http(method, "/"));
    let plan = Plan { name: "payments", speaks: Protocol::Http, outbound: &[] };
    let payments = policy("payments", Protocol::Http, &calls);
    let payments = town.sidecar(plan, payments).await;
    let (inbound, _open) = through_tls(payments.inbound, town.svid("checkout")).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let (from_peers, said) = h2spec(inbound).await;
    assert!(from_peers.passed == from_peers.tests && from_peers.tests > 100, "{said}");
    let (from_apps, said) = h2spec(caller.outbound["payments"]).await;
    evidence(&json!({
        "inbound_tests": from_peers.tests, "inbound_passed": from_peers.passed,
        "outbound_tests": from_apps.tests, "outbound_passed": from_apps.passed,
    }));
    assert_eq!(from_apps, Counted { passed: from_apps.tests - 1, ..from_peers }, "{said}");
    assert!(said.contains(&format!("\u{d7} {NO_PREFACE}")), "{said}");
}

/// Lets whoever connects speak to `callee` under `svid`: every byte passes as it is.
async fn through_tls(callee: SocketAddr, svid: Svid) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let party = DangerousParty::presenting(&svid).alpn(&["h2"]);
    let mut open = JoinSet::new();
    open.spawn(async move {
        let mut tunnels = JoinSet::new();
        while let Ok((mut plain, _)) = listener.accept().await {
            let party = party.clone();
            tunnels.spawn(async move {
                let tcp = TcpStream::connect(callee).await?;
                let mut tls = party.connect(tcp).await?;
                copy_bidirectional(&mut plain, &mut tls).await
            });
        }
    });
    (address, open)
}

/// Runs its cases, the strict ones as well.
async fn h2spec(address: SocketAddr) -> (Counted, String) {
    let output = Command::new(program())
        .args(["generic", "http2", "hpack", "-S", "-o", "5", "-h", "127.0.0.1", "-p"])
        .arg(address.port().to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // `146 tests, 146 passed, 0 skipped, 0 failed`
    let summary = said.lines().rev().find(|line| line.contains(" tests, ")).unwrap_or_default();
    let mut numbers = summary.split(", ").filter_map(|part| part.split(' ').next()?.parse().ok());
    let counted = Counted {
        tests: numbers.next().unwrap_or_default(),
        passed: numbers.next().unwrap_or_default(),
    };
    (counted, said)
}
