//! A town of real sidecars: scripted identity and control plane, workloads in this process.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use cellwall_policy::{
    CallDocument, CallerDocument, Callers, DestinationDocument, Digest, GuardDocument,
    IdentityHeader, ListensDocument, Mode, PolicySigner, Protocol, RuleDocument, SCHEMA,
    SignedSnapshot, SnapshotDocument, Tolerated,
};
use cellwall_testkit::{
    ca::{Svid, TestCa},
    client::{self, HttpConnection},
    distribution::ScriptedDistribution,
    process::{self, Process, Spawn},
    scrape::Metrics,
    sidecar::PROGRAM,
    tls::{DangerousParty, Seen},
    workload::{self, Record, Workload, WorkloadConfig},
    workload_api::{ScriptedWorkloadApi, X509State},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::witness::{Published, Witness};

pub(crate) const DEADLINE: Duration = Duration::from_secs(8);

pub(crate) fn id(workload: &str) -> String {
    format!("spiffe://pay.example/prod/{workload}")
}

/// What all sidecars of a test share.
pub(crate) struct Town {
    pub(crate) ca: TestCa,
    pub(crate) control: ScriptedDistribution,
    pub(crate) dir: TempDir,
    signer: PolicySigner,
    version: AtomicU64,
    published: Published,
    /// Where the control plane was, while it is away.
    pub(crate) away: Option<SocketAddr>,
}

/// One sidecar process with its own Workload API and its own workload.
pub(crate) struct Sidecar {
    pub(crate) process: Process,
    pub(crate) identity: ScriptedWorkloadApi,
    pub(crate) inbound: SocketAddr,
    /// Every inbound listener by its declared port.
    pub(crate) listeners: BTreeMap<String, SocketAddr>,
    pub(crate) outbound: BTreeMap<String, SocketAddr>,
    pub(crate) admin: SocketAddr,
    /// Where its workload is.
    pub(crate) workload: SocketAddr,
    /// Serves until the test ends; none when the test is the workload.
    _workload: Option<Workload>,
    witness: Witness,
}

/// How to start a sidecar.
pub(crate) struct Plan<'a> {
    pub(crate) name: &'a str,
    pub(crate) speaks: Protocol,
    pub(crate) outbound: &'a [&'a str],
}

impl Town {
    pub(crate) async fn new() -> Self {
        let ca = TestCa::new("pay.example");
        let control = ScriptedDistribution::start(&ca).await.unwrap();
        let signer = PolicySigner::from_pkcs8(&PolicySigner::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("policy-key.pem"), signer.public_key_pem().unwrap())
            .unwrap();
        let (version, published) = (AtomicU64::new(0), Published::default());
        Self { ca, control, dir, signer, version, published, away: None }
    }

    /// Starts a sidecar that has neither an SVID nor a policy yet.
    pub(crate) async fn bare(&self, plan: Plan<'_>) -> Sidecar {
        self.flagged(plan, |_| Vec::new()).await
    }

    /// The same, with flags that name its workload.
    pub(crate) async fn flagged(
        &self,
        plan: Plan<'_>,
        flags: impl FnOnce(SocketAddr) -> Vec<String>,
    ) -> Sidecar {
        let workload = Workload::start(workload_config(&plan, self.log(plan.name))).await.unwrap();
        let flags = flags(workload.address());
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let sidecar = self.told(plan, workload.address(), &flags).await;
        Sidecar { _workload: Some(workload), ..sidecar }
    }

    /// The same, beside a workload that the test plays itself.
    pub(crate) async fn beside(&self, plan: Plan<'_>, workload: SocketAddr) -> Sidecar {
        self.told(plan, workload, &[]).await
    }

