//! The control plane may be away: what a restart finds on the disk, and what it does not believe.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use cellwall_policy::{Digest, PolicySigner, Protocol, SignedSnapshot, SnapshotDocument};
use cellwall_testkit::{
    distribution::{Event, Said},
    process::Spawn,
    tls::DangerousParty,
    workload_api::X509State,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpListener, task::JoinSet};

use crate::kit::{DEADLINE, Sidecar, Town, checkout, destination, eventually, id, payments};

const PAY: &str = "POST /v1/payments";

/// `payments`, ready, which keeps its policy; the policy.
async fn kept(town: &Town) -> (Sidecar, SnapshotDocument) {
    let (plan, policy) = payments();
    let version = 1;
    (town.keeping(plan, policy.clone()).await, SnapshotDocument { version, ..policy })
}

/// The same sidecar after a restart, with an SVID.
async fn again(town: &Town, old: Sidecar) -> Sidecar {
    let sidecar = town.restarted(old, payments().0, &[&town.state_flag("payments")]).await;
    sidecar.identity.publish(&X509State::issued(&town.ca, &id("payments")));
    sidecar
}

/// The folder of one SPIFFE ID.
fn folder(town: &Town) -> PathBuf {
    let name = Digest::of(id("payments").as_bytes()).to_string();
    town.state("payments").join(name)
}

fn send(town: &Town, policy: &SnapshotDocument) -> usize {
    let (from, signed) = (town.control.events().len(), town.sign(policy));
    town.control.set_snapshot(&policy.callee, signed.payload, signed.signature);
    from
}

/// The reason of the next nack from event `from` on.
async fn nacked(town: &Town, from: usize) -> String {
    let nack = |event: &Event| matches!(event.said, Said::Nack(_));
    match town.control.event(from, DEADLINE, nack).await.unwrap().said {
        Said::Nack(nack) => nack.reason,
        other => panic!("{other:?}"),
    }
}

/// Waits until this version is acknowledged, from event `from` on.
async fn acked(town: &Town, from: usize, version: u64) {
    let ack = |event: &Event| matches!(&event.said, Said::Ack(ack) if ack.version == version);
    town.control.event(from, DEADLINE, ack).await.unwrap();
}

async fn pays(town: &Town, sidecar: &Sidecar) -> u16 {
    sidecar.call(&town.svid("checkout"), PAY).await.0
}

/// Not ready, and nobody is let in.
async fn denies(town: &Town, sidecar: &Sidecar) {
    assert_eq!(sidecar.ready().await, (503, "no verified policy\n".to_owned()));
    let tcp = tokio::net::TcpStream::connect(sidecar.inbound).await.unwrap();
    let party = DangerousParty::presenting(&town.svid("checkout")).alpn(&["http/1.1"]);
    let seen = party.probe_server(tcp, b"POST /v1/payments HTTP/1.1\r\nhost: a\r\n\r\n", DEADLINE);
    let seen = seen.await;
    assert!(!matches!(seen.after, cellwall_testkit::tls::After::Data(_)), "{seen:?}");
}

#[tokio::test]
async fn a_restart_goes_on_by_the_policy_and_the_addresses_on_the_disk() {
    // AZ-01: the last verified policy
    let mut town = Town::new().await;
    let (callee, _) = kept(&town).await;
    let (plan, policy) = checkout(&["payments"], vec![destination("payments", Protocol::Http)]);
    town.control.follow("payments", &id("payments"));
    let caller = town.keeping(plan, policy).await;
    caller.knows("payments").await;
    assert_eq!(caller.reach("payments", PAY).await.0, 200);
    town.leave().await;

    let mut callee = again(&town, callee).await;
    let line = callee.process.message("policy from the disk in force", DEADLINE).await.unwrap();
    assert_eq!((&line["epoch"], &line["version"]), (&1.into(), &1.into()));
    callee.process.message("ready", DEADLINE).await.unwrap();
    let plan = checkout(&["payments"], Vec::new()).0;
    let mut caller = town.restarted(caller, plan, &[&town.state_flag("checkout")]).await;
    caller.identity.publish(&X509State::issued(&town.ca, &id("checkout")));
    caller.process.message("ready", DEADLINE).await.unwrap();

    assert_eq!(caller.reach("payments", PAY).await.0, 200);
    assert_eq!(caller.reach("payments", "DELETE /v1/payments").await.0, 403);
    assert_eq!(callee.call(&town.svid("intruder"), PAY).await.0, 403);
    let config = callee.config().await;
    assert_eq!((&config["policy_version"], &config["policy_epoch"]), (&1.into(), &1.into()));
    let restored = |sidecar: &cellwall_testkit::scrape::Metrics| {
        sidecar.sum("cellwall_policy_restores_total", &[("result", "in_force")])
    };
    assert_eq!(restored(&callee.metrics().await), 1.0);
}

