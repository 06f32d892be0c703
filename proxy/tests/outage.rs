//! The control plane away for longer than an SVID lives, under load, sidecars restarted meanwhile:
//! identities go on, so calls go on (AZ-01, ROT-09).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cellwall_policy::Protocol;
use cellwall_testkit::{
    client::{self, HttpConnection, Server},
    workload_api::X509State,
    x509::Validity,
};
use serde_json::json;
use tokio::{net::TcpListener, sync::RwLock, task::JoinSet};

use crate::kit::{
    DEADLINE, Plan, Sidecar, Town, checkout, destination, evidence, evidence_time, id, payments,
};

/// How long an SVID lives here, and how often each sidecar gets a new one.
const LIFE: Duration = Duration::from_secs(4);
const RENEWED: Duration = Duration::from_millis(1_500);

/// Longer than an SVID lives.
const AWAY: Duration = Duration::from_secs(5);

const CLIENTS: usize = 4;
const PAY: &str = "POST /v1/payments";

#[derive(Default)]
struct Counts {
    done: AtomicBool,
    calls: AtomicU64,
    failed: AtomicU64,
    /// Held by each call, and by who restarts sidecars: what a drain does to calls in progress is
    /// not asked here.
    pause: RwLock<()>,
}

fn short_lived(town: &Town, workload: &str) -> X509State {
    let validity = Validity::around_now(Duration::from_secs(60), LIFE);
    let svid = town.ca.svid_valid(&id(workload), validity);
    X509State::default().with(&id(workload), svid, vec![town.ca.root()])
}

