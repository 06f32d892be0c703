//! The hostile corpus against the running sidecar, from both sides (T4).

use std::{collections::BTreeMap, time::SystemTime};

use cellwall_policy::{DestinationDocument, Protocol, SnapshotDocument, Tolerated};
use cellwall_testkit::{
    hostile::{Case, Directions, corpus},
    tls::DangerousParty,
    workload_api::X509State,
};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::kit::{DEADLINE, Sidecar, Town, checkout, evidence, id, payments};

fn reasons(metrics: &cellwall_testkit::scrape::Metrics, direction: &str) -> BTreeMap<String, f64> {
    let name = "cellwall_tls_handshakes_total";
    let all = metrics.values(name, "reason");
    all.into_iter()
        .map(|reason| {
            let labels = [("direction", direction), ("reason", reason)];
            (reason.to_owned(), metrics.sum(name, &labels))
        })
        .collect()
}

/// The reason whose count went up by one.
fn risen(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> Option<String> {
    let of = |counts: &BTreeMap<String, f64>, reason: &String| {
        counts.get(reason).copied().unwrap_or_default()
    };
    after.keys().find(|reason| of(after, reason) > of(before, reason)).cloned()
}

/// Waits for the sidecar to count a handshake, and returns its reason.
async fn counted(
    sidecar: &Sidecar,
    direction: &str,
    before: &BTreeMap<String, f64>,
) -> (String, BTreeMap<String, f64>) {
    let look = async {
        loop {
            let after = reasons(&sidecar.metrics().await, direction);
            if let Some(reason) = risen(before, &after) {
                return (reason, after);
            }
        }
    };
    tokio::time::timeout(DEADLINE, look).await.unwrap()
}

async fn as_client(sidecar: &Sidecar, case: &Case) -> bool {
    let party = if case.chain.is_empty() {
        DangerousParty::anonymous()
    } else {
        DangerousParty::presenting_chain(case.chain.clone(), &case.key)
    };
    let tcp = TcpStream::connect(sidecar.inbound).await.unwrap();
    let hello = b"POST /v1/payments HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    party.alpn(&["http/1.1"]).probe_server(tcp, hello, DEADLINE).await.is_let_in()
}

/// Serves `case` at `listener`, the address of `payments`, and lets the caller's workload call it.
async fn as_server(listener: &TcpListener, caller: &Sidecar, case: &Case) -> (u16, String) {
    let party = DangerousParty::presenting_chain(case.chain.clone(), &case.key).alpn(&["h2"]);
    let serve = async {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            party.probe_client(tcp, b"", DEADLINE).await;
        }
    };
    let call = async {
        // The address is news to the sidecar: until it knows, nobody is asked.
        loop {
            let (status, body) = caller.reach("payments", "POST /v1/payments").await;
            if !body.contains("no_endpoint") {
                return (status, body);
            }
        }
    };
    tokio::select! {
        () = serve => unreachable!("it serves without end"),
        answer = tokio::time::timeout(3 * DEADLINE, call) => answer.unwrap(),
    }
}

#[tokio::test]
async fn no_hostile_certificate_reaches_a_workload_or_gets_a_call() {
    let town = Town::new().await;
    let corpus = corpus(&town.ca, SystemTime::now());
    let trusted = |name: &str| {
        let mut state = X509State::issued(&town.ca, &id(name));
        for (domain, roots) in corpus.bundles.iter().filter(|(name, _)| *name != "pay.example") {
            state = state.federated(domain, roots);
        }
        state
    };
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    callee.renewed(&trusted("payments")).await;
    let (mut counts, mut accepted, mut cases) = (BTreeMap::<String, u32>::new(), Vec::new(), 0);
    let mut before = reasons(&callee.metrics().await, "inbound");
    for case in corpus.cases.iter().filter(|case| case.directions != Directions::ServerOnly) {
        cases += 1;
        if as_client(&callee, case).await {
            accepted.push(case.name);
        }
        let (reason, after) = counted(&callee, "inbound", &before).await;
        assert!(case.expected.contains(&reason.as_str()), "{}: {reason}", case.name);
        *counts.entry(reason).or_default() += 1;
        before = after;
    }
    assert_eq!(callee.seen(), []);

    let (plan, policy) = checkout(&["payments"], Vec::new());
    let expected = DestinationDocument {
        name: "payments".to_owned(),
        id: id("checkout"), // the ID that the corpus bends
        protocol: Protocol::Http,
        tolerates: Tolerated::Nothing,
        idempotent: Vec::new(),
    };
    let caller =
        town.sidecar(plan, SnapshotDocument { destinations: vec![expected], ..policy }).await;
    // In use before the first case: what fails in the middle of a rotation is tried again.
    caller.renewed(&trusted("checkout")).await;
    // One for all: of thousands of attempts to connect to a port that nobody listens at any more, one
    // gets that port itself, and meets itself there.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    town.control.set_endpoints("payments", &[listener.local_addr().unwrap().to_string()]);
    let mut outbound = BTreeMap::<String, u32>::new();
    let mut before = reasons(&caller.metrics().await, "outbound");
    for case in corpus.cases.iter().filter(|case| case.directions != Directions::ClientOnly) {
        if case.chain.is_empty() {
            continue; // a server without a certificate cannot shake hands at all
        }
        cases += 1;
        let (status, body) = Box::pin(as_server(&listener, &caller, case)).await;
        assert_eq!(status, 503, "{}: {body}", case.name);
        let (reason, after) = counted(&caller, "outbound", &before).await;
        assert!(case.expected.contains(&reason.as_str()), "{}: {reason}", case.name);
        *outbound.entry(reason).or_default() += 1;
        before = after;
    }
    assert_eq!(accepted, Vec::<&str>::new());
    evidence(&json!({
        "cases": corpus.cases.len(), "handshakes": cases, "accepted": accepted.len(),
        "refused_as_clients_by_reason": counts, "refused_as_servers_by_reason": outbound,
    }));
}