#[tokio::test]
async fn without_a_folder_a_restart_denies_and_said_so_at_start() {
    let mut town = Town::new().await;
    let (plan, policy) = payments();
    let mut sidecar = town.sidecar(plan, policy).await;
    let warning = "no --state-dir: a restart while the control plane is away will deny";
    sidecar.process.message(warning, DEADLINE).await.unwrap();
    town.leave().await;
    let sidecar = town.restarted(sidecar, payments().0, &[]).await;
    sidecar.identity.publish(&X509State::issued(&town.ca, &id("payments")));
    eventually("an svid", async || sidecar.ready().await.1 == "no verified policy\n").await;
    denies(&town, &sidecar).await;
}

#[tokio::test]
async fn an_older_version_is_refused_after_a_restart_until_the_epoch_is_raised() {
    // POL-02
    let town = Town::new().await;
    let (sidecar, first) = kept(&town).await;
    let second = SnapshotDocument { version: 2, rules: Vec::new(), ..first.clone() };
    let from = send(&town, &second);
    acked(&town, from, 2).await;
    let from = send(&town, &first);
    nacked(&town, from).await;
    let from = town.control.events().len();
    let mut sidecar = again(&town, sidecar).await;
    sidecar.process.message("ready", DEADLINE).await.unwrap();
    let reason = nacked(&town, from).await;
    assert!(
        reason.starts_with("epoch 1 version 1 is older than epoch 1 version 2;")
            && reason.contains("`cellwalld epoch raise --to 2`"),
        "{reason}"
    );
    assert_eq!((pays(&town, &sidecar).await, sidecar.ready().await.0), (403, 200));
    // The same again without the policy: the mark alone refuses it.
    fs::remove_file(folder(&town).join("policy")).unwrap();
    let from = town.control.events().len();
    let sidecar = again(&town, sidecar).await;
    assert!(nacked(&town, from).await.contains("older"));
    denies(&town, &sidecar).await;
    // An operator's act.
    let from = send(&town, &SnapshotDocument { epoch: 2, ..first.clone() });
    acked(&town, from, 1).await;
    assert_eq!(pays(&town, &sidecar).await, 200);
    // Nobody goes back to the epoch before, however high its version.
    let from = send(&town, &SnapshotDocument { version: 99, ..second });
    nacked(&town, from).await;
    let from = town.control.events().len();
    let mut sidecar = again(&town, sidecar).await;
    sidecar.process.message("ready", DEADLINE).await.unwrap();
    assert!(nacked(&town, from).await.contains("epoch 1 version 99 is older than epoch 2"));
    assert_eq!(pays(&town, &sidecar).await, 200);
}

#[tokio::test]
async fn a_version_with_another_content_is_refused_and_the_reason_says_what_to_do() {
    // POL-02: a control plane that was restored counts its versions again
    let town = Town::new().await;
    let (sidecar, first) = kept(&town).await;
    let other = SnapshotDocument {
        digest: Digest::of(b"another").to_string(),
        rules: Vec::new(),
        ..first.clone()
    };
    let from = send(&town, &other);
    let reason = nacked(&town, from).await;
    assert!(reason.contains("restored without a new epoch"), "{reason}");
    assert_eq!(pays(&town, &sidecar).await, 200);
    let from = town.control.events().len();
    let mut sidecar = again(&town, sidecar).await;
    sidecar.process.message("ready", DEADLINE).await.unwrap();
    assert!(nacked(&town, from).await.contains("restored without a new epoch"));
    assert_eq!(pays(&town, &sidecar).await, 200);
    // The same content again is the same policy, whenever it was compiled.
    let from = send(&town, &SnapshotDocument { issued_at: 2, ..first });
    acked(&town, from, 1).await;
}

