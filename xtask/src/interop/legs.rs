//! The legs: one peer each, against a mesh of its own with one callee.

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use cellwall_testkit::{
    mesh::{Mesh, MeshConfig, PROXIES, WorkloadSpec},
    workload::Protocol,
};
use serde_json::Value;

use super::ready;

/// One peer, what was tried with it and what came.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) peer: &'static str,
    pub(crate) transcript: String,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Held,
    Failed(String),
    /// It could not be had: why.
    Absent(String),
}

impl Leg {
    pub(super) fn new(peer: &'static str, tried: anyhow::Result<String>) -> Self {
        match tried {
            Ok(transcript) => Self { peer, transcript, outcome: Outcome::Held },
            Err(error) => {
                let outcome = Outcome::Failed(format!("{error:#}"));
                Self { peer, transcript: String::new(), outcome }
            }
        }
    }

    pub(super) fn absent(peer: &'static str, why: &anyhow::Error) -> Self {
        let outcome = Outcome::Absent(format!("{why:#}"));
        Self { peer, transcript: String::new(), outcome }
    }

    /// Whether it held; `None` when it did not run.
    pub(crate) fn held(&self) -> Option<bool> {
        match self.outcome {
            Outcome::Held => Some(true),
            Outcome::Failed(_) => Some(false),
            Outcome::Absent(_) => None,
        }
    }

    pub(crate) fn print(&self) {
        match &self.outcome {
            Outcome::Held => println!("{}: ok\n{}", self.peer, self.transcript),
            Outcome::Failed(why) => println!("{}: FAILED: {why}", self.peer),
            Outcome::Absent(why) => println!("{}: did not run: {why}", self.peer),
        }
    }
}

/// Where the callee is, and who we may be.
struct Scene {
    callee: SocketAddr,
    workload_api: PathBuf,
    /// `svid.pem`, `key.pem`, `bundle.pem`, once py-spiffe has fetched them.
    folder: PathBuf,
}