/// A client of the caller's workload, which opens a connection for every tenth call.
async fn keep_calling(outbound: std::net::SocketAddr, counts: Arc<Counts>) {
    while !counts.done.load(Ordering::Relaxed) {
        let mut connection = HttpConnection::open(&Server::Tcp(outbound)).await.unwrap();
        for _ in 0..10 {
            let request = client::build(PAY).unwrap().body(Default::default()).unwrap();
            let _in_progress = counts.pause.read().await;
            counts.calls.fetch_add(1, Ordering::Relaxed);
            match connection.send(request).await {
                Ok(response) if response.status() == 200 => {}
                other => {
                    println!("failed: {other:?}");
                    counts.failed.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
        }
    }
}

/// Two sidecars of `payments`, and the one of `checkout`, which keeps calling them.
struct Fleet {
    callees: Vec<(&'static str, Sidecar)>,
    caller: Sidecar,
}

fn plan(name: &'static str) -> Plan<'static> {
    Plan { name, ..payments().0 }
}

impl Fleet {
    async fn start(town: &Town) -> Self {
        let mut callees = Vec::new();
        town.publish(payments().1);
        for name in ["payments", "payments-2"] {
            let mut sidecar = town.keeping_bare(plan(name)).await;
            sidecar.identity.publish(&short_lived(town, "payments"));
            sidecar.process.message("ready", DEADLINE).await.unwrap();
            callees.push((name, sidecar));
        }
        let there = callees.iter().map(|(_, callee)| callee.inbound.to_string());
        town.control.set_endpoints("payments", &there.collect::<Vec<_>>());
        let (plan, policy) = checkout(&["payments"], vec![destination("payments", Protocol::Http)]);
        let mut caller = town.keeping_bare(plan).await;
        town.publish(policy);
        caller.identity.publish(&short_lived(town, "checkout"));
        caller.process.message("ready", DEADLINE).await.unwrap();
        caller.knows("payments").await;
        Self { callees, caller }
    }

    fn renew(&self, town: &Town) {
        for (_, callee) in &self.callees {
            callee.identity.publish(&short_lived(town, "payments"));
        }
        self.caller.identity.publish(&short_lived(town, "checkout"));
    }

    /// One callee after the other, each ready again before the next.
    async fn restart_callees(&mut self, town: &Town, counts: &Counts) {
        let _nobody_calls = counts.pause.write().await;
        let mut restarted = Vec::new();
        for (name, old) in std::mem::take(&mut self.callees) {
            let mut sidecar = town.restarted(old, plan(name), &[&town.state_flag(name)]).await;
            sidecar.identity.publish(&short_lived(town, "payments"));
            sidecar.process.message("ready", DEADLINE).await.unwrap();
            restarted.push((name, sidecar));
        }
        self.callees = restarted;
    }
}

/// A caller that is restarted, too: nobody calls through it meanwhile, and it knows where to go.
async fn restarted_caller_pays(town: &Town, fleet: &Fleet) -> bool {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let plan = Plan { name: "checkout-2", ..checkout(&["payments"], Vec::new()).0 };
    let folder = town.state("checkout-2");
    if !folder.exists() {
        // It ran before, beside the other: what that keeps is what it would have kept.
        copy_folder(&town.state("checkout"), &folder);
    }
    let flag = town.state_flag("checkout-2");
    let mut sidecar = town.told(plan, elsewhere, &[&flag]).await;
    sidecar.identity.publish(&short_lived(town, "checkout"));
    sidecar.process.message("ready", DEADLINE).await.unwrap();
    assert!(!fleet.callees.is_empty());
    sidecar.reach("payments", PAY).await.0 == 200
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let place = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &place);
        } else if path.file_name().unwrap() != "lock" {
            std::fs::copy(&path, &place).unwrap();
        }
    }
}

/// One outage. Returns how long it took until every sidecar was back at the control plane.
async fn outage(town: &mut Town, fleet: &mut Fleet, counts: &Counts) -> Duration {
    let began = Instant::now();
    town.leave().await;
    let mut restarted = false;
    while began.elapsed() < AWAY {
        fleet.renew(town);
        if !restarted && began.elapsed() > LIFE / 4 {
            fleet.restart_callees(town, counts).await;
            assert!(restarted_caller_pays(town, fleet).await);
            restarted = true;
        }
        tokio::time::sleep(RENEWED.min(AWAY.saturating_sub(began.elapsed()))).await;
    }
    fleet.renew(town);
    let returned = Instant::now();
    town.come_back().await;
    town.publish(payments().1);
    let (_, policy) = checkout(&["payments"], vec![destination("payments", Protocol::Http)]);
    town.publish(policy);
    // All three, each on a stream of its own.
    for wanted in 1..=3 {
        let acks = |events: &[cellwall_testkit::distribution::Event]| {
            let ack = |event: &&cellwall_testkit::distribution::Event| {
                matches!(event.said, cellwall_testkit::distribution::Said::Ack(_))
            };
            let streams = events.iter().filter(ack).map(|event| event.stream);
            streams.collect::<std::collections::BTreeSet<_>>().len()
        };
        town.control.event(0, DEADLINE, |_| acks(&town.control.events()) >= wanted).await.unwrap();
    }
    returned.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_while_the_control_plane_is_away_and_sidecars_are_restarted() {
    let mut town = Town::new().await;
    let mut fleet = Fleet::start(&town).await;
    let counts = Arc::new(Counts::default());
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(keep_calling(fleet.caller.outbound["payments"], counts.clone()));
    }
    let outages = if evidence_time().is_some() { 3 } else { 1 };
    let mut back = Vec::new();
    for _ in 0..outages {
        back.push(outage(&mut town, &mut fleet, &counts).await.as_secs_f64());
    }
    counts.done.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let figures = json!({
        "outages": outages, "away_seconds": AWAY.as_secs(), "svid_life_seconds": LIFE.as_secs(),
        "restarted_sidecars": outages * 3, "calls": read(&counts.calls),
        "calls_failed": read(&counts.failed), "back_after_seconds": back,
    });
    evidence(&figures);
    assert_eq!(read(&counts.failed), 0, "{figures}");
    assert!(read(&counts.calls) > 100, "{figures}");
    assert!(back.iter().all(|seconds| *seconds < 5.0), "{figures}");
}