/// What a vandal or a thief could put in the place of the policy file.
fn forgeries(town: &Town, policy: &SnapshotDocument) -> Vec<(&'static str, Vec<u8>)> {
    let whole = fs::read(folder(town).join("policy")).unwrap();
    let file = |signed: &SignedSnapshot| {
        let header = serde_json::json!({ "schema": 1, "signature": signed.signature });
        [header.to_string().as_bytes(), b"\n", &signed.payload].concat()
    };
    assert_eq!(whole.iter().filter(|byte| **byte == b'\n').count(), 1);
    let text = String::from_utf8(whole.clone()).unwrap();
    let stranger = PolicySigner::from_pkcs8(&PolicySigner::generate().unwrap()).unwrap();
    let newer = SnapshotDocument { version: 9, ..policy.clone() };
    let older = SnapshotDocument { version: 1, ..policy.clone() };
    let other = SnapshotDocument { callee: id("ledger"), version: 9, ..policy.clone() };
    vec![
        ("a payload that was edited", text.replace("\"version\":2", "\"version\":3").into()),
        (
            "a signature that was edited",
            text.replacen("\"signature\":[48", "\"signature\":[49", 1).into(),
        ),
        ("a file that was cut", whole[..whole.len() / 2].to_vec()),
        ("nothing", Vec::new()),
        ("another key's", file(&stranger.sign(&newer).unwrap())),
        ("another workload's", file(&town.sign(&other))),
        ("an older one", file(&town.sign(&older))),
    ]
}

#[tokio::test]
async fn a_file_that_is_not_what_was_kept_is_put_aside_and_nobody_is_let_in() {
    // POL-01, POL-02, AZ-01
    let mut town = Town::new().await;
    let (mut sidecar, first) = kept(&town).await;
    let second = SnapshotDocument { version: 2, ..first };
    let from = send(&town, &second);
    acked(&town, from, 2).await;
    town.leave().await;
    let forgeries = forgeries(&town, &second);
    let (policy, refused) = (folder(&town).join("policy"), folder(&town).join("policy.refused"));
    let whole = fs::read(&policy).unwrap();
    for (what, bytes) in forgeries {
        assert_ne!(bytes, whole, "{what}");
        fs::write(&policy, &bytes).unwrap();
        sidecar = again(&town, sidecar).await;
        let line = sidecar.process.message("stored policy refused", DEADLINE).await.expect(what);
        assert!(line["folder"].as_str().unwrap().ends_with(folder(&town).to_str().unwrap()));
        denies(&town, &sidecar).await;
        eventually("the file is aside", async || fs::read(&refused).ok() == Some(bytes.clone()))
            .await;
        assert!(!policy.exists(), "{what}");
        let labels = [("result", "refused")];
        let metrics = sidecar.metrics().await;
        assert_eq!(metrics.sum("cellwall_policy_restores_total", &labels), 1.0, "{what}");
    }
    town.come_back().await;
    send(&town, &second);
    sidecar.process.message("ready", DEADLINE).await.unwrap();
    assert_eq!(pays(&town, &sidecar).await, 200);
    let payload = |file: &[u8]| file.rsplit(|byte| *byte == b'\n').next().unwrap().to_vec();
    assert_eq!(payload(&fs::read(&policy).unwrap()), payload(&whole));
}

#[tokio::test]
async fn a_damaged_mark_takes_nothing_in_until_somebody_has_looked() {
    // POL-02: nobody knows what would be too old
    let town = Town::new().await;
    let (sidecar, _) = kept(&town).await;
    let mark = folder(&town).join("high-water");
    let text = fs::read_to_string(&mark).unwrap();
    fs::write(&mark, text.replace("\"version\":1", "\"version\":0")).unwrap();
    let from = town.control.events().len();
    let mut sidecar = again(&town, sidecar).await;
    let line = sidecar.process.message("no policy will be taken", DEADLINE).await.unwrap();
    let error = line["error"].as_str().unwrap();
    assert!(error.contains(mark.to_str().unwrap()) && error.contains("checksum"), "{error}");
    let reason = nacked(&town, from).await;
    assert!(reason.contains("remove the file and restart"), "{reason}");
    denies(&town, &sidecar).await;
    fs::remove_file(&mark).unwrap();
    let mut sidecar = again(&town, sidecar).await;
    sidecar.process.message("ready", DEADLINE).await.unwrap();
    assert_eq!(pays(&town, &sidecar).await, 200);
    assert_eq!(fs::read_to_string(&mark).unwrap(), text);
}

