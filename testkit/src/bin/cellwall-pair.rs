//! Two sidecars in front of a server that is there already, for comparisons of proxies.
//!
//! The sidecars are real, the Workload API and the distribution server scripted: they rest meanwhile, unless
//! certificates or the policy are to change.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use cellwall_testkit::{
    ca::pem,
    sidecar::{Beside, PairConfig, Place, Side, SidecarPair, sign_snapshot},
    x509::{Algorithm, Key},
};
use clap::{Parser, ValueEnum};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use serde_json::{Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Interval, interval},
};

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

    /// Callers that the policy lists besides the one that calls; its rules name them in turn.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..100_000))]
    callers: u32,

    /// At how many addresses the callee is found, from `--callee` on; of several it listens on all.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    endpoints: u16,

    /// Where the caller's side finds the callee's.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    callee: Ipv4Addr,

    /// Where the callee's side finds the caller's: it gets policy and addresses there.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    caller: Ipv4Addr,

    /// A word of the command that becomes the callee's sidecar somewhere else. May repeat.
    #[arg(long, value_name = "WORD")]
    before_callee: Vec<String>,

    /// How often both sidecars get new certificates, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    rotate_every: Option<u64>,

    /// How often the callee gets another policy, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    change_every: Option<u64>,

    /// Starts one more caller, whom the policy denies everything: `denied` in the line.
    #[arg(long)]
    denied: bool,

    /// Starts one more caller, with the same rights as the first: `second` in the line.
    #[arg(long)]
    second: bool,

    /// Threads of each sidecar that carry calls.
    #[arg(long, default_value_t = 1)]
    threads: usize,

    /// Connections of each sidecar in each direction.
    #[arg(long, default_value_t = 8192)]
    max_connections: usize,

    /// The core, by number, on which this process goes on once the sidecars have begun; they stay
    /// where they are. What it issues and signs takes them no time then.
    #[arg(long)]
    core: Option<usize>,
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

/// Paths that rules for others are about, in turn: a sidecar takes 1,024.
const PATHS: usize = 1000;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // The kit's own servers are at rest while the sidecars work.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&args))
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut policy = Policy::new(args);
    let config = policy.pair();
    let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let mut pair = SidecarPair::start(config).await?;
    pair.distribution.forget_reports();
    let denied = beside(&pair, &policy, args.denied.then_some("denied")).await?;
    let second = beside(&pair, &policy, args.second.then_some("second")).await?;
    args.core.map(go_on).transpose().context("--core")?;
    let entry = |caller: &Option<Beside>| caller.as_ref().map(|caller| caller.entry);
    let line = json!({
        "ready": true,
        "pids": [[pair.client.process.id()], [pair.server.process.id()]],
        "version": concat!("cellwall ", env!("CARGO_PKG_VERSION")),
        "entry": pair.entry,
        "denied": entry(&denied),
        "second": entry(&second),
        "admin": [pair.client.admin, pair.server.admin],
        "began_us": u64::try_from(began.as_micros())?,
    });
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("print")?;
    let (mut rotations, mut changes) = (every(args.rotate_every), every(args.change_every));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            () = due(&mut rotations) => pair.rotate_leaves(),
            () = due(&mut changes) => pair.set_snapshot(&id("callee"), policy.next()),
        }
    }
    // One that does not end in time is killed when the pair is dropped.
    drop(pair.client.process.stop(ENDS).await);
    drop(pair.server.process.stop(ENDS).await);
    Ok(())
}

