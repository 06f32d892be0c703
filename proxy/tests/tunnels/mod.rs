//! TCP connections as streams of a session that many share: each is what a connection of its own is.

mod asked;
mod lasting;
mod peers;
mod resets;
mod shared;

use cellwall_policy::{CallDocument, Protocol, SnapshotDocument};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::kit::{DEADLINE, Plan, Sidecar, Town, policy};

/// Ledger-db's sidecar, started with `flags`, the listener that it takes for its workload, and its
/// policy.
async fn flagged_db(town: &Town, flags: &[&str]) -> (Sidecar, TcpListener, SnapshotDocument) {
    let workload = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plan = Plan { name: "ledger-db", speaks: Protocol::Tcp, outbound: &[] };
    let rules = policy("ledger-db", Protocol::Tcp, &[CallDocument::Tcp { port: 8443 }]);
    let sidecar = town.told(plan, workload.local_addr().unwrap(), flags).await;
    (town.made_ready(sidecar, "ledger-db", rules.clone()).await, workload, rules)
}

/// A stream to `authority` is asked for.
fn connect(authority: &str) -> http::Request<()> {
    http::Request::connect(authority).body(()).unwrap()
}

/// How many sessions a sidecar has accepted.
async fn sessions(sidecar: &Sidecar) -> u32 {
    let labels = [("direction", "inbound"), ("result", "ok")];
    let sum = sidecar.metrics().await.sum("cellwall_tls_handshakes_total", &labels);
    format!("{sum}").parse().unwrap()
}

/// Each side says something and hears it.
async fn talk(app: &mut TcpStream, served: &mut TcpStream) {
    let both = async {
        let mut heard = [0; 4];
        app.write_all(b"word").await.unwrap();
        served.read_exact(&mut heard).await.unwrap();
        served.write_all(&heard).await.unwrap();
        app.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"word");
    };
    tokio::time::timeout(DEADLINE, both).await.unwrap();
}
