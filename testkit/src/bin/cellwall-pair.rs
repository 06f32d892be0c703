//! Two sidecars in front of a server that is there already, for comparisons of proxies.
//!
//! The sidecars are real. Their identities come from a scripted Workload API, their policy and each
//! other's address from a scripted distribution server, which takes their reports of decisions and
//! forgets them: nothing else of the mesh works on the machine meanwhile.

use std::{
    io::Write as _,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use cellwall_testkit::{
    ca::pem,
    sidecar::{PairConfig, Side, SidecarPair, sign_snapshot},
    x509::{Algorithm, Key},
};
use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

/// Two sidecars, until SIGTERM. Prints one JSON line when both are ready.
#[derive(Debug, Parser)]
struct Args {
    /// What is spoken.
    #[arg(long)]
    protocol: Protocol,

    /// The callee's workload.
    #[arg(long, value_name = "IP:PORT")]
    workload: SocketAddr,

    /// How many rules its policy has. Only the last one lets the caller in.
    #[arg(long, default_value_t = 1000)]
    rules: usize,

    /// Threads of each sidecar that carry calls.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Protocol {
    Http1,
    /// gRPC.
    Http2,
    Tcp,
}

/// How long a sidecar may take to end.
const ENDS: Duration = Duration::from_secs(3);

/// The port that the policy declares.
const PORT: u16 = 8443;

/// Callers that the rules name in turn.
const CALLERS: usize = 100;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // The kit's own servers are at rest while the sidecars work.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&args))
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let config = config(args);
    let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let mut pair = SidecarPair::start(config).await?;
    pair.distribution.forget_reports();
    let line = json!({
        "ready": true,
        "pids": [[pair.client.process.id()], [pair.server.process.id()]],
        "version": concat!("cellwall ", env!("CARGO_PKG_VERSION")),
        "entry": pair.entry,
        "began_us": u64::try_from(began.as_micros())?,
    });
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("print")?;
    terminate.recv().await;
    // One that does not end in time is killed when the pair is dropped.
    drop(pair.client.process.stop(ENDS).await);
    drop(pair.server.process.stop(ENDS).await);
    Ok(())
}

fn config(args: &Args) -> PairConfig {
    let key = Key::generate(Algorithm::P256);
    let protocol = args.protocol.declared();
    let destination = json!([{"name": "callee", "id": id("callee"), "protocol": protocol}]);
    let side = |name: &str, rules: &[Value], destinations: Value| Side {
        id: id(name),
        snapshot: snapshot(&key, name, (protocol, rules), &destinations),
        workload: args.workload,
        flags: vec![format!("--threads={}", args.threads), "--drain-seconds=1".to_owned()],
    };
    PairConfig {
        trust_domain: "bench.example".to_owned(),
        policy_key_pem: pem("PUBLIC KEY", &key.public_key_info()),
        client: side("caller", &[], destination),
        server: side("callee", &rules(args), json!([])),
        destination: "callee".to_owned(),
    }
}

fn id(name: &str) -> String {
    format!("spiffe://bench.example/prod/{name}")
}

/// Rules for others and other calls, and the one that lets the caller in at the end.
fn rules(args: &Args) -> Vec<Value> {
    let rule = |number: usize, from: &str, call: Value| json!({"name": format!("rule-{number}"), "from": {"named": [from]}, "calls": [call]});
    let others = args.rules.saturating_sub(1);
    let mut rules = (0..others)
        .map(|number| {
            let from = format!("other-{}", number % CALLERS);
            rule(number, &from, args.protocol.other_call(number))
        })
        .collect::<Vec<_>>();
    rules.push(rule(others, "caller", args.protocol.call()));
    rules
}

impl Protocol {
    const fn declared(self) -> &'static str {
        match self {
            Self::Http1 => "http",
            Self::Http2 => "grpc",
            Self::Tcp => "tcp",
        }
    }

    /// What the load calls.
    fn call(self) -> Value {
        match self {
            Self::Http1 => json!({"http": {"methods": ["GET"], "path": "/v1/bench/call"}}),
            Self::Http2 => json!({"grpc": {"service": "bench.v1.Bench", "method": "Call"}}),
            Self::Tcp => json!({"tcp": {"port": PORT}}),
        }
    }

    fn other_call(self, number: usize) -> Value {
        match self {
            Self::Http1 => {
                let path = format!("/v1/others/{number}/{{id}}");
                json!({"http": {"methods": ["GET", "POST"], "path": path}})
            }
            Self::Http2 => {
                let service = format!("bench.v1.Other{number}");
                json!({"grpc": {"service": service, "method": "Call"}})
            }
            Self::Tcp => self.call(),
        }
    }
}

/// A snapshot as the control plane would sign it: a form of bytes, not a crate.
fn snapshot(
    key: &Key,
    callee: &str,
    (protocol, rules): (&str, &[Value]),
    destinations: &Value,
) -> (Vec<u8>, Vec<u8>) {
    let others = (0..CALLERS).map(|number| json!({"name": format!("other-{number}")}));
    let callers = [json!({"name": "caller"})].into_iter().chain(others).collect::<Vec<_>>();
    let document = json!({
        "schema": 2,
        "trust_domain": "bench.example",
        "callee": id(callee),
        "workload": callee,
        "epoch": 1,
        "version": 1,
        "digest": "0".repeat(64),
        "issued_at": 1,
        "max_age_seconds": 86_400,
        "mode": "enforce",
        "listens": [{"protocol": protocol, "port": PORT}],
        "identity": "spiffe://bench.example/{env}/{workload}",
        "callers": callers,
        "rules": rules,
        "guards": [],
        "destinations": destinations,
    });
    sign_snapshot(key, &document)
}