/// Of this thread alone, which is the one that works.
fn go_on(core: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

fn every(milliseconds: Option<u64>) -> Option<Interval> {
    milliseconds.map(|milliseconds| interval(Duration::from_millis(milliseconds)))
}

async fn due(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

/// One more caller, if it is wanted.
async fn beside(
    pair: &SidecarPair,
    policy: &Policy<'_>,
    name: Option<&str>,
) -> anyhow::Result<Option<Beside>> {
    let Some(name) = name else { return Ok(None) };
    Ok(Some(pair.beside(name, &policy.side(name, &[])).await?))
}

/// What is in force, and what comes after it.
struct Policy<'a> {
    args: &'a Args,
    key: Key,
    rules: Vec<Value>,
    callers: Vec<Value>,
    version: u64,
}

impl<'a> Policy<'a> {
    fn new(args: &'a Args) -> Self {
        let names = ["caller", "second"].map(str::to_owned).into_iter();
        let names = names.chain((0..args.callers).map(|number| format!("other-{number}")));
        Self {
            args,
            key: Key::generate(Algorithm::P256),
            rules: rules(args),
            callers: names.map(|name| json!({"name": name})).collect(),
            version: 1,
        }
    }

    fn pair(&self) -> PairConfig {
        let (server, client) = (self.args.callee, self.args.caller);
        let before_server = self.args.before_callee.clone();
        PairConfig {
            trust_domain: "bench.example".to_owned(),
            policy_key_pem: pem("PUBLIC KEY", &self.key.public_key_info()),
            client: self.side("caller", &[]),
            server: self.side("callee", &self.rules),
            destination: "callee".to_owned(),
            endpoints: self.args.endpoints,
            place: Place { server, client, before_server },
        }
    }

    /// A sidecar's; whoever has no rules is a caller.
    fn side(&self, name: &str, rules: &[Value]) -> Side {
        let args = self.args;
        Side {
            id: id(name),
            snapshot: self.snapshot(name, rules),
            workload: args.workload,
            flags: vec![
                format!("--threads={}", args.threads),
                format!("--max-connections={}", args.max_connections),
                "--drain-seconds=1".to_owned(),
            ],
        }
    }

    /// The callee's next version: in every other one nobody may do what the first rule is about.
    fn next(&mut self) -> (Vec<u8>, Vec<u8>) {
        self.version += 1;
        let left_out = usize::from(self.version.is_multiple_of(2) && self.rules.len() > 1);
        self.snapshot("callee", self.rules.get(left_out..).unwrap_or_default())
    }

    /// A snapshot as the control plane would sign it: a form of bytes, not a crate.
    fn snapshot(&self, name: &str, rules: &[Value]) -> (Vec<u8>, Vec<u8>) {
        let protocol = self.args.protocol.declared();
        let destination = json!([{"name": "callee", "id": id("callee"), "protocol": protocol}]);
        let is_callee = name == "callee";
        let document = json!({
            "schema": 2,
            "trust_domain": "bench.example",
            "callee": id(name),
            "workload": name,
            "epoch": 1,
            "version": self.version,
            "digest": "0".repeat(64),
            "issued_at": 1,
            "max_age_seconds": 86_400,
            "mode": "enforce",
            "listens": [{"protocol": protocol, "port": PORT}],
            "identity": "spiffe://bench.example/{env}/{workload}",
            "callers": if is_callee { self.callers.as_slice() } else { &[] },
            "rules": rules,
            "guards": [],
            "destinations": if is_callee { json!([]) } else { destination },
        });
        sign_snapshot(&self.key, &document)
    }
}

fn id(name: &str) -> String {
    format!("spiffe://bench.example/prod/{name}")
}

/// Rules for others and other calls, and the one that lets the load in at the end.
fn rules(args: &Args) -> Vec<Value> {
    let rule = |number: usize, from: &[&str], call: Value| json!({"name": format!("rule-{number}"), "from": {"named": from}, "calls": [call]});
    let callers = usize::try_from(args.callers).unwrap_or(usize::MAX);
    let others = args.rules.saturating_sub(1);
    let mut rules = (0..others)
        .map(|number| {
            let from = format!("other-{}", number % callers);
            rule(number, &[&from], args.protocol.other_call(number % PATHS))
        })
        .collect::<Vec<_>>();
    rules.push(rule(others, &["caller", "second"], args.protocol.call()));
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