    /// The same, with more flags.
    pub(crate) async fn told(
        &self,
        plan: Plan<'_>,
        workload: SocketAddr,
        flags: &[&str],
    ) -> Sidecar {
        let folder = self.folder(plan.name);
        let identity = ScriptedWorkloadApi::start(&folder).await.unwrap();
        let built = || env!("CARGO_BIN_EXE_cellwall-proxy").into();
        let program = process::binary(PROGRAM).unwrap_or_else(|_| built());
        let mut spawn = Spawn::new("proxy", &program, &folder)
            .args(["run", "--admin=127.0.0.1:0", "--drain-seconds=4"])
            .args(flags)
            .arg(format!("--control={}", self.away.unwrap_or_else(|| self.control.address())))
            .arg(format!("--workload-api={}", identity.endpoint()))
            .arg(format!("--policy-key={}", self.dir.path().join("policy-key.pem").display()));
        if !flags.iter().any(|flag| flag.starts_with("--inbound")) {
            spawn = spawn.arg(format!("--inbound=127.0.0.1:0={workload}"));
        }
        for destination in plan.outbound {
            spawn = spawn.arg(format!("--outbound=0={destination}"));
        }
        let mut process = spawn.start().unwrap();
        let line = process.message("listening", DEADLINE).await.unwrap();
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let outbound: BTreeMap<String, SocketAddr> =
            serde_json::from_str(line["outbound"].as_str().unwrap()).unwrap();
        Sidecar {
            identity,
            inbound: address(line["inbound"].as_str().unwrap()),
            listeners: serde_json::from_str(line["listeners"].as_str().unwrap()).unwrap(),
            admin: address(line["admin"].as_str().unwrap()),
            outbound,
            process,
            workload,
            _workload: None,
            witness: Witness {
                published: self.published.clone(),
                log: self.log(plan.name),
                callee: id(plan.name),
            },
        }
    }

    /// As [`Town::sidecar`], keeping its policy in [`Town::state`].
    pub(crate) async fn keeping(&self, plan: Plan<'_>, policy: SnapshotDocument) -> Sidecar {
        let name = plan.name.to_owned();
        let sidecar = self.keeping_bare(plan).await;
        self.made_ready(sidecar, &name, policy).await
    }

    /// The same, without an SVID and a policy.
    pub(crate) async fn keeping_bare(&self, plan: Plan<'_>) -> Sidecar {
        let flag = self.state_flag(plan.name);
        self.flagged(plan, |_| vec![flag]).await
    }

    /// Stops a sidecar and starts it again at its address, with `flags`. It has no SVID yet.
    pub(crate) async fn restarted(
        &self,
        mut old: Sidecar,
        plan: Plan<'_>,
        flags: &[&str],
    ) -> Sidecar {
        old.process.stop(DEADLINE).await.unwrap();
        let inbound = format!("--inbound={}={}", old.inbound, old.workload);
        let flags = [flags, &[&inbound]].concat();
        let sidecar = self.told(plan, old.workload, &flags).await;
        Sidecar { _workload: old._workload, ..sidecar }
    }

    /// The folder that a sidecar keeps its policy in.
    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.folder(name).join("state")
    }

    pub(crate) fn state_flag(&self, name: &str) -> String {
        format!("--state-dir={}", self.state(name).display())
    }

    /// The control plane goes away, and nobody answers where it was.
    pub(crate) async fn leave(&mut self) {
        let elsewhere = ScriptedDistribution::start(&self.ca).await.unwrap();
        let control = std::mem::replace(&mut self.control, elsewhere);
        self.away = Some(control.address());
        control.stop().await;
    }

    /// The control plane is back where it was, and knows nothing yet.
    pub(crate) async fn come_back(&mut self) {
        let svid = self.ca.svid("spiffe://pay.example/cellwall/control-plane");
        let address = self.away.take().unwrap();
        self.control = ScriptedDistribution::start_on(address, &svid).await.unwrap();
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.dir.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder(name).join("requests.jsonl")
    }

    /// Starts a sidecar and waits until it is ready.
    pub(crate) async fn sidecar(&self, plan: Plan<'_>, policy: SnapshotDocument) -> Sidecar {
        let name = plan.name.to_owned();
        let sidecar = self.bare(plan).await;
        self.made_ready(sidecar, &name, policy).await
    }

    /// Starts the checkout service's sidecar, and waits until it knows where `callee` is.
    pub(crate) async fn caller_of(&self, callee: &str, protocol: Protocol) -> Sidecar {
        self.flagged_caller(callee, protocol, &[]).await
    }

    /// The same, with more flags.
    pub(crate) async fn flagged_caller(
        &self,
        callee: &str,
        protocol: Protocol,
        flags: &[&str],
    ) -> Sidecar {
        self.control.follow(callee, &id(callee));
        let plan = Plan { name: "checkout", speaks: Protocol::Http, outbound: &[callee] };
        let policy = policy("checkout", Protocol::Http, &[]);
        let policy =
            SnapshotDocument { destinations: vec![destination(callee, protocol)], ..policy };
        let flags = flags.iter().map(ToString::to_string).collect();
        let caller = self.flagged(plan, |_| flags).await;
        let caller = self.made_ready(caller, "checkout", policy).await;
        caller.knows(callee).await;
        caller
    }

    /// Gives a bare sidecar its SVID and its policy.
    pub(crate) async fn made_ready(
        &self,
        mut sidecar: Sidecar,
        name: &str,
        policy: SnapshotDocument,
    ) -> Sidecar {
        self.publish(policy);
        sidecar.identity.publish(&X509State::issued(&self.ca, &id(name)));
        sidecar.process.message("ready", DEADLINE).await.unwrap();
        sidecar
    }

    /// Signs and sends a snapshot to its callee, as the next version.
    pub(crate) fn publish(&self, policy: SnapshotDocument) -> u64 {
        let version = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        let policy = SnapshotDocument { version, ..policy };
        self.published.add(&policy);
        let signed = self.sign(&policy);
        self.control.set_snapshot(&policy.callee, signed.payload, signed.signature);
        version
    }

    /// Signs with the key that the sidecars trust.
    pub(crate) fn sign(&self, policy: &SnapshotDocument) -> SignedSnapshot {
        self.signer.sign(policy).unwrap()
    }

    /// An SVID that nobody but the test holds.
    pub(crate) fn svid(&self, workload: &str) -> Svid {
        self.ca.svid(&id(workload))
    }
}

