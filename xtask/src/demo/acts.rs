//! The acts: each does one thing to the running mesh and checks what came of it.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use cellwall_testkit::{client, tls::DangerousParty};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    announce,
    town::{Town, text},
    traffic::Traffic,
};
use crate::cargo;

/// How long the first act looks at the traffic.
const LOOK: Duration = Duration::from_secs(5);

/// How long anything may take that should happen at once.
const SOON: Duration = Duration::from_secs(10);

/// Half of the SVIDs' life, its jitter and a margin.
const ROTATION: Duration = Duration::from_secs(20);

/// The file of the policy that the live edit changes.
const EDITED: &str = "segments/payments.yaml";

/// What an act showed.
#[derive(Debug)]
pub(crate) struct Act {
    /// What was done.
    pub(crate) title: &'static str,
    /// What came of it, in figures.
    pub(crate) figures: Vec<String>,
    pub(crate) held: bool,
}

impl Act {
    /// Shows the act at once.
    fn shown(title: &'static str, held: bool, figures: Vec<String>) -> Self {
        let act = Self { title, figures, held };
        announce(&act);
        act
    }
}

/// Payments from the customers' edge through six services, each call over two sidecars.
pub(crate) async fn payments_flow(town: &mut Town) -> anyhow::Result<Act> {
    let checkout = port(town, "prod/gateway", "checkout")?;
    let mut traffic = Traffic::start(&town.programs, checkout, town.mesh.folder())?;
    let figures = traffic.after(LOOK).await?;
    town.traffic = Some(traffic);
    let line = format!(
        "{} payments at {:.0}/s through 7 services, p99 {:.1} ms, errors {}",
        figures.ok, figures.rate, figures.p99_ms, figures.errors
    );
    let held = figures.ok > 50 && figures.errors == 0;
    Ok(Act::shown("ACT 1  payments flow", held, vec![line]))
}

/// The notifier asks the vault for a token: a valid identity, and no rule for it.
pub(crate) async fn an_intruder(town: &Town) -> anyhow::Result<Act> {
    let mut seen = town.mesh.requests_from_now("prod/card-vault")?;
    let vault = port(town, "prod/notifier", "card-vault")?;
    let answer = client::request(vault, "POST /v1/tokens").await?;
    let problem: Value = serde_json::from_slice(answer.body())?;
    let decision = text(&problem, "decision").to_owned();
    let log = &town.mesh.member("prod/card-vault")?.sidecar.process;
    let line = within(SOON, async || {
        let lines = log.stdout().json()?;
        Ok(lines.into_iter().find(|line| text(line, "cellwall.decision") == decision))
    })
    .await?;
    let by = text(&line, "cellwall.by");
    let notifiers = seen.json()?.iter().filter(|line| from_notifier(line)).count();
    let told = String::from_utf8_lossy(answer.body()).contains(by);
    let held = answer.status() == 403 && by == "guard/vault-callers" && notifiers == 0 && !told;
    let lines = vec![
        format!("the caller is told: {} {decision}", answer.status().as_u16()),
        format!(
            "the vault's sidecar logs: denied by {by}; the vault saw {notifiers} requests of it"
        ),
    ];
    Ok(Act::shown("ACT 2  an intruder: the notifier asks the vault for a token", held, lines))
}

fn from_notifier(line: &Value) -> bool {
    line.get("caller").is_some_and(|caller| caller.to_string().contains("/notifier"))
}

/// Straight to the vault's port: without a certificate, and without TLS.
pub(crate) async fn no_identity(town: &Town) -> anyhow::Result<Act> {
    let inbound = town.mesh.member("prod/card-vault")?.sidecar.inbound;
    let nobody = DangerousParty::anonymous().alpn(&["http/1.1"]);
    let hello = b"POST /v1/tokens HTTP/1.1\r\nhost: card-vault\r\n\r\n";
    let seen = nobody.probe_server(TcpStream::connect(inbound).await?, hello, SOON).await;
    let alert = seen.alert.map_or_else(|| "none".to_owned(), |alert| format!("{alert:?}"));
    let plain = client::request(inbound, "POST /v1/tokens").await;
    let plain_text = if plain.is_err() { "closed without an answer" } else { "answered" };
    let line = format!("TLS without a certificate: alert {alert}; plain text: {plain_text}");
    let held = alert == "CertificateRequired" && plain.is_err();
    Ok(Act::shown("ACT 3  no identity: straight to the vault's port", held, vec![line]))
}