/// Runs every leg against a fresh mesh.
pub(crate) fn run_all(programs: &Path) -> anyhow::Result<Vec<Leg>> {
    let python = match ready::py_spiffe(programs) {
        Ok(python) => python,
        Err(why) => {
            // The programs need the SVID that it fetches.
            let peers = ["py-spiffe", "go-spiffe", "openssl", "curl"];
            return Ok(peers.map(|peer| Leg::absent(peer, &why)).into());
        }
    };
    let folder = tempfile::tempdir()?;
    let policy = folder.path().join("policy");
    fs::create_dir(&policy)?;
    let interpreter = fs::canonicalize(&python)?;
    let gopher = ready::go_spiffe(programs);
    let callers = [("interop", Some(interpreter)), ("interop-go", gopher.as_ref().ok().cloned())];
    fs::write(policy.join("cellwall.yaml"), document(&callers))?;
    let config = MeshConfig {
        trust_domain: "pay.example".to_owned(),
        policy,
        workloads: vec![WorkloadSpec::new("prod/payments", Some(Protocol::Http))],
        svid_ttl: None,
        control_flags: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mesh = runtime.block_on(Mesh::start(config))?;
    let scene = Scene {
        callee: mesh.member("prod/payments")?.sidecar.inbound,
        workload_api: mesh.control.workload_socket.clone(),
        folder: folder.path().to_owned(),
    };
    let mut legs = vec![Leg::new("py-spiffe", py_spiffe(&scene, &python))];
    legs.push(match gopher {
        Ok(program) => Leg::new("go-spiffe", go_spiffe(&scene, &program)),
        Err(why) => Leg::absent("go-spiffe", &why),
    });
    for (peer, version, leg) in [
        ("openssl", "version", openssl as fn(&Scene) -> anyhow::Result<String>),
        ("curl", "--version", curl),
    ] {
        legs.push(match ready::installed(peer, version) {
            Ok(version) => {
                Leg::new(peer, leg(&scene).map(|transcript| format!("  {version}\n{transcript}")))
            }
            Err(why) => Leg::absent(peer, &why),
        });
    }
    let witness = mesh.witness()?;
    let verdict = format!("  {} requests seen, denied by the policy: 0", witness.seen);
    legs.push(Leg::new(
        "origin witness",
        if witness.violations.is_empty() {
            Ok(verdict)
        } else {
            Err(anyhow::anyhow!("{:#?}", witness.violations))
        },
    ));
    runtime.block_on(mesh.stop())?;
    Ok(legs)
}

/// A policy with one callee, and callers that are whatever runs these programs.
fn document(callers: &[(&str, Option<PathBuf>)]) -> String {
    let there = callers.iter().filter_map(|(name, path)| Some((*name, path.as_ref()?)));
    let workloads = there.clone().map(|(name, path)| {
        let path = path.display();
        format!(
            "  {name}:\n    listens: {{http: 8444}}\n    attest: {{prod: [\"unix:path:{path}\"]}}\n"
        )
    });
    let names = there.map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    format!(
        r#"version: cellwall/v1
identity: "spiffe://pay.example/{{env}}/{{workload}}"
workloads:
  payments:
    listens: {{http: 8443}}
    attest: {{prod: ["unix:path:{PROXIES}/prod/payments/cellwall-proxy"]}}
{}segments:
  all: {{members: [payments, {names}], mode: enforce}}
rules:
  - name: interop-reads
    from: [{names}]
    to: payments
    allow:
      - http: GET /v1/payments/{{id}}
    why: independent clients
"#,
        workloads.collect::<String>()
    )
}

/// Fetches an SVID with go-spiffe and calls with it: an allowed call, a denied one, and a server
/// that is somebody else.
fn go_spiffe(scene: &Scene, program: &Path) -> anyhow::Result<String> {
    let callee = scene.callee.to_string();
    let output = Command::new(program)
        .arg("fetch")
        .arg(&scene.workload_api)
        .args([&callee, "spiffe://pay.example/prod/payments"])
        .output()?;
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    ensure!(output.status.success(), "{out}{err}");
    ensure!(out.starts_with("SVID spiffe://pay.example/prod/interop-go, "), "{out}");
    ensure!(out.contains("allowed call: HTTP/2.0 200"), "{out}");
    ensure!(out.contains("denied call: HTTP/2.0 403"), "{out}");
    Ok(out.lines().map(|line| format!("  {line}\n")).collect())
}

/// Fetches an SVID with py-spiffe; the files are for the other legs.
fn py_spiffe(scene: &Scene, python: &Path) -> anyhow::Result<String> {
    let output = Command::new(python)
        .args(["-c", include_str!("fetch.py")])
        .arg(&scene.workload_api)
        .arg(&scene.folder)
        .output()?;
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    ensure!(output.status.success(), "{err}");
    let got: Value = serde_json::from_str(&out).context("py-spiffe printed no JSON")?;
    let field = |name: &str| got.get(name).cloned().unwrap_or_default();
    ensure!(field("spiffe_id") == "spiffe://pay.example/prod/interop", "{out}");
    // WAPI-21 in spirit: what is not served says so.
    let jwt = field("jwt").to_string().to_lowercase();
    ensure!(jwt.contains("unimplemented") || jwt.contains("not served"), "{out}");
    Ok(format!("  FetchX509SVID, FetchX509Bundles: {}", out.trim()))
}

/// `openssl s_client`: with our SVID, without one, with an older TLS.
fn openssl(scene: &Scene) -> anyhow::Result<String> {
    let callee = scene.callee.to_string();
    let pem = |name: &str| scene.folder.join(name).display().to_string();
    let (svid, key, bundle) = (pem("svid.pem"), pem("key.pem"), pem("bundle.pem"));
    let common = ["s_client", "-connect", &callee, "-CAfile", &bundle, "-alpn", "http/1.1"];
    let request = "GET /v1/payments/p_1 HTTP/1.1\r\nHost: payments\r\nConnection: close\r\n\r\n";
    let with = ["-tls1_3", "-cert", &svid, "-key", &key, "-ign_eof"];
    let allowed = talk("openssl", &[&common[..], &with].concat(), request)?;
    ensure!(allowed.contains("Verify return code: 0 (ok)"), "{allowed}");
    ensure!(allowed.contains("HTTP/1.1 200"), "{allowed}");
    // TLS-04: a ticket would be announced here.
    ensure!(!allowed.contains("Post-Handshake New Session Ticket"), "{allowed}");
    let without = talk("openssl", &[&common[..], &["-tls1_3", "-ign_eof"]].concat(), request)?;
    ensure!(without.contains("certificate required"), "{without}");
    let older = talk("openssl", &[&common[..], &["-tls1_2"]].concat(), request)?;
    ensure!(older.contains("protocol version"), "{older}");
    let shown = |text: &str, part: &str| {
        let line = text.lines().find(|line| line.contains(part)).unwrap_or_default();
        format!("  {}\n", line.trim())
    };
    Ok([
        shown(&allowed, "URI:").replace("  \n", ""),
        shown(&allowed, "New, TLSv1.3"),
        shown(&allowed, "Verify return code"),
        shown(&allowed, "ALPN protocol"),
        shown(&allowed, "HTTP/1.1 200"),
        "  session tickets: 0\n".to_owned(),
        shown(&without, "certificate required"),
        shown(&older, "protocol version"),
    ]
    .concat())
}

/// `curl`: HTTP/2 and HTTP/1.1, a call that is allowed and one that is not.
fn curl(scene: &Scene) -> anyhow::Result<String> {
    let pem = |name: &str| scene.folder.join(name).display().to_string();
    let (svid, key) = (pem("svid.pem"), pem("key.pem"));
    let format = "\\nhttp/%{http_version} status %{http_code}\\n";
    let call = |flags: &[&str], path: &str| {
        let url = format!("https://{}{path}", scene.callee);
        // -k: curl compares host names, and an SVID has none. openssl above judged the chain.
        let common = ["-sk", "--cert", &svid, "--key", &key, "-w", format];
        talk("curl", &[&common[..], flags, &[&url]].concat(), "")
    };
    let second = call(&["--http2"], "/v1/payments/p_1")?;
    ensure!(second.contains("http/2 status 200"), "{second}");
    let first = call(&["--http1.1"], "/v1/payments/p_1")?;
    ensure!(first.contains("http/1.1 status 200"), "{first}");
    let denied = call(&["--http2", "-X", "DELETE"], "/v1/payments/p_1")?;
    ensure!(denied.contains("status 403") && denied.contains("d_"), "{denied}");
    let ambiguous = call(&["--path-as-is"], "/v1/../v1/payments/p_1")?;
    ensure!(ambiguous.contains("status 400"), "{ambiguous}");
    let url = format!("https://{}/v1/payments/p_1", scene.callee);
    let nobody = talk("curl", &["-skS", "-w", format, &url], "")?;
    ensure!(nobody.contains("status 000"), "{nobody}");
    let lines = [second, first, denied, ambiguous, nobody];
    Ok(lines.map(|text| format!("  {}\n", text.trim().replace('\n', "\n  "))).concat())
}

/// Runs a program with `input`, and returns all that it prints.
fn talk(program: &str, arguments: &[&str], input: &str) -> anyhow::Result<String> {
    let mut child = Command::new("timeout")
        .arg("10")
        .arg(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that has ended already reads nothing.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    Ok(text(&output.stdout) + &text(&output.stderr))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
