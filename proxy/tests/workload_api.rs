//! What the Workload API may say, and what is not believed of it (WAPI-07 to WAPI-10, 31, 32).

use std::{collections::BTreeMap, time::Duration};

use cellwall_testkit::{ca::TestCa, client, workload_api::X509State, x509::Validity};
use serde_json::json;

use crate::kit::{DEADLINE, Sidecar, Town, eventually, evidence, id, payments};

async fn refused(sidecar: &Sidecar, reason: &str) -> f64 {
    let labels = [("result", "refused"), ("reason", reason)];
    sidecar.metrics().await.sum("cellwall_svid_rotations_total", &labels)
}

/// A right state of payments, and how it is spoilt.
type Spoilt = (&'static str, &'static str, fn(&TestCa) -> Message);
type Message = cellwall_api::workload::X509svidResponse;

fn right(ca: &TestCa) -> Message {
    X509State::issued(ca, &id("payments")).to_message()
}

fn spoilt(ca: &TestCa, spoil: impl FnOnce(&mut Message)) -> Message {
    let mut message = right(ca);
    spoil(&mut message);
    message
}

/// An SVID of payments by another authority, one that has ended, and so on: all with our bundle.
fn presenting(ca: &TestCa, svid: cellwall_testkit::ca::Svid) -> Message {
    X509State::default().with(&id("payments"), svid, vec![ca.root()]).to_message()
}

const HOUR: Duration = Duration::from_secs(3600);

const SPOILT: [Spoilt; 19] = [
    // WAPI-10: mandatory fields
    ("no svids", "malformed", |ca| spoilt(ca, |m| m.svids.clear())),
    ("no id", "malformed", |ca| spoilt(ca, |m| m.svids[0].spiffe_id.clear())),
    ("no chain", "malformed", |ca| spoilt(ca, |m| m.svids[0].x509_svid.clear())),
    ("no key", "malformed", |ca| spoilt(ca, |m| m.svids[0].x509_svid_key.clear())),
    ("no bundle", "malformed", |ca| spoilt(ca, |m| m.svids[0].bundle.clear())),
    ("a second svid without a key", "malformed", |ca| {
        let ledger = X509State::issued(ca, &id("ledger")).to_message();
        spoilt(ca, |message| {
            message.svids.extend(ledger.svids);
            message.svids[1].x509_svid_key.clear();
        })
    }),
    // WAPI-10: fields that do not fit each other
    ("an id in capitals", "malformed", |ca| {
        spoilt(ca, |m| m.svids[0].spiffe_id = m.svids[0].spiffe_id.replace("pay", "PAY"))
    }),
    ("another's certificate under our id", "unusable", |ca| presenting(ca, ca.svid(&id("ledger")))),
    ("another's key", "unusable", |ca| {
        let other = ca.svid(&id("payments"));
        spoilt(ca, |m| m.svids[0].x509_svid_key = other.key.secret_der().to_vec())
    }),
    ("a key that is none", "unusable", |ca| {
        spoilt(ca, |m| m.svids[0].x509_svid_key = b"key".to_vec())
    }),
    ("an authority that is not the bundle's", "unusable", |ca| {
        presenting(ca, TestCa::new("pay.example").svid(&id("payments")))
    }),
    ("an svid that has ended", "unusable", |ca| {
        let past = Validity { not_after: std::time::SystemTime::now() - HOUR / 2, ..past() };
        presenting(ca, ca.svid_valid(&id("payments"), past))
    }),
    ("PEM for DER", "malformed", |ca| {
        let (pem, _) = ca.svid(&id("payments")).pem();
        spoilt(ca, |m| m.svids[0].x509_svid = pem.into_bytes())
    }),
    ("a cut bundle", "malformed", |ca| spoilt(ca, |m| m.svids[0].bundle.truncate(300))),
    // WAPI-31: whoever may say this may replace our authorities
    ("our own trust domain, federated", "own_trust_domain", |ca| {
        let evil = TestCa::new("pay.example");
        X509State::issued(ca, &id("payments")).federated("pay.example", &[evil.root()]).to_message()
    }),
    ("our own trust domain by its bare name", "own_trust_domain", |ca| {
        let evil = TestCa::new("pay.example").root().to_vec();
        spoilt(ca, |m| drop(m.federated_bundles.insert("pay.example".to_owned(), evil)))
    }),
    // WAPI-32
    ("101 svids", "too_large", |ca| spoilt(ca, |m| m.svids = vec![m.svids[0].clone(); 101])),
    ("201 bundles", "too_large", |ca| {
        let names = (0..200).map(|number| (format!("spiffe://td-{number}"), Vec::new()));
        spoilt(ca, |message| message.federated_bundles = names.collect())
    }),
    ("5 MiB", "too_large", |ca| {
        let huge = ("spiffe://partner.example".to_owned(), vec![0; 5 << 20]);
        spoilt(ca, |message| message.federated_bundles = [huge].into())
    }),
];

fn past() -> Validity {
    Validity::around_now(HOUR, HOUR)
}

async fn presented(sidecar: &Sidecar) -> serde_json::Value {
    sidecar.config().await["svid_serial"].clone()
}

