//! Keys stay where they are used: not in logs, files, arguments, answers or dumps (SEC-01 to SEC-04).

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Command, Stdio},
};

use cellwall_testkit::{
    ca::Svid,
    client,
    distribution::ScriptedDistribution,
    secrets::Canary,
    sidecar,
    tls::DangerousParty,
    workload_api::{ScriptedWorkloadApi, X509State},
};
use nix::{sys::signal::Signal, unistd::geteuid};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::{
    kit::{DEADLINE, Sidecar, Town, eventually, evidence, id, payments},
    spoofs::workload,
};

/// A user that owns nothing.
const NOBODY: u32 = 65_534;

fn canary(svid: &Svid) -> Canary {
    Canary::of_p256(svid.key.secret_der()).unwrap()
}

/// Makes the sidecar complain: about its keys, its peers and their requests.
async fn provoked(town: &Town, sidecar: &Sidecar) -> Vec<Canary> {
    let refused = async || {
        let labels = [("result", "refused")];
        sidecar.metrics().await.sum("cellwall_svid_rotations_total", &labels)
    };
    let [ours, other] = [(); 2].map(|()| town.svid("payments"));
    let canaries = vec![canary(&ours), canary(&other)];
    let good = X509State::default().with(&id("payments"), ours.clone(), vec![town.ca.root()]);
    let mut bent = good.to_message();
    bent.svids[0].x509_svid_key = other.key.secret_der().to_vec();
    let mut misnamed = good.to_message();
    misnamed.svids[0].spiffe_id = id("ledger");
    let mut cut = good.to_message();
    cut.svids[0].x509_svid.pop();
    let mut with_pem = good.to_message();
    with_pem.svids[0].x509_svid_key = other.pem().1.into_bytes();
    for message in [bent, misnamed, cut, with_pem] {
        let before = refused().await;
        sidecar.identity.publish_message(message);
        eventually("a refusal", async || refused().await > before).await;
        sidecar.renewed(&X509State::issued(&town.ca, &id("payments"))).await;
    }
    let stranger =
        cellwall_testkit::ca::TestCa::new("evil.example").svid("spiffe://evil.example/a");
    let hello = b"POST /v1/payments HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    for svid in [&stranger, &town.svid("intruder")] {
        let tcp = TcpStream::connect(sidecar.inbound).await.unwrap();
        DangerousParty::presenting(svid)
            .alpn(&["http/1.1"])
            .probe_server(tcp, hello, DEADLINE)
            .await;
    }
    sidecar.identity.redact();
    eventually("not ready", async || sidecar.ready().await.0 == 503).await;
    sidecar.renewed(&good).await;
    canaries
}

#[tokio::test]
async fn no_key_shows_in_logs_files_arguments_or_answers() {
    // SEC-02, SEC-03, SEC-04, with everything logged that can be
    let town = Town::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (plan, policy) = payments();
    let sidecar = town.told(plan, listener.local_addr().unwrap(), &["--log=trace"]).await;
    let mut sidecar = town.made_ready(sidecar, "payments", policy).await;
    let workload = workload(listener).await;
    let first = town.svid("payments");
    let state = X509State::default().with(&id("payments"), first.clone(), vec![town.ca.root()]);
    sidecar.renewed(&state).await;
    let mut canaries = vec![canary(&first)];
    canaries.extend(provoked(&town, &sidecar).await);
    assert_eq!(sidecar.call(&town.svid("checkout"), "POST /v1/payments").await.0, 200);

    let mut found = Vec::new();
    let mut answers = Vec::new();
    for path in ["/config", "/metrics", "/readyz", "/nothing"] {
        let answer = client::request(sidecar.admin, &format!("GET {path}")).await.unwrap();
        answers.extend_from_slice(answer.body());
    }
    for canary in &canaries {
        found.extend(canary.found_in(&answers).map(|form| format!("an answer: {form}")));
        let process = canary.found_in_process(sidecar.process.id()).unwrap();
        found.extend(process.into_iter().map(|hit| format!("{hit:?}")));
    }
    assert!(sidecar.process.stop(DEADLINE).await.unwrap().success());
    let mut bytes = answers.len() as u64;
    for entry in fs::read_dir(town.dir.path().join("payments")).unwrap() {
        bytes += entry.unwrap().metadata().unwrap().len();
    }
    for canary in &canaries {
        let below = canary.found_below(town.dir.path()).unwrap();
        found.extend(below.into_iter().map(|hit| format!("{hit:?}")));
    }
    drop(workload);
    assert_eq!(found, Vec::<String>::new());
    evidence(&json!({
        "keys": canaries.len(), "bytes_searched": bytes, "found": found.len(),
    }));
}