fn workload_config(plan: &Plan<'_>, log: PathBuf) -> WorkloadConfig {
    WorkloadConfig {
        name: plan.name.to_owned(),
        environment: "prod".to_owned(),
        protocol: match plan.speaks {
            Protocol::Http => workload::Protocol::Http,
            Protocol::Grpc => workload::Protocol::Grpc,
            Protocol::Tcp => workload::Protocol::Tcp,
        },
        listen: ([127, 0, 0, 1], 0).into(),
        stats: ([127, 0, 0, 1], 0).into(),
        log,
        routes: Vec::new(),
        destinations: BTreeMap::new(),
    }
}

/// A policy for `callee`, which lets `checkout` make `calls`.
pub(crate) fn policy(callee: &str, protocol: Protocol, calls: &[CallDocument]) -> SnapshotDocument {
    let rule = RuleDocument {
        name: "checkout-calls".to_owned(),
        from: Callers::Named(vec!["checkout".to_owned()]),
        calls: calls.to_vec(),
        ..RuleDocument::default()
    };
    SnapshotDocument {
        schema: SCHEMA,
        trust_domain: "pay.example".to_owned(),
        callee: id(callee),
        workload: callee.to_owned(),
        epoch: 1,
        version: 0,
        digest: Digest::of(b"first").to_string(),
        issued_at: 1,
        max_age_seconds: 86_400,
        identity_headers: IdentityHeader::USUAL.to_vec(),
        mode: Mode::Enforce,
        listens: vec![ListensDocument::of(protocol, 8443)],
        identity: "spiffe://pay.example/{env}/{workload}".to_owned(),
        callers: ["checkout", "intruder"]
            .map(|name| CallerDocument { name: name.to_owned(), id: None })
            .into(),
        foreign: Vec::new(),
        grants: Vec::new(),
        probes: Vec::new(),
        rules: if calls.is_empty() { Vec::new() } else { vec![rule] },
        guards: vec![GuardDocument {
            name: "no-intruders".to_owned(),
            from: Callers::Named(vec!["intruder".to_owned()]),
            except: Vec::new(),
            calls: Vec::new(),
            when: None,
            mode: Mode::Enforce,
        }],
        destinations: Vec::new(),
    }
}

pub(crate) fn http(method: &str, path: &str) -> CallDocument {
    CallDocument::Http { methods: vec![method.to_owned()], path: path.to_owned() }
}

pub(crate) fn destination(name: &str, protocol: Protocol) -> DestinationDocument {
    DestinationDocument {
        name: name.to_owned(),
        id: id(name),
        protocol,
        tolerates: Tolerated::Nothing,
        idempotent: Vec::new(),
    }
}

/// The payments service as most tests need it.
pub(crate) fn payments() -> (Plan<'static>, SnapshotDocument) {
    let calls = [http("POST", "/v1/payments"), http("GET", "/v1/payments/{id}")];
    let plan = Plan { name: "payments", speaks: Protocol::Http, outbound: &[] };
    (plan, policy("payments", Protocol::Http, &calls))
}

/// The checkout service, which calls `destinations`.
pub(crate) fn checkout(
    outbound: &'static [&'static str],
    destinations: Vec<DestinationDocument>,
) -> (Plan<'static>, SnapshotDocument) {
    let plan = Plan { name: "checkout", speaks: Protocol::Http, outbound };
    let policy = policy("checkout", Protocol::Http, &[]);
    (plan, SnapshotDocument { destinations, ..policy })
}

