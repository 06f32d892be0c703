//! Connections that outlive the certificates they began with, and nobody's lie about one (ROT-05).

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::hmac;
use cellwall_policy::{CallDocument, Protocol, SnapshotDocument};
use cellwall_testkit::{
    ca::{Svid, TestCa},
    client,
    tls::DangerousParty,
    workload_api::X509State,
    x509::Validity,
};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{client::TlsStream, server};

use crate::{
    kit::{
        DEADLINE, Plan, Sidecar, Town, checkout, destination, eventually, evidence, evidence_time,
        id, payments, policy,
    },
    played::echo,
};

const TCP: &str = "cellwall-tcp/1";
const REPROOF: &str = "cellwall-reproof/1";

/// What the two ends of a session know of it: written from the decision record, not from the code.
struct Known {
    name: Vec<u8>,
    key: Vec<u8>,
    channel: Vec<u8>,
}

impl Known {
    fn export(export: impl Fn(&mut [u8], &[u8])) -> Self {
        let take = |length: usize, label: &[u8]| {
            let mut value = vec![0; length];
            export(&mut value, label);
            value
        };
        Self {
            name: take(16, b"EXPERIMENTAL-cellwall-connection-name"),
            key: take(32, b"EXPERIMENTAL-cellwall-connection-key"),
            channel: take(32, b"EXPORTER-Channel-Binding"),
        }
    }

    fn of(stream: &TlsStream<TcpStream>) -> Self {
        Self::export(|value, label| {
            stream.get_ref().1.export_keying_material(value, label, None).unwrap();
        })
    }

    fn of_server(stream: &server::TlsStream<TcpStream>) -> Self {
        Self::export(|value, label| {
            stream.get_ref().1.export_keying_material(value, label, None).unwrap();
        })
    }

    fn proof(&self, side: u8, fresh: &Self) -> Vec<u8> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key);
        hmac::sign(&key, &[&[side][..], &fresh.channel].concat()).as_ref().to_vec()
    }

    fn claim(&self, fresh: &Self) -> Vec<u8> {
        [self.name.clone(), self.proof(b'c', fresh)].concat()
    }
}

fn ends_in(time: Duration) -> Validity {
    Validity::around_now(Duration::from_secs(60), time)
}

async fn ledger_db(town: &Town) -> (Sidecar, SnapshotDocument) {
    let plan = Plan { name: "ledger-db", speaks: Protocol::Tcp, outbound: &[] };
    let policy = policy("ledger-db", Protocol::Tcp, &[CallDocument::Tcp { port: 8443 }]);
    (town.sidecar(plan, policy.clone()).await, policy)
}

/// A TCP connection of `svid`'s holder, in use.
async fn open(sidecar: &Sidecar, svid: &Svid) -> TlsStream<TcpStream> {
    let mut stream = sidecar.dial(svid, &[TCP]).await;
    stream.write_all(b"HELLO prod/checkout\n").await.unwrap();
    assert!(is_alive(&mut stream).await);
    stream
}

async fn is_alive(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> bool {
    let mut answer = [0; 64];
    if stream.write_all(b"POST p_1 1\n").await.is_err() {
        return false;
    }
    let read = tokio::time::timeout(DEADLINE, stream.read(&mut answer)).await;
    matches!(read, Ok(Ok(1..)))
}

async fn closed(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "not closed in time"); // with or without close_notify
}

/// Opens a session for a re-proof, sends what `claim` makes of it, and returns the answer.
async fn ask(
    sidecar: &Sidecar,
    svid: &Svid,
    claim: impl FnOnce(&Known) -> Vec<u8>,
) -> (Known, Vec<u8>) {
    let mut fresh = sidecar.dial(svid, &[REPROOF]).await;
    let known = Known::of(&fresh);
    let mut answer = Vec::new();
    if fresh.write_all(&claim(&known)).await.is_ok() {
        let _ = fresh.shutdown().await;
        let read = fresh.read_to_end(&mut answer);
        let _ = tokio::time::timeout(DEADLINE, read).await.unwrap(); // refused: closed at once
    }
    (known, answer)
}