/// Whether another process of `NOBODY` can read this.
fn others_read(path: &str) -> bool {
    let mut dd = Command::new("dd");
    dd.arg(format!("if={path}")).args(["bs=1", "count=1", "of=/dev/null"]);
    let status = dd.uid(NOBODY).gid(NOBODY).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.unwrap().success()
}

#[tokio::test]
async fn the_sidecar_leaves_no_core_and_hides_its_memory() {
    // SEC-01
    let town = Town::new().await;
    let root = geteuid().is_root();
    // Two processes of one user are apart only where the Workload API is another user's.
    let open = fs::Permissions::from_mode(0o755);
    let dir = tempfile::Builder::new().permissions(open).tempdir().unwrap();
    let api = ScriptedWorkloadApi::start(dir.path()).await.unwrap();
    fs::set_permissions(api.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    let key = dir.path().join("policy-key.pem");
    fs::copy(town.dir.path().join("policy-key.pem"), &key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let control = ScriptedDistribution::start(&town.ca).await.unwrap();
    let config = sidecar::SidecarConfig {
        name: "proxy".to_owned(),
        folder: dir.path().to_owned(),
        inbound: [127, 0, 0, 1].into(),
        workload: ([127, 0, 0, 1], 9).into(),
        outbound: Vec::new(),
        control: control.address(),
        policy_key: key,
        workload_api: api.endpoint(),
        state: None,
        program: Some(env!("CARGO_BIN_EXE_cellwall-proxy").into()),
        flags: Vec::new(),
        before: Vec::new(),
        user: root.then_some(NOBODY),
    };
    let mut sidecar = sidecar::Sidecar::start(&config).await.unwrap();
    let svid = town.svid("payments");
    api.publish(&X509State::default().with(&id("payments"), svid.clone(), vec![town.ca.root()]));
    sidecar.process.message("svid updated", DEADLINE).await.unwrap();
    let process = format!("/proc/{}", sidecar.process.id());
    let limits = fs::read_to_string(format!("{process}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"]);
    let mut hidden = Vec::new();
    if root {
        let mut plain = Command::new("sleep").arg("60").uid(NOBODY).gid(NOBODY).spawn().unwrap();
        for file in ["environ", "maps", "auxv"] {
            // The control: of an ordinary process of this user it can be read.
            assert!(others_read(&format!("/proc/{}/{file}", plain.id())), "{file}");
            assert_eq!(fs::metadata(format!("{process}/{file}")).unwrap().uid(), 0);
            assert!(!others_read(&format!("{process}/{file}")), "{file}");
            hidden.push(file);
        }
        plain.kill().unwrap();
        plain.wait().unwrap();
        assert!(!others_read(&format!("{process}/mem")));
        hidden.push("mem");
    }
    // A core is asked for by force.
    sidecar.process.signal(Signal::SIGABRT).unwrap();
    let status = sidecar.process.ended(DEADLINE).await.unwrap();
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));
    let found = canary(&svid).found_below(dir.path()).unwrap();
    assert_eq!(found, []);
    evidence(&json!({
        "core_limit": 0, "core_dumped": status.core_dumped(), "hidden_from_the_same_user": hidden,
        "keys_found_in_files": found.len(),
    }));
}
