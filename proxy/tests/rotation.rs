//! Rotation under load: no handshake and no request fails (ROT-01, T9).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cellwall_policy::Protocol;
use cellwall_testkit::{
    ca::TestCa,
    client::{self, HttpConnection, Server},
    tls::DangerousParty,
    workload_api::X509State,
};
use serde_json::json;
use tokio::{net::TcpStream, task::JoinSet};

use crate::kit::{Sidecar, Town, evidence, evidence_time, id, payments};

/// Clients for `cargo evidence`; a test run beside others has fewer.
const CLIENTS: usize = 64;
const FEW_CLIENTS: usize = 16;
const SHORT: Duration = Duration::from_secs(3);
const EVERY: Duration = Duration::from_millis(50);
const ROOTS: u32 = 5;

#[derive(Default)]
struct Counts {
    done: AtomicBool,
    handshakes: AtomicU64,
    handshakes_failed: AtomicU64,
    requests: AtomicU64,
    requests_failed: AtomicU64,
    connections_closed: AtomicU64,
}

impl Counts {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A client with an SVID of its own, which shakes hands anew for every request.
async fn shake_hands(
    inbound: std::net::SocketAddr,
    party: Arc<std::sync::Mutex<DangerousParty>>,
    counts: Arc<Counts>,
) {
    let hello = b"GET /v1/payments/p_1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    while !counts.done.load(Ordering::Relaxed) {
        let party = party.lock().unwrap().clone();
        let Ok(tcp) = TcpStream::connect(inbound).await else {
            Counts::add(&counts.handshakes_failed);
            continue;
        };
        let seen = party.probe_server(tcp, hello, Duration::from_secs(10)).await;
        Counts::add(&counts.handshakes);
        let answered = matches!(&seen.after, cellwall_testkit::tls::After::Data(data)
            if data.starts_with(b"HTTP/1.1 200"));
        if !answered {
            Counts::add(&counts.handshakes_failed);
        }
    }
}

/// A client of the caller's workload, which keeps its connection.
async fn keep_calling(outbound: std::net::SocketAddr, counts: Arc<Counts>) {
    let mut connection = HttpConnection::open(&Server::Tcp(outbound)).await.unwrap();
    while !counts.done.load(Ordering::Relaxed) {
        let request = client::build("POST /v1/payments").unwrap().body(Default::default()).unwrap();
        Counts::add(&counts.requests);
        match connection.send(request).await {
            Ok(response) if response.status() == 200 => {}
            other => {
                println!("failed: {other:?}");
                Counts::add(&counts.requests_failed);
            }
        }
        if connection.is_closed() {
            Counts::add(&counts.connections_closed);
            connection = HttpConnection::open(&Server::Tcp(outbound)).await.unwrap();
        }
    }
}

/// Publishes to both sidecars, and gives the raw clients an SVID of the same authority.
fn publish(
    sidecars: [(&Sidecar, &str); 2],
    (ca, roots): (&TestCa, &[&TestCa]),
    party: &std::sync::Mutex<DangerousParty>,
) {
    for (sidecar, name) in sidecars {
        let state = X509State::issued(ca, &id(name)).trusting(roots);
        sidecar.identity.publish(&state);
    }
    let svid = ca.svid(&id("checkout"));
    *party.lock().unwrap() = DangerousParty::presenting(&svid).alpn(&["http/1.1"]);
}

/// ROT-03: both roots are trusted everywhere before the new one signs, and the old one goes when
/// nothing signed by it is in use.
async fn replace_root(
    sidecars: [(&Sidecar, &str); 2],
    (old, next): (&TestCa, &TestCa),
    party: &std::sync::Mutex<DangerousParty>,
) {
    for signer in [old, next] {
        for (sidecar, name) in sidecars {
            let state = X509State::issued(signer, &id(name)).trusting(&[old, next]);
            let before = generation(sidecar).await;
            sidecar.identity.publish(&state);
            while generation(sidecar).await <= before {}
        }
    }
    let svid = next.svid(&id("checkout"));
    *party.lock().unwrap() = DangerousParty::presenting(&svid).alpn(&["http/1.1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_fails_no_handshake_and_no_request() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let (counts, party) = (
        Arc::new(Counts::default()),
        Arc::new(std::sync::Mutex::new(
            DangerousParty::presenting(&town.svid("checkout")).alpn(&["http/1.1"]),
        )),
    );
    let mut clients = JoinSet::new();
    let number = if evidence_time().is_some() { CLIENTS } else { FEW_CLIENTS };
    for _ in 0..number / 2 {
        clients.spawn(shake_hands(callee.inbound, party.clone(), counts.clone()));
        clients.spawn(keep_calling(caller.outbound["payments"], counts.clone()));
    }
    let sidecars = [(&callee, "payments"), (&caller, "checkout")];
    let (mut ca, mut leaves, mut roots) = (town.ca.clone(), 0_u32, 0_u32);
    let (started, time) = (Instant::now(), evidence_time().unwrap_or(SHORT));
    let mut tick = tokio::time::interval(EVERY);
    while started.elapsed() < time || roots < ROOTS {
        tick.tick().await;
        leaves += 1;
        publish(sidecars, (&ca, &[&ca]), &party);
        let due = time.mul_f64(f64::from(roots + 1) / f64::from(ROOTS + 1));
        if started.elapsed() > due && roots < ROOTS {
            let next = ca.rotated();
            replace_root(sidecars, (&ca, &next), &party).await;
            // Handshakes that began with the old leaf are through before its root goes.
            tokio::time::sleep(Duration::from_millis(300)).await;
            (ca, roots) = (next, roots + 1);
        }
    }
    counts.done.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let figures = json!({
        "seconds": time.as_secs(), "clients": number,
        "leaf_rotations": leaves, "root_rotations": roots,
        "handshakes": read(&counts.handshakes),
        "handshakes_failed": read(&counts.handshakes_failed),
        "requests": read(&counts.requests), "requests_failed": read(&counts.requests_failed),
        "client_connections_closed": read(&counts.connections_closed),
        "generations": generation(&callee).await,
    });
    evidence(&figures);
    let failed = [&counts.handshakes_failed, &counts.requests_failed, &counts.connections_closed];
    assert_eq!(failed.map(read), [0, 0, 0], "{figures}");
    assert_eq!(roots, ROOTS);
    assert!(read(&counts.handshakes) > 100 && read(&counts.requests) > 100, "{figures}");
}

/// Which generation of material a sidecar uses now.
async fn generation(sidecar: &Sidecar) -> u64 {
    let response = client::request(sidecar.admin, "GET /config").await.unwrap();
    let config: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    config["generation"].as_u64().unwrap_or_default()
}
