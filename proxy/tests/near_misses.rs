//! Callers that are almost the allowed one, with real certificates for each (AZ-04, SPID-03).

use std::collections::BTreeMap;

use cellwall_policy::canonical_id;
use cellwall_testkit::{
    ca::TestCa,
    near_miss::{NearMiss, near_misses},
    tls::{After, DangerousParty, Seen},
    workload_api::X509State,
};
use serde_json::json;
use tokio::net::TcpStream;

use crate::kit::{DEADLINE, Sidecar, Town, evidence, id, payments};

const CALL: &[u8] = b"POST /v1/payments HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// The sidecar of payments, which trusts us and every trust domain that looks like ours: what
/// keeps those out is policy.
struct Scene {
    town: Town,
    sidecar: Sidecar,
    others: BTreeMap<String, TestCa>,
}

fn domain(id: &str) -> Option<String> {
    canonical_id(id).map(|id| id.trust_domain().as_str().to_owned())
}

impl Scene {
    async fn new(misses: &[NearMiss]) -> Self {
        let town = Town::new().await;
        let (plan, policy) = payments();
        let sidecar = town.sidecar(plan, policy).await;
        let mut others = BTreeMap::<String, TestCa>::new();
        for domain in misses.iter().filter_map(|miss| domain(&miss.id)) {
            others.entry(domain).or_insert_with_key(|domain| TestCa::new(domain));
        }
        others.remove("pay.example");
        let mut state = X509State::issued(&town.ca, &id("payments"));
        for (domain, ca) in &others {
            state = state.federated(domain, &[ca.root()]);
        }
        sidecar.renewed(&state).await;
        let scene = Self { town, sidecar, others };
        let seen = scene.calls(&id("checkout")).await;
        assert!(matches!(&seen.after, After::Data(answer) if answer.starts_with(b"HTTP/1.1 200 ")));
        scene
    }

    /// One call by whoever bears this name.
    async fn calls(&self, id: &str) -> Seen {
        let ca = domain(id).and_then(|domain| self.others.get(&domain)).unwrap_or(&self.town.ca);
        let party = DangerousParty::presenting(&ca.svid(id)).alpn(&["http/1.1"]);
        let tcp = TcpStream::connect(self.sidecar.inbound).await.unwrap();
        tcp.set_nodelay(true).unwrap(); // or each call waits for an acknowledgement
        party.probe_server(tcp, CALL, DEADLINE).await
    }

    /// Lets all of them call: each must be stopped by this wall, and reach nobody.
    async fn stopped_by(&self, wall: fn(&Seen) -> bool, misses: &[NearMiss]) {
        let (mut counts, mut passed) = (BTreeMap::<&str, u32>::new(), Vec::new());
        for miss in misses {
            let seen = self.calls(&miss.id).await;
            if wall(&seen) {
                *counts.entry(miss.trick).or_default() += 1;
            } else {
                passed.push((&miss.id, seen));
            }
        }
        assert_eq!(passed, []);
        assert_eq!(self.sidecar.seen().len(), 1, "the control alone reached the workload");
        evidence(&json!({
            "cases": misses.len(), "allowed": passed.len(), "stopped_by_trick": counts,
            "lookalike_trust_domains": self.others.len(),
        }));
    }
}

fn all(fits: fn(&NearMiss) -> bool) -> Vec<NearMiss> {
    near_misses(&id("checkout")).into_iter().filter(fits).collect()
}

#[tokio::test]
async fn whoever_is_almost_the_allowed_caller_is_denied() {
    let misses = all(|miss| canonical_id(&miss.id).is_some());
    let denied = |seen: &Seen| matches!(&seen.after, After::Data(answer) if answer.starts_with(b"HTTP/1.1 403 "));
    Scene::new(&misses).await.stopped_by(denied, &misses).await;
}

#[tokio::test]
async fn whoever_spells_the_allowed_name_another_way_does_not_get_through_the_handshake() {
    // SPID-03: not folded, not decoded, not cut
    let misses = all(|miss| canonical_id(&miss.id).is_none());
    let refused = |seen: &Seen| {
        let ended = matches!(seen.after, After::Failed(_) | After::NotReached);
        ended && seen.alert.is_some()
    };
    Scene::new(&misses).await.stopped_by(refused, &misses).await;
}
