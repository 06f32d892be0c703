//! The hostile corpus against independent peers: what they accept, beside what we do.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, ensure};
use cellwall_testkit::{
    ca::{Svid, TestCa, pem},
    client,
    hostile::{Case, Corpus, Directions, corpus},
    tls::{After, DangerousParty},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{
    envoy,
    legs::Leg,
    peers::{self, Dials, Peer},
};
use crate::evidence;

/// The ID that the corpus bends.
const BENT: &str = "spiffe://pay.example/prod/checkout";

/// Who the peers are.
const PEERS: &str = "spiffe://pay.example/prod/payments";

/// How long one handshake with its answer may take.
const DEADLINE: Duration = Duration::from_secs(5);

const HELLO: &[u8] = b"GET / HTTP/1.1\r\nhost: peer\r\nconnection: close\r\n\r\n";
const WELCOME: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What a peer is started with.
pub(super) struct Scene {
    pub(super) corpus: Corpus,
    pub(super) svid: Svid,
    /// Where the cases are served that the peer has to call.
    pub(super) hostile: SocketAddr,
    /// Whom it has to meet there.
    pub(super) expected: &'static str,
    pub(super) folder: tempfile::TempDir,
}

/// What a peer let in.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    /// How many cases there are.
    pub(crate) cases: usize,
    /// Cases presented, in both directions.
    pub(crate) handshakes: usize,
    /// Names of the cases that it accepted from a client, and from a server.
    pub(crate) from_clients: Vec<&'static str>,
    pub(crate) from_servers: Vec<&'static str>,
    /// Right certificates, and those of them that it refused.
    pub(crate) controls: usize,
    pub(crate) controls_refused: Vec<&'static str>,
}

/// The corpus against one peer: how the run went, and what the peer let in, if it could be had.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) leg: Leg,
    pub(crate) verdicts: Option<Verdicts>,
}

/// Runs the corpus against our sidecar, and against each peer that can be had.
pub(crate) fn run_all(programs: &Path) -> anyhow::Result<Vec<Judged>> {
    Ok(vec![
        ours(programs),
        judged("corpus: go-spiffe", |scene| peers::go_spiffe(programs, scene))?,
        judged("corpus: envoy", |scene| envoy::start(programs, scene))?,
        judged("corpus: openssl", peers::openssl)?,
    ])
}

/// By its own test, which looks at the reasons too and fails on one that is let in.
fn ours(programs: &Path) -> Judged {
    let test = "corpus::no_hostile_certificate_reaches_a_workload_or_gets_a_call";
    let figures = evidence::figures("cellwall-proxy", test, programs).and_then(|figures| {
        let number = |name: &str| figures.get(name).and_then(serde_json::Value::as_u64);
        ensure!(number("accepted") == Some(0), "{figures:?}");
        let numbers = number("cases").zip(number("handshakes")).context("no figures")?;
        let (cases, handshakes) = (usize::try_from(numbers.0)?, usize::try_from(numbers.1)?);
        Ok(Verdicts { cases, handshakes, ..Verdicts::default() })
    });
    Judged::new("corpus: cellwall-proxy", concat!("cellwall ", env!("CARGO_PKG_VERSION")), figures)
}

fn judged(
    name: &'static str,
    start: impl FnOnce(&Scene) -> anyhow::Result<Peer>,
) -> anyhow::Result<Judged> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let scene = scene(listener.local_addr()?)?;
    let peer = match start(&scene) {
        Ok(peer) => peer,
        Err(why) => return Ok(Judged { leg: Leg::absent(name, &why), verdicts: None }),
    };
    let verdicts = runtime.block_on(judge(&peer, &scene.corpus, &listener));
    Ok(Judged::new(name, &peer.version, verdicts))
}

impl Judged {
    fn new(name: &'static str, version: &str, verdicts: anyhow::Result<Verdicts>) -> Self {
        match verdicts {
            Ok(verdicts) => {
                let leg = Leg::new(name, Ok(verdicts.transcript(version)));
                Self { leg, verdicts: Some(verdicts) }
            }
            Err(error) => Self { leg: Leg::new(name, Err(error)), verdicts: None },
        }
    }
}

/// One line a peer: what it let in.
pub(crate) fn table(judged: &[Judged]) -> String {
    let mut lines = vec![format!(
        "{:<24}{:>7}{:>12}{:>15}{:>15}",
        "hostile certificates", "cases", "handshakes", "clients let in", "servers taken"
    )];
    lines.extend(judged.iter().map(|Judged { leg, verdicts }| match verdicts {
        Some(Verdicts { cases, handshakes, from_clients, from_servers, .. }) => {
            let (clients, servers) = (from_clients.len(), from_servers.len());
            format!("{:<24}{cases:>7}{handshakes:>12}{clients:>15}{servers:>15}", leg.peer)
        }
        None => format!("{:<24} did not run", leg.peer),
    }));
    lines.join("\n")
}