#[tokio::test]
async fn a_withdrawn_permission_takes_effect_although_the_disk_is_full() {
    let mut town = Town::new().await;
    let (sidecar, first) = kept(&town).await;
    let blocked = ["policy.new", "high-water.new"].map(|name| folder(&town).join(name));
    blocked.iter().for_each(|path| fs::create_dir(path).unwrap());
    let narrower = SnapshotDocument { version: 2, rules: Vec::new(), ..first };
    let from = send(&town, &narrower);
    acked(&town, from, 2).await;
    assert_eq!(pays(&town, &sidecar).await, 403);
    let warning = "ready\nwarning: the policy in force is not on the disk\n".to_owned();
    assert_eq!(sidecar.ready().await, (200, warning));
    let metrics = sidecar.metrics().await;
    assert_eq!(metrics.sum("cellwall_policy_store_failures_total", &[]), 1.0);
    assert_eq!(metrics.sum("cellwall_policy_stored", &[]), 0.0);
    // What was withdrawn does not come back with a restart.
    town.leave().await;
    let sidecar = again(&town, sidecar).await;
    eventually("an svid", async || sidecar.ready().await.1 == "no verified policy\n").await;
    denies(&town, &sidecar).await;
    blocked.iter().for_each(|path| fs::remove_dir(path).unwrap());
    town.come_back().await;
    let from = send(&town, &narrower);
    acked(&town, from, 2).await;
    assert_eq!(sidecar.ready().await, (200, "ready\n".to_owned()));
    assert_eq!(sidecar.metrics().await.sum("cellwall_policy_stored", &[]), 1.0);
}