/// Every SVID is replaced while payments flow.
pub(crate) async fn hot_rotation(town: &mut Town) -> anyhow::Result<Act> {
    let before = serials(town).await?;
    let closed_before = closed(town).await?;
    let started = Instant::now();
    within(ROTATION, async || {
        let now = serials(town).await?;
        let replaced = before.iter().all(|(id, old)| now.get(id).is_some_and(|new| new != old));
        Ok(replaced.then_some(()))
    })
    .await?;
    let took = started.elapsed();
    let closed = closed(town).await? - closed_before;
    let traffic = town.traffic.as_mut().context("the traffic of act 1 is gone")?;
    let figures = traffic.after(Duration::from_secs(1)).await?;
    let line = format!(
        "{} SVIDs replaced in {:.0} s; {} payments meanwhile, errors {}, closed connections {}",
        before.len(),
        took.as_secs_f64(),
        figures.ok,
        figures.errors,
        closed + figures.closed
    );
    let held = before.len() == 8 && figures.errors == 0 && closed + figures.closed == 0;
    Ok(Act::shown("ACT 4  hot rotation: every SVID is replaced under load", held, vec![line]))
}

/// A rule is removed while two database connections are open: one of them was its.
pub(crate) async fn a_live_edit(town: &mut Town) -> anyhow::Result<Act> {
    let mut ledgers = session(town, "prod/ledger").await?;
    let mut frauds = session(town, "prod/fraud").await?;
    let edited = edited_policy()?;
    let sent = Instant::now();
    let cut = async {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(SOON, frauds.read_to_end(&mut rest)).await;
        end.map(|_| sent.elapsed()).context("the connection that the edit forbids is still open")
    };
    let (applied, cut) = tokio::join!(town.mesh.apply(edited.path()), cut);
    applied?;
    let cut = cut?;
    let is_left = asks(&mut ledgers).await.is_ok();
    let log = &town.mesh.member("prod/ledger-db")?.sidecar.process;
    let line = within(SOON, async || {
        let lines = log.stdout().json()?;
        Ok(lines.into_iter().find(|line| text(line, "cellwall.reason") == "policy_revoked"))
    })
    .await?;
    let caller = text(&line, "cellwall.caller.workload").to_owned();
    let traffic = town.traffic.as_mut().context("the traffic of act 1 is gone")?;
    let figures = traffic.after(Duration::from_secs(1)).await?;
    let lines = vec![
        format!("rule `fraud-reads` removed; {caller}'s connection to ledger-db was cut"),
        format!(
            "{:.0} ms after the edit was sent; the ledger's is open: {is_left}; \
             {} payments meanwhile, errors {}",
            cut.as_secs_f64() * 1000.0,
            figures.ok,
            figures.errors
        ),
    ];
    let held = is_left && caller == "fraud" && figures.errors == 0;
    Ok(Act::shown("ACT 5  a live policy edit cuts one open connection", held, lines))
}

/// The control plane is killed while payments flow, and comes back.
pub(crate) async fn without_control(town: &mut Town) -> anyhow::Result<Act> {
    town.mesh.control.process.signal(Signal::SIGKILL)?;
    town.mesh.control.process.ended(SOON).await?;
    let traffic = town.traffic.as_mut().context("the traffic of act 1 is gone")?;
    traffic.after(Duration::ZERO).await?;
    let alone = traffic.after(LOOK).await?;
    let returned = Instant::now();
    town.mesh.control.restart().await?;
    town.mesh.synced().await?;
    let back = returned.elapsed();
    let traffic = town.traffic.as_mut().context("the traffic of act 1 is gone")?;
    let after = traffic.after(Duration::from_secs(1)).await?;
    let line = format!(
        "{} payments in {} s without it, errors {}; back with all sidecars after {:.1} s, errors {}",
        alone.ok,
        LOOK.as_secs(),
        alone.errors,
        back.as_secs_f64(),
        after.errors
    );
    let held = alone.ok > 50 && after.errors == 0;
    Ok(Act::shown("ACT 6  the control plane is killed, and started again", held, vec![line]))
}

