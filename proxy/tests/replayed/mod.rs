//! What the fuzzer found worth keeping, sent to the running sidecar: `fuzz/corpus`, without a fuzzer.

mod judge;

use std::{fs, path::Path, time::Duration};

use cellwall_policy::{CallDocument, Callers, GuardDocument, Mode, Protocol};
use cellwall_testkit::strict::{self, Seen};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};
use tokio_rustls::client::TlsStream;

use crate::{
    kit::{DEADLINE, Plan, Town, evidence, id, policy},
    played::accepting,
};

/// What the client of HTTP/2 says first (RFC 9113 §3.4), with no settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// How long an input that breaks off within a request may wait for the rest.
const PATIENCE: Duration = Duration::from_millis(200);

/// What it says last: no more requests (RFC 9113 §6.8).
const GOAWAY: &[u8] = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// The same over HTTP/1, and the sign that all before it was read.
const LAST: &[u8] =
    b"GET /v1/end-of-corpus HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n";

/// All below `/v1/`, but not below `/v1/admin/`.
fn rules() -> cellwall_policy::SnapshotDocument {
    let methods = ["GET", "POST", "PUT"].map(str::to_owned).to_vec();
    let below = |path: &str| CallDocument::Http { methods: methods.clone(), path: path.to_owned() };
    let guard = GuardDocument {
        name: "no-admin".to_owned(),
        from: Callers::Named(vec!["checkout".to_owned()]),
        except: Vec::new(),
        calls: vec![below("/v1/admin/{rest...}")],
        when: None,
        mode: Mode::Enforce,
    };
    let mut rules = policy("payments", Protocol::Http, &[below("/v1/{rest...}")]);
    rules.guards.push(guard);
    rules
}

/// What the workload saw, judged.
struct Judge {
    seen: mpsc::Receiver<Seen>,
    whole: u32,
}

impl Judge {
    /// Whether it is the last request.
    fn judge(&mut self, seen: Seen) -> bool {
        match seen {
            Seen::Whole(read) => {
                judge::judge(&read);
                self.whole += 1;
                read.line == "GET /v1/end-of-corpus"
            }
            Seen::Cut => false,
            Seen::Mistake(mistake) => panic!("{mistake}"),
        }
    }

    /// All that it has seen until now.
    fn so_far(&mut self) {
        while let Ok(one) = self.seen.try_recv() {
            self.judge(one);
        }
    }

    /// All until the last request.
    async fn until_the_end(&mut self) {
        loop {
            let one = tokio::time::timeout(DEADLINE, self.seen.recv()).await.unwrap().unwrap();
            if self.judge(one) {
                return;
            }
        }
    }
}

/// Sends an input on a connection of its own, until the sidecar closes it.
async fn send(mut stream: TlsStream<TcpStream>, input: &[u8]) {
    // It may be refused, and closed, at any byte.
    let _ = stream.write_all(input).await;
    let mut answer = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    if end.is_err() {
        let _ = stream.shutdown().await;
        let end = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
        assert!(end.is_ok(), "not closed in time: {:?}", String::from_utf8_lossy(input));
    }
}

/// Sends each input of a target's corpus, with what stands before and behind each.
async fn replay(target: &str, alpn: &str, (first, last): (&[u8], &[u8])) {
    let town = Town::new().await;
    let (say, seen) = mpsc::channel(4096);
    let (workload, _tasks) =
        accepting(move |tcp| strict::serve(tcp, id("checkout"), say.clone())).await;
    let plan = Plan { name: "payments", speaks: Protocol::Http, outbound: &[] };
    let sidecar = town.beside(plan, workload).await;
    let sidecar = town.made_ready(sidecar, "payments", rules()).await;
    let caller = town.svid("checkout");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut judge = Judge { seen, whole: 0 };
    let mut inputs = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let input = fs::read(entry.unwrap().path()).unwrap();
        let stream = sidecar.dial(&caller, &[alpn]).await;
        send(stream, &[first, &input, last].concat()).await;
        judge.so_far();
        inputs += 1;
    }
    send(sidecar.dial(&caller, &["http/1.1"]).await, LAST).await;
    judge.until_the_end().await;
    let whole = judge.whole;
    assert!(inputs > 0 && whole > 1, "{whole} requests of {inputs} inputs");
    evidence(&json!({"target": target, "inputs": inputs, "whole": whole}));
}

#[tokio::test]
async fn the_corpus_of_the_http1_front_leaves_one_reading_each() {
    replay("http1_front", "http/1.1", (b"", LAST)).await;
}

#[tokio::test]
async fn the_corpus_of_http2_frames_leaves_one_reading_each() {
    replay("http2_frames", "h2", (PREFACE, GOAWAY)).await;
}
