//! What may be asked for on a session: the workload behind the listener, by those whom its policy lets.

use std::{
    future::poll_fn,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cellwall_policy::{
    CallDocument, CallerDocument, Callers, ListensDocument, Protocol, RuleDocument,
    SnapshotDocument,
};
use cellwall_testkit::{ca::Svid, x509::Validity};
use h2::{RecvStream, SendStream, client::SendRequest};
use http::{Method, Request, Response};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{connect, flagged_db, sessions};
use crate::{
    kit::{DEADLINE, Sidecar, Town, eventually, id},
    tcp::{end_of, played_db, reset},
};

/// A session of a client that is no sidecar, and what runs it.
pub(super) struct Client {
    sender: SendRequest<Bytes>,
    _runs: JoinSet<()>,
}

impl Client {
    pub(super) async fn of(sidecar: &Sidecar, svid: &Svid) -> Self {
        let stream = sidecar.dial(svid, &["h2"]).await;
        let (sender, session) = h2::client::handshake(stream).await.unwrap();
        let mut runs = JoinSet::new();
        runs.spawn(async move { drop(session.await) });
        Self { sender, _runs: runs }
    }

    pub(super) async fn ask(
        &self,
        request: Request<()>,
    ) -> Result<(Response<RecvStream>, SendStream<Bytes>), h2::Error> {
        let mut sender = self.sender.clone().ready().await?;
        let (answer, send) = sender.send_request(request, false)?;
        Ok((tokio::time::timeout(DEADLINE, answer).await.unwrap()?, send))
    }

    /// A stream to the workload, in use, and the workload's side of it.
    pub(super) async fn open(&self, sidecar: &Sidecar, workload: &TcpListener) -> Stream {
        let (answer, mut send) = self.ask(connect(&sidecar.inbound.to_string())).await.unwrap();
        assert_eq!(answer.status(), 200);
        send.send_data(Bytes::from_static(b"half"), false).unwrap();
        let (mut served, _) = workload.accept().await.unwrap();
        let mut heard = [0; 4];
        served.read_exact(&mut heard).await.unwrap();
        served.write_all(b"part").await.unwrap();
        let mut receive = answer.into_body();
        let said = receive.data().await.unwrap().unwrap();
        assert_eq!(said, "part");
        Stream { send, receive, served }
    }
}

pub(super) struct Stream {
    send: SendStream<Bytes>,
    receive: RecvStream,
    served: TcpStream,
}

impl Stream {
    /// Whether the workload hears `text` on it.
    pub(super) async fn says(&mut self, text: &'static str) -> bool {
        let said = self.send.send_data(Bytes::from_static(text.as_bytes()), false);
        let mut heard = vec![0; text.len()];
        let read = tokio::time::timeout(DEADLINE, self.served.read_exact(&mut heard)).await;
        said.is_ok() && read.is_ok_and(|read| read.is_ok()) && heard == text.as_bytes()
    }

    /// Whether it is reset at both ends.
    async fn is_reset(&mut self) -> bool {
        let end = tokio::time::timeout(DEADLINE, self.receive.data()).await.unwrap();
        matches!(end, Some(Err(_))) && end_of(&mut self.served).await.is_some()
    }
}

#[tokio::test]
async fn a_stream_leads_to_the_workload_of_its_listener_and_nowhere_else() {
    // HTTP-14: no open proxy, whatever somebody asks for
    let town = Town::new().await;
    let (callee, workload, _) = played_db(&town).await;
    let client = Client::of(&callee, &town.svid("checkout")).await;
    let (port, admin) = (callee.inbound.port(), callee.admin.port());
    let own = workload.local_addr().unwrap().port();
    let get = |uri: String| Request::get(uri).body(()).unwrap();
    let with_host = |host: &str| {
        let request = Request::connect(format!("127.0.0.1:{port}"));
        request.header("host", host).body(()).unwrap()
    };
    let refused = [
        connect(&format!("127.0.0.1:{admin}")),
        connect(&format!("127.0.0.1:{own}")),
        connect("127.0.0.1:22"),
        connect(&format!("169.254.169.254:{port}")),
        connect("169.254.169.254:80"),
        connect(&format!("127.0.0.2:{port}")),
        connect(&format!("0.0.0.0:{port}")),
        connect(&format!("[::1]:{port}")),
        connect(&format!("localhost:{port}")),
        connect(&format!("ledger-db:{port}")),
        connect(&format!("user@127.0.0.1:{port}")),
        connect("ledger-db"),
        with_host("127.0.0.1:22"),
        get(format!("http://127.0.0.1:{port}/")),
        get("http://ledger-db/".to_owned()),
        Request::builder().method(Method::POST).uri("http://a/v1/payments").body(()).unwrap(),
    ];
    let count = u32::try_from(refused.len()).unwrap();
    for request in refused {
        let asked = format!("{request:?}");
        let (answer, _) = client.ask(request).await.unwrap();
        assert_eq!(answer.status(), 400, "{asked}");
        assert_eq!(answer.headers()["cellwall-outcome"], "not-done", "{asked}");
    }
    let labels = [("direction", "inbound"), ("result", "request_ambiguous")];
    eventually("the records", async || {
        callee.metrics().await.sum("cellwall_connections_total", &labels) == f64::from(count)
    })
    .await;
    // The session goes on; the first that the workload hears of is what is its own.
    client.open(&callee, &workload).await;
    let declared = client.ask(connect("127.0.0.1:8443")).await.unwrap().0;
    assert_eq!(declared.status(), 200, "the port that the policy declares");
}

#[tokio::test]
async fn a_denied_stream_is_told_its_decision_and_the_workload_hears_nothing() {
    let town = Town::new().await;
    let (mut callee, workload, _) = played_db(&town).await;
    let at = callee.inbound.to_string();
    let client = Client::of(&callee, &town.svid("notifier")).await;
    for _ in 0..3 {
        let (answer, _) = client.ask(connect(&at)).await.unwrap();
        assert_eq!(answer.status(), 403);
        assert_eq!(answer.headers()["cellwall-outcome"], "not-done");
        let decision = answer.headers()["cellwall-decision"].to_str().unwrap();
        let line = callee.logged(|line| line["cellwall.decision"] == decision).await;
        assert_eq!(line["cellwall.reason"], "policy_denied");
        assert_eq!(line["cellwall.caller.id"], id("notifier"));
    }
    // Only the one that is allowed came to the workload.
    Client::of(&callee, &town.svid("checkout")).await.open(&callee, &workload).await;
}

#[tokio::test]
async fn who_loses_the_permission_loses_its_streams_at_once_and_nobody_else_does() {
    // AZ-10
    let town = Town::new().await;
    let (callee, workload, rules) = played_db(&town).await;
    let allowing = |names: &[&str]| {
        let from = Callers::Named(names.iter().map(ToString::to_string).collect());
        let callers = ["checkout", "notifier", "intruder"];
        SnapshotDocument {
            callers: callers.map(|it| CallerDocument { name: it.to_owned(), id: None }).into(),
            rules: vec![RuleDocument { from, ..rules.rules[0].clone() }],
            ..rules.clone()
        }
    };
    let version = town.publish(allowing(&["checkout", "notifier"]));
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    eventually("in force", async || {
        callee.metrics().await.sum("cellwall_policy_version", &[]) == version as f64
    })
    .await;
    let (checkout, notifier) = (
        Client::of(&callee, &town.svid("checkout")).await,
        Client::of(&callee, &town.svid("notifier")).await,
    );
    let mut stays = checkout.open(&callee, &workload).await;
    let mut ends =
        [notifier.open(&callee, &workload).await, notifier.open(&callee, &workload).await];
    let started = Instant::now();
    town.publish(allowing(&["checkout"]));
    for stream in &mut ends {
        assert!(stream.is_reset().await);
    }
    assert!(started.elapsed().as_secs() < 1, "{:?}", started.elapsed());
    let labels = [("direction", "inbound"), ("result", "policy_revoked")];
    eventually("the records", async || {
        callee.metrics().await.sum("cellwall_connections_total", &labels) == 2.0
    })
    .await;
    stays.served.write_all(b"more").await.unwrap();
    assert_eq!(stays.receive.data().await.unwrap().unwrap(), "more");
    let (answer, _) = notifier.ask(connect(&callee.inbound.to_string())).await.unwrap();
    assert_eq!(answer.status(), 403, "its session is there, for what a policy may allow again");
}

#[tokio::test]
async fn a_session_ends_with_what_it_stands_on() {
    // ROT-05: the certificate of either side, and the listener as it was declared
    let town = Town::new().await;
    let (callee, workload, rules) = played_db(&town).await;
    let soon = Validity::around_now(Duration::from_secs(60), Duration::from_secs(2));
    let short = town.ca.svid_valid(&id("checkout"), soon);
    let client = Client::of(&callee, &short).await;
    let mut stream = client.open(&callee, &workload).await;
    assert!(stream.is_reset().await, "expired");
    assert!(client.ask(connect(&callee.inbound.to_string())).await.is_err());
    let client = Client::of(&callee, &town.svid("checkout")).await;
    let mut stream = client.open(&callee, &workload).await;
    let calls = vec![CallDocument::Tcp { port: 8444 }];
    let rule = RuleDocument { calls, ..rules.rules[0].clone() };
    let listens = vec![ListensDocument::of(Protocol::Tcp, 8444)];
    town.publish(SnapshotDocument { listens, rules: vec![rule], ..rules });
    assert!(stream.is_reset().await, "not declared any more");
    assert!(client.ask(connect(&callee.inbound.to_string())).await.is_err());
}

#[tokio::test]
async fn no_stream_waits_for_what_others_have_not_read() {
    // RES-05: all windows together are no more than the session's
    const STREAM: usize = 1024 * 1024;
    let town = Town::new().await;
    let (callee, _workload, _) = played_db(&town).await;
    let stream = callee.dial(&town.svid("checkout"), &["h2"]).await;
    let mut http2 = h2::client::Builder::new();
    let (sender, session) = http2.max_send_buffer_size(2 * STREAM).handshake(stream).await.unwrap();
    let mut runs = JoinSet::new();
    runs.spawn(async move { drop(session.await) });
    let client = Client { sender, _runs: runs };
    let mut streams = Vec::new();
    for _ in 0..100 {
        let (answer, mut send) = client.ask(connect(&callee.inbound.to_string())).await.unwrap();
        assert_eq!(answer.status(), 200);
        send.reserve_capacity(STREAM);
        let whole = async {
            while send.capacity() < STREAM {
                poll_fn(|cx| send.poll_capacity(cx)).await.unwrap().unwrap();
            }
        };
        tokio::time::timeout(DEADLINE, whole).await.unwrap();
        streams.push((answer, send));
    }
}

#[tokio::test]
async fn half_a_stream_is_told_from_all_of_it() {
    // RFC 9113 §8.5: also where one half was whole
    let town = Town::new().await;
    let (callee, workload, rules) = played_db(&town).await;
    let client = Client::of(&callee, &town.svid("checkout")).await;
    let cut = client.open(&callee, &workload).await;
    let mut half = client.open(&callee, &workload).await;
    half.served.shutdown().await.unwrap();
    while let Some(said) = half.receive.data().await {
        assert_eq!(said.unwrap(), "", "all that it had to say");
    }
    let Stream { mut send, served, .. } = cut;
    reset(served);
    town.publish(SnapshotDocument { rules: Vec::new(), ..rules });
    for send in [&mut send, &mut half.send] {
        let reason = tokio::time::timeout(DEADLINE, poll_fn(|cx| send.poll_reset(cx))).await;
        assert_eq!(reason.unwrap().unwrap(), h2::Reason::CONNECT_ERROR);
    }
}

#[tokio::test]
async fn a_half_that_is_silent_is_told_that_the_other_side_has_broken_off() {
    let town = Town::new().await;
    let (mut callee, workload, _) = played_db(&town).await;
    let client = Client::of(&callee, &town.svid("checkout")).await;
    let mut stream = client.open(&callee, &workload).await;
    stream.send.send_data(Bytes::new(), true).unwrap();
    assert_eq!(end_of(&mut stream.served).await, None, "all that it had to say");
    stream.send.send_reset(h2::Reason::CANCEL);
    let line = callee.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.reason"], "io");
}

#[tokio::test]
async fn streams_beyond_the_limit_are_left_to_be_asked_for_elsewhere() {
    // RES-01: a session is one connection, its streams count as well
    let town = Town::new().await;
    let (callee, workload, _) = flagged_db(&town, &["--max-connections=2"]).await;
    let client = Client::of(&callee, &town.svid("checkout")).await;
    let first = client.open(&callee, &workload).await;
    let _second = client.open(&callee, &workload).await;
    let at = callee.inbound.to_string();
    let error = client.ask(connect(&at)).await.unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM));
    drop(first);
    eventually("a place", async || client.ask(connect(&at)).await.is_ok()).await;
    assert_eq!(sessions(&callee).await, 1);
}