/// The origin witness: what workloads saw, judged by the policy's text alone.
pub(crate) async fn the_witness(town: &Town) -> anyhow::Result<Act> {
    let report = town.mesh.witness()?;
    let count = report.violations.len();
    let line = format!("{} requests seen by workloads, denied by the policy: {count}", report.seen);
    let violations = report.violations.iter().take(3).map(|one| format!("{one:?}"));
    let lines = std::iter::once(line).chain(violations).collect();
    let held = report.seen > 100 && report.violations.is_empty();
    Ok(Act::shown("ACT 7  the origin witness: policy text against what arrived", held, lines))
}

fn port(town: &Town, member: &str, destination: &str) -> anyhow::Result<std::net::SocketAddr> {
    let ports = &town.mesh.member(member)?.sidecar.outbound;
    ports
        .get(destination)
        .copied()
        .with_context(|| format!("{member} has no port for {destination}"))
}

/// The serial number of each identity's newest SVID.
async fn serials(town: &Town) -> anyhow::Result<BTreeMap<String, String>> {
    let document = town.mesh.control.get("/v1/identities").await?;
    let identities = document.get("identities").and_then(Value::as_array).context("identities")?;
    let held = identities.iter().filter(|one| one.get("instances") != Some(&Value::from(0)));
    Ok(held
        .map(|one| (text(one, "spiffe_id").to_owned(), text(one, "serial").to_owned()))
        .collect())
}

/// Connections between services that ended although neither side wanted it.
async fn closed(town: &Town) -> anyhow::Result<u64> {
    let mut closed = 0;
    for member in town.mesh.members().values().filter(|member| member.workload.is_some()) {
        closed += member.stats().await?.closed_unexpectedly();
    }
    Ok(closed)
}

/// Polls until there is something, on a deadline.
async fn within<T>(
    deadline: Duration,
    look: impl AsyncFn() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("not within {deadline:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A connection from a workload to the database, in use.
async fn session(town: &Town, member: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(port(town, member, "ledger-db")?).await?;
    stream.write_all(format!("HELLO {member}\n").as_bytes()).await?;
    asks(&mut stream).await?;
    Ok(stream)
}

/// One question to the database, and its answer.
async fn asks(stream: &mut TcpStream) -> anyhow::Result<()> {
    stream.write_all(b"POST p_demo 1\n").await?;
    let mut answer = [0; 64];
    let read = tokio::time::timeout(SOON, stream.read(&mut answer)).await??;
    ensure!(read > 0, "the connection is closed");
    Ok(())
}

/// The demo's policy without one rule, and with the test that says so.
fn edited_policy() -> anyhow::Result<TempDir> {
    let (edited, from) = (tempfile::tempdir()?, cargo::root()?.join("deploy/demo/policy"));
    fs::create_dir(edited.path().join("segments"))?;
    let edits = [
        (
            "  - name: fraud-reads\n    from: fraud\n    to: ledger-db\n    allow:\n      - tcp: 5432\n    \
             why: velocity checks read the books\n",
            "",
        ),
        (
            "- expect: allow\n    call: prod/fraud -> prod/ledger-db tcp:5432\n    by: fraud-reads",
            "- expect: deny\n    call: prod/fraud -> prod/ledger-db tcp:5432\n    by: default",
        ),
    ];
    let mut text = fs::read_to_string(from.join(EDITED))?;
    for (before, after) in edits {
        ensure!(text.contains(before), "{EDITED} does not have what the act edits");
        text = text.replacen(before, after, 1);
    }
    fs::write(edited.path().join(EDITED), text)?;
    fs::copy(from.join("cellwall.yaml"), edited.path().join("cellwall.yaml"))?;
    Ok(edited)
}