async fn outcomes(sidecar: &Sidecar, result: &str) -> f64 {
    let labels = [("direction", "inbound"), ("result", result)];
    sidecar.metrics().await.sum("cellwall_reproofs_total", &labels)
}

#[tokio::test]
async fn a_proof_on_a_newer_certificate_carries_a_connection_over_its_end() {
    let town = Town::new().await;
    let (mut sidecar, _) = ledger_db(&town).await;
    let old = town.ca.svid_valid(&id("checkout"), ends_in(Duration::from_secs(3)));
    let mut stream = open(&sidecar, &old).await;
    let connection = Known::of(&stream);
    let next = town.ca.svid_valid(&id("checkout"), ends_in(Duration::from_secs(6)));
    let (fresh, answer) = ask(&sidecar, &next, |fresh| connection.claim(fresh)).await;
    assert_eq!(answer, connection.proof(b's', &fresh));
    tokio::time::sleep_until(at(&old)).await;
    assert!(is_alive(&mut stream).await, "past the end of the first certificate");
    closed(&mut stream).await;
    assert!(SystemTime::now() > next.validity.not_after);
    let line = sidecar.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.reason"], "svid_expired");
}

#[tokio::test]
async fn the_newest_proof_counts_also_when_it_ends_sooner() {
    let town = Town::new().await;
    let (sidecar, _) = ledger_db(&town).await;
    let mut stream = open(&sidecar, &town.svid("checkout")).await;
    let connection = Known::of(&stream);
    let next = town.ca.svid_valid(&id("checkout"), ends_in(Duration::from_secs(2)));
    let (fresh, answer) = ask(&sidecar, &next, |fresh| connection.claim(fresh)).await;
    assert_eq!(answer, connection.proof(b's', &fresh));
    closed(&mut stream).await;
    assert!(SystemTime::now() > next.validity.not_after);
}

/// Shortly after the end of `svid`.
fn at(svid: &Svid) -> tokio::time::Instant {
    let left = svid.validity.not_after.duration_since(SystemTime::now());
    tokio::time::Instant::now() + left.unwrap_or_default() + Duration::from_millis(1_500)
}

type Claim<'a> = Box<dyn Fn(&Known) -> Vec<u8> + 'a>;

/// Its name, how it is refused, who sends it, and what.
type Cheat<'a> = (&'static str, &'static str, Svid, Claim<'a>);

/// What somebody could send for `connection` who holds an SVID.
fn cheats<'a>(
    town: &Town,
    (connection, other): (&'a Known, &'a Known),
    stale: &'a Known,
) -> Vec<Cheat<'a>> {
    let named = |proof: Vec<u8>| [connection.name.clone(), proof].concat();
    let [ours, intruder, itself] = ["checkout", "intruder", "ledger-db"].map(|one| town.svid(one));
    let right = || Box::new(|fresh: &Known| connection.claim(fresh)) as Claim<'a>;
    vec![
        ("another identity that knows the key", "other_identity", intruder, right()),
        ("the callee itself", "other_identity", itself, right()),
        ("a replayed proof", "not_proved", ours.clone(), Box::new(|_| connection.claim(stale))),
        (
            "the proof of another connection",
            "not_proved",
            ours.clone(),
            Box::new(move |fresh| named(other.proof(b'c', fresh))),
        ),
        (
            "the proof of the server's end",
            "not_proved",
            ours.clone(),
            Box::new(move |fresh| named(connection.proof(b's', fresh))),
        ),
        (
            "a proof with one bit turned",
            "not_proved",
            ours.clone(),
            Box::new(|fresh| {
                let mut claim = connection.claim(fresh);
                claim[47] ^= 1;
                claim
            }),
        ),
        ("no proof", "not_proved", ours.clone(), Box::new(move |_| named(vec![0; 32]))),
        (
            "the name of no connection",
            "unknown_connection",
            ours.clone(),
            Box::new(|fresh| [vec![7; 16], connection.proof(b'c', fresh)].concat()),
        ),
        ("half a claim", "failed", ours, Box::new(|fresh| connection.claim(fresh)[..47].to_vec())),
    ]
}