fn scene(hostile: SocketAddr) -> anyhow::Result<Scene> {
    let ca = TestCa::new("pay.example");
    let corpus = corpus(&ca, SystemTime::now());
    let folder = tempfile::tempdir()?;
    Ok(Scene { corpus, svid: ca.svid(PEERS), hostile, expected: BENT, folder })
}

impl Scene {
    /// The roots of each trust domain, as PEM.
    pub(super) fn bundles(&self) -> BTreeMap<&str, String> {
        let all = self.corpus.bundles.iter();
        all.map(|(name, roots)| {
            let text = roots.iter().map(|root| pem("CERTIFICATE", root)).collect();
            (name.as_str(), text)
        })
        .collect()
    }
}

async fn judge(peer: &Peer, corpus: &Corpus, listener: &TcpListener) -> anyhow::Result<Verdicts> {
    let mut verdicts = Verdicts { cases: corpus.cases.len(), ..Verdicts::default() };
    // They call the peer: what is right for a server alone is left out.
    let callers = |control: &&Case| control.directions != Directions::ServerOnly;
    for control in corpus.controls.iter().filter(callers) {
        verdicts.controls += 1;
        if !from_client(peer, control).await? {
            verdicts.controls_refused.push(control.name);
        }
    }
    ensure!(
        verdicts.controls_refused.len() < verdicts.controls,
        "it refuses every right certificate too: {:?}",
        verdicts.controls_refused
    );
    for case in &corpus.cases {
        if case.directions != Directions::ServerOnly {
            verdicts.handshakes += 1;
            if from_client(peer, case).await? {
                verdicts.from_clients.push(case.name);
            }
        }
        // A server without a certificate cannot shake hands at all.
        if case.directions != Directions::ClientOnly && !case.chain.is_empty() {
            verdicts.handshakes += 1;
            if Box::pin(from_server(peer, case, listener)).await? {
                verdicts.from_servers.push(case.name);
            }
        }
    }
    Ok(verdicts)
}

fn party(case: &Case) -> DangerousParty {
    let party = if case.chain.is_empty() {
        DangerousParty::anonymous()
    } else {
        DangerousParty::presenting_chain(case.chain.clone(), &case.key)
    };
    party.alpn(&["http/1.1"])
}

/// Whether the peer answers a client with this certificate.
async fn from_client(peer: &Peer, case: &Case) -> anyhow::Result<bool> {
    let tcp = TcpStream::connect(peer.accepts).await.context("the peer has gone")?;
    let seen = party(case).probe_server(tcp, HELLO, DEADLINE).await;
    Ok(matches!(seen.after, After::Data(_)))
}

/// Whether the peer makes its call to a server with this certificate.
async fn from_server(peer: &Peer, case: &Case, listener: &TcpListener) -> anyhow::Result<bool> {
    let party = party(case);
    let serve = async {
        let (tcp, _) = listener.accept().await?;
        let mut stream = party.accept(tcp).await?;
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            match stream.read_buf(&mut read).await {
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => {}
            }
        }
        stream.write_all(WELCOME).await?;
        stream.shutdown().await
    };
    let called = async {
        match &peer.dials {
            Dials::When(address) => {
                let answer = client::request(*address, "GET /").await?;
                anyhow::Ok(answer.status() == 200)
            }
            Dials::By(command) => run(command).await,
        }
    };
    let verdict = async {
        let mut called = std::pin::pin!(called);
        tokio::select! {
            answer = called.as_mut() => answer,
            // How it ends is the peer's affair: it says itself what came of its call.
            _ = serve => called.await,
        }
    };
    let verdict = tokio::time::timeout(2 * DEADLINE, verdict).await.context("no verdict")?;
    verdict.with_context(|| case.name.to_owned())
}

/// Runs a client to its end; whether it got the answer.
async fn run(arguments: &[String]) -> anyhow::Result<bool> {
    let (program, arguments) = arguments.split_first().context("no command")?;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that has refused already reads nothing.
        let _ = stdin.write_all(HELLO).await;
        let output = child.wait_with_output().await?;
        drop(stdin);
        return Ok(output.stdout.windows(12).any(|part| part == b"HTTP/1.1 200"));
    }
    Ok(false)
}

impl Verdicts {
    fn transcript(&self, version: &str) -> String {
        let list = |names: &[&str]| match names {
            [] => "0".to_owned(),
            names => format!("{}: {}", names.len(), names.join(" ")),
        };
        let (clients, servers) = (list(&self.from_clients), list(&self.from_servers));
        let mut text = format!(
            "  {version}\n  {} cases, {} handshakes\n  accepted from clients {clients}\n  \
             accepted from servers {servers}\n",
            self.cases, self.handshakes,
        );
        if self.controls > 0 {
            let refused = list(&self.controls_refused);
            text += &format!("  right certificates {}, refused {refused}\n", self.controls);
        }
        text
    }
}
