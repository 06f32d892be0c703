//! Foreign clients and servers, each pair through both sidecars. While their stream is open both
//! sidecars get new SVIDs and a further policy, and nothing of it is felt; where it could go on for
//! ever it ends with the permission.

mod databases;
mod grpc;
mod http;
mod sockets;
mod streams;
mod websocket;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use cellwall_policy::{CallDocument, Protocol, SnapshotDocument};
use cellwall_testkit::{
    process::{Process, Spawn, Tail},
    workload_api::X509State,
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    process::Command,
};

use crate::kit::{Plan, Sidecar, Town, evidence, id, policy};

/// Within this a foreign program has done its part, on a machine that does much else.
const LONG: Duration = Duration::from_secs(120);

/// Two sidecars, and a foreign server beside the callee's.
struct Scene {
    town: Town,
    callee: Sidecar,
    caller: Sidecar,
    name: &'static str,
    policy: SnapshotDocument,
    turns: usize,
}

/// How a session ended when its permission was withdrawn.
struct Ended {
    after: Duration,
    /// What the client said.
    said: String,
}

impl Scene {
    /// Checkout's sidecar and that of `name`, which may get `calls`, in front of `server`.
    async fn beside(
        (name, protocol): (&'static str, Protocol),
        calls: &[CallDocument],
        server: SocketAddr,
    ) -> Self {
        let town = Town::new().await;
        let policy = policy(name, protocol, calls);
        let plan = Plan { name, speaks: protocol, outbound: &[] };
        let callee = town.beside(plan, server).await;
        let callee = town.made_ready(callee, name, policy.clone()).await;
        let caller = town.caller_of(name, protocol).await;
        Self { town, callee, caller, name, policy, turns: 0 }
    }

    /// Where the app reaches the server.
    fn door(&self) -> SocketAddr {
        self.caller.outbound[self.name]
    }

    /// Both sidecars get another SVID, and a further policy, in which another rule allows the same.
    async fn turn(&mut self) {
        self.turns += 1;
        for (sidecar, name) in [(&self.callee, self.name), (&self.caller, "checkout")] {
            sidecar.renewed(&X509State::issued(&self.town.ca, &id(name))).await;
        }
        for rule in &mut self.policy.rules {
            rule.name = format!("checkout-calls-{}", self.turns);
        }
        let version = self.town.publish(self.policy.clone());
        self.town.control.acknowledged(&id(self.name), version, LONG).await.unwrap();
    }

    /// Takes the permission back; when.
    fn withdraw(&self) -> Instant {
        self.town.publish(SnapshotDocument { rules: Vec::new(), ..self.policy.clone() });
        Instant::now()
    }

    /// Takes the permission back and waits for the client's end.
    async fn ended(&self, client: &mut Process) -> Ended {
        let since = self.withdraw();
        let status = client.ended(LONG).await.unwrap();
        let after = since.elapsed();
        // Its words about failures, or the last that it printed.
        let lines =
            [all(client.stderr()), all(client.stdout()).into_iter().rev().take(1).collect()];
        let lines = lines.into_iter().find(|lines| !lines.is_empty()).unwrap_or_default();
        let last: Vec<&str> = lines.iter().rev().take(4).rev().map(|line| line.trim()).collect();
        Ended { after, said: format!("{status}: {}", last.join(" | ")) }
    }

    /// Prints what this role has to show.
    fn shows(&self, between: [&str; 2], mut exchanged: Value, ended: Option<Ended>) {
        let [client, server] = between;
        exchanged["client"] = client.into();
        exchanged["server"] = server.into();
        exchanged["svid_rotations"] = (2 * self.turns).into();
        exchanged["further_policies"] = self.turns.into();
        if let Some(ended) = ended {
            exchanged["ended_after_ms"] = json!(ended.after.as_millis());
            exchanged["client_said"] = ended.said.into();
        }
        evidence(&exchanged);
    }
}

/// The path of a foreign program, from the one who runs these roles.
#[expect(clippy::disallowed_methods, reason = "the one setting of a role, read at its one place")]
fn program(name: &str) -> PathBuf {
    let all = std::env::var("CELLWALL_PEERS").unwrap();
    let of = |entry: &str| entry.strip_prefix(name)?.strip_prefix('=').map(PathBuf::from);
    all.split(',').find_map(of).unwrap_or_else(|| panic!("{name} could not be had"))
}

/// Whether the shorter form is asked for.
fn is_quick() -> bool {
    !crate::kit::is_asked_for_all()
}

/// The first line that a program prints.
async fn says(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).trim().lines().next().unwrap_or_default().to_owned()
}

/// Runs a program to its end: what it printed. It has to end well.
async fn runs(program: &Path, arguments: &[&str]) -> String {
    let child =
        Command::new(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(LONG, child).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{}: {}\n{text}", program.display(), output.status);
    text
}

/// A script of this folder.
fn script(name: &str) -> String {
    format!("{}/tests/protocols/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The next line of JSON that fits.
async fn said(process: &mut Process, fits: impl Fn(&Value) -> bool) -> Value {
    process.printed(LONG, fits).await.unwrap()
}

/// Starts a script that says where it listens, and what it is.
async fn listening(spawn: Spawn) -> (Process, SocketAddr, String) {
    let mut process = spawn.start().unwrap();
    let line = said(&mut process, |line| line["listening"].is_u64()).await;
    let port = u16::try_from(line["listening"].as_u64().unwrap()).unwrap();
    (process, local(port), line["version"].as_str().unwrap().to_owned())
}

/// A port that was free a moment ago: these programs cannot say which one they took.
async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// Waits until somebody listens there.
async fn serves(address: SocketAddr) {
    // A debug run on a busy machine: the kit's deadline is for our own programs.
    let up = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, up).await.unwrap();
}

/// All lines so far.
fn all(mut tail: Tail) -> Vec<String> {
    tail.lines().unwrap()
}

/// Waits until so many lines on its stdout fit: all of its lines.
async fn prints(process: &Process, least: usize, fits: impl Fn(&str) -> bool) -> Vec<String> {
    let count = || all(process.stdout()).iter().filter(|line| fits(line)).count();
    let enough = async {
        while count() < least {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let came = tokio::time::timeout(LONG, enough).await;
    assert!(came.is_ok(), "{:#?} {:#?}", all(process.stdout()), all(process.stderr()));
    all(process.stdout())
}

/// A certificate for 127.0.0.1 that signs itself, and its key.
async fn certificate(folder: &Path) -> [String; 2] {
    let [own, key] = ["own.pem", "key.pem"].map(|name| folder.join(name).display().to_string());
    let kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"];
    let files = ["-keyout", &key, "-out", &own];
    runs(&program("openssl"), &[&kind[..], &names, &files].concat()).await;
    [own, key]
}