#[tokio::test]
async fn a_policy_waits_for_the_disk_and_not_for_ever() {
    // POL-02: first the disk. And a withdrawn permission takes effect although the disk hangs.
    let town = Town::new().await;
    let (mut sidecar, first) = kept(&town).await;
    // Nobody reads it: whoever opens it waits.
    let hangs = folder(&town).join("policy.new");
    nix::unistd::mkfifo(&hangs, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let sent = Instant::now();
    let from = send(&town, &SnapshotDocument { version: 2, rules: Vec::new(), ..first });
    while pays(&town, &sidecar).await == 200 {
        assert!(sent.elapsed() < DEADLINE, "still not in force");
    }
    let waited = sent.elapsed();
    assert!(waited > Duration::from_millis(1_500), "in force after {waited:?}, before the disk");
    acked(&town, from, 2).await;
    let warning = "ready\nwarning: the policy in force is not on the disk\n".to_owned();
    assert_eq!(sidecar.ready().await, (200, warning));
    assert_eq!(sidecar.process.stop(DEADLINE).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_crash_between_policy_and_mark_costs_nothing() {
    let mut town = Town::new().await;
    let (mut sidecar, first) = kept(&town).await;
    let mark = folder(&town).join("high-water");
    let before = fs::read(&mark).unwrap();
    let from = send(&town, &SnapshotDocument { version: 2, ..first });
    acked(&town, from, 2).await;
    let after = fs::read(&mark).unwrap();
    assert_ne!(before, after);
    town.leave().await;
    for old in [Some(before), None] {
        match old {
            Some(before) => fs::write(&mark, before).unwrap(),
            None => fs::remove_file(&mark).unwrap(),
        }
        sidecar = again(&town, sidecar).await;
        sidecar.process.message("ready", DEADLINE).await.unwrap();
        assert_eq!((pays(&town, &sidecar).await, fs::read(&mark).unwrap()), (200, after.clone()));
    }
}

#[tokio::test]
async fn one_sidecar_at_a_time_uses_a_folder() {
    let town = Town::new().await;
    let (sidecar, _) = kept(&town).await;
    let program = env!("CARGO_BIN_EXE_cellwall-proxy").as_ref();
    let mut other = Spawn::new("other", program, town.dir.path())
        .args(["run", "--admin=127.0.0.1:0", "--workload-api=unix:/nowhere"])
        .arg("--inbound=127.0.0.1:0=127.0.0.1:9")
        .arg(format!("--policy-key={}", town.dir.path().join("policy-key.pem").display()))
        .env("CELLWALL_STATE_DIR", town.state("payments"))
        .start()
        .unwrap();
    let mut said = other.stderr();
    assert_eq!(other.ended(DEADLINE).await.unwrap().code(), Some(1));
    let state = town.state("payments");
    let expected = format!(
        "cellwall-proxy: --state-dir: {}: in use by another cellwall-proxy; each needs a folder \
         of its own",
        state.display()
    );
    assert_eq!(said.lines().unwrap().last(), Some(&expected));
    assert_eq!(pays(&town, &sidecar).await, 200);
}

#[tokio::test]
async fn no_private_key_is_ever_on_the_disk() {
    // SEC-04
    let town = Town::new().await;
    let (sidecar, policy) = kept(&town).await;
    let mut keys = Vec::new();
    for version in 2..5 {
        let svid = town.svid("payments");
        keys.push(svid.key.secret_der().to_vec());
        let state = X509State::default().with(&id("payments"), svid, vec![town.ca.root()]);
        sidecar.renewed(&state).await;
        let from = send(&town, &SnapshotDocument { version, ..policy.clone() });
        acked(&town, from, version).await;
    }
    let mut files = 0;
    for folder in [town.state("payments"), folder(&town)] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let Ok(bytes) = fs::read(&path) else { continue };
            files += 1;
            for key in &keys {
                // The private number of a PKCS #8 P-256 key (RFC 5915 §3).
                let number = &key[36..68];
                let found = bytes.windows(number.len()).any(|window| window == number);
                assert!(!found, "a private key in {}", path.display());
            }
        }
    }
    assert!(files >= 3, "{files}");
}

#[tokio::test]
async fn a_policy_that_is_too_old_stays_in_force_and_is_said_aloud() {
    // POL-03
    let mut town = Town::new().await;
    let (sidecar, first) = kept(&town).await;
    let brief = SnapshotDocument { version: 2, max_age_seconds: 3_600, ..first };
    let from = send(&town, &brief);
    acked(&town, from, 2).await;
    let metrics = sidecar.metrics().await;
    assert_eq!(metrics.sum("cellwall_policy_age_seconds", &[]), 0.0);
    assert_eq!(sidecar.ready().await, (200, "ready\n".to_owned()));
    town.leave().await;
    let mut sidecar = again(&town, sidecar).await;
    sidecar.process.message("ready", DEADLINE).await.unwrap();
    // It was issued in 1970.
    let (status, text) = sidecar.ready().await;
    assert!(
        status == 200
            && text.starts_with("ready\nwarning: the control plane has been away for ")
            && text.ends_with(" s, more than 3600 s; the policy stays in force\n"),
        "{status} {text}"
    );
    let metrics = sidecar.metrics().await;
    assert_eq!(metrics.sum("cellwall_policy_stale", &[]), 1.0);
    assert!(metrics.sum("cellwall_policy_age_seconds", &[]) > 1e9);
    assert_eq!(pays(&town, &sidecar).await, 200);
    assert_eq!(sidecar.call(&town.svid("checkout"), "DELETE /v1/payments").await.0, 403);
    town.come_back().await;
    let from = send(&town, &brief);
    acked(&town, from, 2).await;
    assert_eq!(sidecar.ready().await, (200, "ready\n".to_owned()));
    assert_eq!(sidecar.metrics().await.sum("cellwall_policy_stale", &[]), 0.0);
}

#[tokio::test]
async fn a_control_plane_that_has_just_started_does_not_take_addresses_away() {
    let mut town = Town::new().await;
    let (callee, _) = kept(&town).await;
    let (plan, policy) = checkout(&["payments"], vec![destination("payments", Protocol::Http)]);
    town.control.set_endpoints("payments", &[callee.inbound.to_string()]);
    let caller = town.sidecar(plan, policy).await;
    caller.knows("payments").await;
    town.leave().await;
    town.come_back().await;
    // It knows of nobody yet, and says so.
    town.control.set_endpoints("payments", &[]);
    let back = |event: &Event| event.id == id("checkout") && matches!(event.said, Said::Hello(_));
    town.control.event(0, DEADLINE, back).await.unwrap();
    let nowhere = SnapshotDocument { version: 9, ..checkout(&[], Vec::new()).1 };
    let there =
        SnapshotDocument { destinations: vec![destination("payments", Protocol::Http)], ..nowhere };
    let from = send(&town, &there);
    acked(&town, from, 9).await;
    assert_eq!(caller.reach("payments", PAY).await.0, 200);
}

/// A control plane that takes streams and never says a word.
async fn silent(town: &Town) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let svid = town.ca.svid("spiffe://pay.example/cellwall/control-plane");
    let party = DangerousParty::presenting(&svid).alpn(&["h2"]);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let party = party.clone();
            connections.spawn(async move {
                let Ok(stream) = party.accept(tcp).await else { return };
                let never = hyper::service::service_fn(|_| {
                    std::future::pending::<Result<http::Response<String>, hyper::Error>>()
                });
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), never).await;
            });
        }
    });
    (address, tasks)
}

#[tokio::test]
async fn a_control_plane_that_never_answers_is_asked_again() {
    let mut town = Town::new().await;
    let (address, _tasks) = silent(&town).await;
    town.away = Some(address);
    let mut sidecar = town.beside(payments().0, ([127, 0, 0, 1], 9).into()).await;
    sidecar.identity.publish(&X509State::issued(&town.ca, &id("payments")));
    let silent = |line: &serde_json::Value| {
        line["message"] == "control stream ended"
            && line["error"].as_str().is_some_and(|error| error.starts_with("no message within"))
    };
    sidecar.process.logged(2 * DEADLINE, silent).await.unwrap();
}