#[tokio::test]
async fn no_cheat_carries_a_connection_over_its_end() {
    let town = Town::new().await;
    let (sidecar, _) = ledger_db(&town).await;
    let short = town.ca.svid_valid(&id("checkout"), ends_in(Duration::from_secs(4)));
    let (mut stream, other) = (open(&sidecar, &short).await, open(&sidecar, &short).await);
    let (connection, other) = (Known::of(&stream), Known::of(&other));
    let stale = Known::of(&sidecar.dial(&town.svid("checkout"), &[REPROOF]).await);
    let mut tried = Vec::new();
    for (name, expected, svid, claim) in cheats(&town, (&connection, &other), &stale) {
        let before = outcomes(&sidecar, expected).await;
        let (_, answer) = ask(&sidecar, &svid, claim).await;
        assert_eq!(answer, b"", "{name}");
        eventually(name, async || outcomes(&sidecar, expected).await > before).await;
        tried.push(name);
    }
    // An authority that is not trusted: there is not even a session to prove anything on.
    let stranger = TestCa::new("pay.example").svid(&id("checkout"));
    let (_, answer) = ask(&sidecar, &stranger, |fresh| connection.claim(fresh)).await;
    assert_eq!(answer, b"");
    tried.push("an svid of an authority that is not trusted");
    closed(&mut stream).await;
    assert!(SystemTime::now() > short.validity.not_after);
    // Nothing that has ended is brought back.
    let ours = town.svid("checkout");
    let (_, answer) = ask(&sidecar, &ours, |fresh| connection.claim(fresh)).await;
    assert_eq!(answer, b"");
    tried.push("a connection that has ended");
    assert!(outcomes(&sidecar, "extended").await < 1.0);
    evidence(&json!({ "cheats": tried, "extended": 0 }));
}

#[tokio::test]
async fn a_revoked_identity_proves_nothing() {
    let town = Town::new().await;
    let (sidecar, policy) = ledger_db(&town).await;
    let svid = town.ca.svid_valid(&id("checkout"), ends_in(Duration::from_secs(30)));
    let mut stream = open(&sidecar, &svid).await;
    let connection = Known::of(&stream);
    town.publish(SnapshotDocument { rules: Vec::new(), ..policy });
    closed(&mut stream).await;
    let (_, answer) = ask(&sidecar, &town.svid("checkout"), |fresh| connection.claim(fresh)).await;
    assert_eq!(answer, b"");
    eventually("refused", async || outcomes(&sidecar, "unknown_connection").await > 0.0).await;
}

#[tokio::test]
async fn a_session_for_a_proof_reaches_no_workload() {
    let town = Town::new().await;
    let (sidecar, _) = ledger_db(&town).await;
    let (_, answer) = ask(&sidecar, &town.svid("checkout"), |_| {
        b"HELLO prod/checkout\nPOST p_1 100\nPOST p_2 100\nPOST p_3 100\n".to_vec()
    })
    .await;
    assert_eq!(answer, b"");
    assert_eq!(sidecar.seen(), []);
}

/// Gives both sidecars SVIDs that live for `life`.
fn renew(town: &Town, sidecars: [(&Sidecar, &str); 2], life: Duration) {
    for (sidecar, name) in sidecars {
        let svid = town.ca.svid_valid(&id(name), ends_in(life));
        let state = X509State::default().with(&id(name), svid, vec![town.ca.root()]);
        sidecar.identity.publish(&state);
    }
}