#[tokio::test]
async fn a_message_that_is_not_right_is_discarded_whole_and_said_so() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let mut sidecar = town.sidecar(plan, policy).await;
    let mut log = sidecar.process.stderr();
    let (mut counts, mut taken) = (BTreeMap::<&str, u32>::new(), Vec::new());
    for (name, reason, message) in SPOILT {
        let good = presented(&sidecar).await;
        let before = refused(&sidecar, reason).await;
        log.skip().unwrap();
        sidecar.identity.publish_message(message(&town.ca));
        eventually(name, async || refused(&sidecar, reason).await > before).await;
        let words = ["svid update refused", "workload api stream ended"];
        let said = sidecar
            .process
            .line(log.clone(), DEADLINE, |line| words.iter().any(|word| line["message"] == *word));
        said.await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        if presented(&sidecar).await != good {
            taken.push(name);
        }
        // The last good one is in force: others are served by it, and by its bundle.
        let (status, _) = sidecar.call(&town.svid("checkout"), "POST /v1/payments").await;
        assert_eq!(status, 200, "{name}");
        *counts.entry(reason).or_default() += 1;
        sidecar.renewed(&X509State::issued(&town.ca, &id("payments"))).await;
    }
    assert_eq!(taken, Vec::<&str>::new());
    evidence(&json!({
        "cases": SPOILT.len(), "taken": taken.len(), "discarded_by_reason": counts,
    }));
}

#[tokio::test]
async fn an_svid_that_is_not_in_the_answer_any_more_is_unloaded() {
    // WAPI-08, WAPI-15: a message is the whole state, so what it lacks was taken back
    let town = Town::new().await;
    let (plan, policy) = payments();
    let mut sidecar = town.sidecar(plan, policy).await;
    let mut open = sidecar.http(&town.svid("checkout")).await;
    let request = client::build("POST /v1/payments").unwrap().body(Default::default()).unwrap();
    assert_eq!(open.send(request).await.unwrap().status(), 200);
    sidecar.identity.publish(&X509State::issued(&town.ca, &id("ledger")));
    eventually("not ready", async || sidecar.ready().await.0 == 503).await;
    assert_eq!(sidecar.ready().await.1, "no valid svid\n");
    assert_eq!(refused(&sidecar, "redacted").await, 1.0);
    let seen = sidecar.probed_by(&town.svid("checkout")).await;
    assert!(!seen.is_let_in(), "{seen:?}");
    let line = sidecar.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.tls.reason"], "no_own_identity");
    // What was open before stands on nothing now.
    eventually("closed", async || open.is_closed()).await;
    sidecar.identity.publish(&X509State::issued(&town.ca, &id("payments")));
    eventually("ready again", async || sidecar.ready().await.0 == 200).await;
}

#[tokio::test]
async fn an_svid_ends_with_the_first_certificate_above_it() {
    // ID-21, ROT-10: the leaf lives on, but no peer would take it
    let town = Town::new().await;
    let (plan, policy) = payments();
    let mut sidecar = town.sidecar(plan, policy).await;
    let short = Validity::around_now(Duration::from_secs(60), Duration::from_secs(3));
    let issuer = town.ca.intermediate_from(&town.ca.intermediate_draft().valid(short));
    let svid = issuer.svid(&id("payments"));
    assert!(svid.validity.not_after > short.not_after);
    let state = X509State::default().with(&id("payments"), svid, vec![town.ca.root()]);
    sidecar.renewed(&state).await;
    assert_eq!(sidecar.ready().await.0, 200);
    eventually("its end", async || sidecar.ready().await.0 == 503).await;
    assert_eq!(sidecar.ready().await.1, "no valid svid\n");
    let seen = sidecar.probed_by(&town.svid("checkout")).await;
    assert_eq!((seen.is_let_in(), seen.certificates), (false, Vec::new()));
    let line = sidecar.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.tls.reason"], "no_own_identity");
}

#[tokio::test]
async fn a_message_that_comes_again_changes_nothing() {
    // WAPI-03, WAPI-04: after each reconnect the whole state comes again
    let town = Town::new().await;
    let (plan, policy) = payments();
    let sidecar = town.sidecar(plan, policy).await;
    let state = X509State::issued(&town.ca, &id("payments"));
    sidecar.renewed(&state).await;
    let before = sidecar.config().await["generation"].clone();
    let calls = sidecar.identity.calls().fetch_x509_svid;
    sidecar.identity.cut_streams();
    eventually("back", async || sidecar.identity.calls().fetch_x509_svid > calls).await;
    sidecar.identity.publish(&state);
    let partner = TestCa::new("partner.example").root();
    sidecar.identity.publish(&state.clone().federated("partner.example", &[partner]));
    let labels = [("trust_domain", "partner.example")];
    let name = "cellwall_bundle_expiration_timestamp_seconds";
    eventually("news", async || sidecar.metrics().await.sum(name, &labels) > 0.0).await;
    // The metric is there a moment before the generation.
    let generation = async || sidecar.config().await["generation"].clone();
    eventually("its generation", async || generation().await != before).await;
    let after = generation().await.as_u64();
    assert_eq!(after, before.as_u64().map(|generation| generation + 1), "one change, not three");
}