impl Sidecar {
    /// A TLS connection to its inbound listener.
    pub(crate) async fn dial(&self, svid: &Svid, alpn: &[&str]) -> TlsStream<TcpStream> {
        self.dial_at(self.inbound, svid, alpn).await
    }

    /// A TLS connection to one of its inbound listeners.
    pub(crate) async fn dial_at(
        &self,
        listener: SocketAddr,
        svid: &Svid,
        alpn: &[&str],
    ) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(listener).await.unwrap();
        tcp.set_nodelay(true).unwrap(); // a request waits for no acknowledgement of the handshake
        DangerousParty::presenting(svid).alpn(alpn).connect(tcp).await.unwrap()
    }

    /// What a client with this SVID sees of its inbound listener.
    pub(crate) async fn probed_by(&self, svid: &Svid) -> Seen {
        let tcp = TcpStream::connect(self.inbound).await.unwrap();
        let party = DangerousParty::presenting(svid).alpn(&["http/1.1"]);
        party.probe_server(tcp, b"x", DEADLINE).await
    }

    /// An HTTP/1.1 connection to its inbound listener.
    pub(crate) async fn http(&self, svid: &Svid) -> HttpConnection {
        HttpConnection::over(self.dial(svid, &["http/1.1"]).await).await.unwrap()
    }

    /// One request of `svid`'s holder: status and body.
    pub(crate) async fn call(&self, svid: &Svid, call: &str) -> (u16, String) {
        let request = client::build(call).unwrap().body(Default::default()).unwrap();
        let response = self.http(svid).await.send(request).await.unwrap();
        let body = String::from_utf8(response.body().to_vec()).unwrap();
        (response.status().as_u16(), body)
    }

    /// Waits until it knows where `destination` is.
    pub(crate) async fn knows(&self, destination: &str) {
        eventually("endpoints", async || {
            let config = self.config().await;
            config["endpoints"][destination].as_array().is_some_and(|found| !found.is_empty())
        })
        .await;
    }

    /// One request through its outbound listener for `destination`.
    pub(crate) async fn reach(&self, destination: &str, call: &str) -> (u16, String) {
        let response = client::request(self.outbound[destination], call).await.unwrap();
        let body = String::from_utf8(response.body().to_vec()).unwrap();
        (response.status().as_u16(), body)
    }

    /// What its workload saw so far.
    pub(crate) fn seen(&self) -> Vec<Record> {
        let log = std::fs::read_to_string(&self.witness.log).unwrap_or_default();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The first access-log line that fits.
    pub(crate) async fn logged(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        self.process.printed(DEADLINE, fits).await.unwrap()
    }

    /// What `/config` shows.
    pub(crate) async fn config(&self) -> Value {
        let response = client::request(self.admin, "GET /config").await.unwrap();
        serde_json::from_slice(response.body()).unwrap()
    }

    /// Publishes an SVID of its own, and waits until it is the one in use.
    pub(crate) async fn renewed(&self, state: &X509State) {
        self.identity.publish(state);
        let serial = state.serial_hex();
        eventually("the new svid", async || {
            self.config().await["svid_serial"].as_str() == serial.as_deref()
        })
        .await;
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        Metrics::scrape(self.admin).await.unwrap()
    }

    pub(crate) async fn ready(&self) -> (u16, String) {
        let response = client::request(self.admin, "GET /readyz").await.unwrap();
        let body = String::from_utf8(response.body().to_vec()).unwrap();
        (response.status().as_u16(), body)
    }
}

/// Polls until `done`, on a deadline.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, done: impl Fn() -> F) {
    let looked = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(
        tokio::time::timeout(DEADLINE, looked).await.is_ok(),
        "{what}: not within {DEADLINE:?}"
    );
}

/// How long tests that measure should look, when `cargo evidence` asks.
pub(crate) fn evidence_time() -> Option<Duration> {
    #[expect(clippy::disallowed_methods, reason = "the one setting of the tests")]
    let seconds = std::env::var("CELLWALL_EVIDENCE_SECONDS").ok();
    Some(Duration::from_secs(seconds?.parse().unwrap()))
}

/// Whether `cargo evidence` asks for all that a goal names, and not for the short form.
pub(crate) fn is_asked_for_all() -> bool {
    evidence_time().is_some_and(|time| time >= Duration::from_secs(60))
}

/// Prints figures for `cargo evidence`.
pub(crate) fn evidence(figures: &Value) {
    println!("evidence: {figures}");
}