/// The same, and waits until they are in use.
async fn renewed(town: &Town, sidecars: [(&Sidecar, &str); 2], life: Duration) {
    renew(town, sidecars, life);
    for (sidecar, _) in sidecars {
        let last = sidecar.identity.last_serial();
        eventually("the short svid", async || {
            sidecar.config().await["svid_serial"].as_str() == last.as_deref()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_connection_lives_through_many_svids() {
    lives(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_one_in_a_session_of_its_own() {
    lives(&["--tcp-sessions=own"]).await;
}

/// Ledger-db's sidecar in front of `workload`.
async fn beside(town: &Town, workload: SocketAddr) -> Sidecar {
    let plan = Plan { name: "ledger-db", speaks: Protocol::Tcp, outbound: &[] };
    let policy = policy("ledger-db", Protocol::Tcp, &[CallDocument::Tcp { port: 8443 }]);
    town.made_ready(town.beside(plan, workload).await, "ledger-db", policy).await
}

/// What is said at once.
const CHUNK: u64 = 4096;

/// Says so many bytes, which count on from `at`, and hears them.
async fn comes_back(stream: &mut TcpStream, at: u64) {
    let said: Vec<u8> = (at..at + CHUNK).map(|at| (at % 251) as u8).collect();
    stream.write_all(&said).await.unwrap();
    let mut heard = vec![0; said.len()];
    tokio::time::timeout(DEADLINE, stream.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(said, heard, "at {at}");
}

/// One connection, kept busy over many lives of both sides' SVIDs.
async fn lives(flags: &[&str]) {
    let (life, lives) = match evidence_time() {
        Some(_) => (Duration::from_secs(10), 30),
        None => (Duration::from_secs(2), 3),
    };
    let town = Town::new().await;
    let (address, _echo) = echo().await;
    let callee = beside(&town, address).await;
    let mut caller = town.flagged_caller("ledger-db", Protocol::Tcp, flags).await;
    let sidecars = [(&callee, "ledger-db"), (&caller, "checkout")];
    renewed(&town, sidecars, life).await;
    let mut stream = TcpStream::connect(caller.outbound["ledger-db"]).await.unwrap();
    let (started, mut last) = (Instant::now(), Instant::now());
    let (mut bytes, mut renewals) = (0_u64, 0_u32);
    while started.elapsed() < life * lives {
        if last.elapsed() > life / 2 {
            renew(&town, sidecars, life);
            (last, renewals) = (Instant::now(), renewals + 1);
        }
        comes_back(&mut stream, bytes).await;
        bytes += CHUNK;
    }
    let extended = [("result", "extended")];
    let proofs = caller.metrics().await.sum("cellwall_reproofs_total", &extended);
    let figures = json!({
        "svid_life_seconds": life.as_secs(), "lives": lives, "renewals": renewals,
        "reproofs": proofs, "bytes": bytes, "bytes_lost": 0, "closed": 0,
    });
    evidence(&figures);
    assert!(proofs >= f64::from(lives), "{figures}");
    drop(stream);
    let line = caller.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.reason"], "done", "{line}");
}

#[tokio::test]
async fn a_connection_to_what_is_no_destination_any_more_is_not_proved_anew() {
    // AZ-12
    let town = Town::new().await;
    let (callee, _) = ledger_db(&town).await;
    let mut caller = town.caller_of("ledger-db", Protocol::Tcp).await;
    let life = Duration::from_secs(3);
    let sidecars = [(&callee, "ledger-db"), (&caller, "checkout")];
    renewed(&town, sidecars, life).await;
    let mut stream = TcpStream::connect(caller.outbound["ledger-db"]).await.unwrap();
    stream.write_all(b"HELLO prod/checkout\n").await.unwrap();
    assert!(is_alive(&mut stream).await);
    town.publish(policy("checkout", Protocol::Http, &[]));
    let renewals = async {
        loop {
            tokio::time::sleep(life / 2).await;
            renew(&town, sidecars, life);
        }
    };
    tokio::select! {
        () = renewals => {}
        () = closed(&mut stream) => {}
    }
    let line = caller.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.reason"], "svid_expired");
}

#[tokio::test]
async fn a_call_that_outlives_both_certificates_is_answered() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let life = Duration::from_secs(4);
    let sidecars = [(&callee, "payments"), (&caller, "checkout")];
    renewed(&town, sidecars, life).await;
    let request = client::build("POST /v1/payments").unwrap().header("x-delay-ms", "7000");
    let request = request.body(Default::default()).unwrap();
    let server = client::Server::Tcp(caller.outbound["payments"]);
    let mut connection = client::HttpConnection::open(&server).await.unwrap();
    let call = async { connection.send(request).await.unwrap().status().as_u16() };
    let renewals = async {
        for _ in 0..4 {
            tokio::time::sleep(life / 2).await;
            renew(&town, sidecars, life);
        }
    };
    let (status, ()) = tokio::join!(call, renewals);
    assert_eq!(status, 200);
}

/// The grace of what is being replaced, and some more.
pub(crate) const BEYOND_GRACE: Duration = Duration::from_secs(6);

/// ROT-03: both roots are trusted before the new one signs, then the old one goes.
pub(crate) async fn replace_root(town: &Town, sidecars: [(&Sidecar, &str); 2]) {
    let (old, next) = (&town.ca, &town.ca.rotated());
    for (signer, roots) in [(old, &[old, next][..]), (next, &[old, next]), (next, &[next])] {
        for (sidecar, name) in sidecars {
            sidecar.renewed(&X509State::issued(signer, &id(name)).trusting(roots)).await;
        }
    }
}

#[tokio::test]
async fn a_call_outlives_a_root_that_is_replaced_early_in_its_connections_time() {
    // ROT-03, ROT-05
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let delay = (BEYOND_GRACE + Duration::from_secs(1)).as_millis().to_string();
    let request = client::build("POST /v1/payments").unwrap().header("x-delay-ms", delay);
    let request = request.body(Default::default()).unwrap();
    let server = client::Server::Tcp(caller.outbound["payments"]);
    let mut connection = client::HttpConnection::open(&server).await.unwrap();
    let sidecars = [(&callee, "payments"), (&caller, "checkout")];
    let both =
        async { tokio::join!(connection.send(request), replace_root(&town, sidecars)).0.unwrap() };
    assert_eq!(both.await.status(), 200);
}

/// A server that holds no key of the connection cannot keep ours open.
#[tokio::test]
async fn a_server_that_does_not_prove_itself_keeps_no_connection() {
    let town = Town::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap().to_string();
    let (plan, policy) = checkout(&["ledger-db"], vec![destination("ledger-db", Protocol::Tcp)]);
    let mut caller = town.sidecar(plan, policy).await;
    town.control.set_endpoints("ledger-db", &[here]);
    caller.knows("ledger-db").await;
    let svid = town.ca.svid_valid(&id("ledger-db"), ends_in(Duration::from_secs(4)));
    let played = DangerousParty::presenting(&svid).alpn(&[TCP, REPROOF]);
    let renewed = DangerousParty::presenting(&town.svid("ledger-db")).alpn(&[TCP, REPROOF]);
    let mut app = TcpStream::connect(caller.outbound["ledger-db"]).await.unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    let stream = played.accept(tcp).await.unwrap();
    let connection = Known::of_server(&stream);
    let mut claims = 0_usize;
    let cheat = async {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut fresh) = renewed.accept(tcp).await else { continue };
            let known = Known::of_server(&fresh);
            let mut claim = vec![0; 48];
            fresh.read_exact(&mut claim).await.unwrap();
            assert_eq!(claim, connection.claim(&known));
            let answer = match claims {
                0 => claim[16..].to_vec(),                // our own proof, sent back
                1 => connection.proof(b's', &connection), // on another session
                _ => vec![0; 32],
            };
            claims += 1;
            let _ = fresh.write_all(&answer).await;
            let _ = fresh.shutdown().await;
        }
    };
    let mut rest = Vec::new();
    let end = tokio::time::timeout(DEADLINE, app.read_to_end(&mut rest));
    tokio::select! {
        () = cheat => {}
        ended = end => assert!(ended.is_ok(), "kept open"),
    }
    assert!(claims >= 2, "{claims} claims");
    assert!(SystemTime::now() > svid.validity.not_after);
    let line = caller.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.reason"], "svid_expired");
}
