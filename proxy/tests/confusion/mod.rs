//! What policy judged is what the workload reads, whatever the bytes (T5): the same hostile requests
//! over each pair of protocols, to a workload that repairs nothing.
//!
//! Each list says what is left of a case: a whole request, by its line, host and body, or none. Beside
//! that the sidecar's own count has to agree: as many calls allowed as requests read.

mod frames;
mod heads;
mod paths;
mod peers;

use cellwall_policy::{CallDocument, Protocol};
use cellwall_testkit::strict::{self, Read, Seen};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
};

use self::heads::After;
use crate::{
    fates,
    forwarding::ledger,
    kit::{DEADLINE, Plan, Sidecar, Town, eventually, evidence, id, policy},
    played::{Played, accepting},
    raw_h2::RawH2,
    spoofs::{self, Fields},
};

/// Sent behind each case over HTTP/1: it is read if the connection is kept, and ends it.
const LAST: &[u8] = b"GET /v1/last HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n";

fn whole((line, host, body): (&str, &str, &str)) -> Seen {
    Seen::Whole(Read { line: line.to_owned(), host: host.to_owned(), body: body.to_owned() })
}

/// What came of the cases of one pair.
#[derive(Debug, Default)]
struct Tally {
    cases: usize,
    /// Requests that were read whole.
    whole: usize,
    /// Cases that break off within the body: judged, unless they break off before.
    cut: usize,
    confused: Vec<String>,
}

impl Tally {
    fn judge(&mut self, case: &str, expected: &[Seen], seen: impl Iterator<Item = Seen>) {
        let seen: Vec<Seen> = seen.filter(|one| *one != Seen::Cut).collect();
        self.cases += 1;
        self.whole += seen.len();
        if seen != expected {
            self.confused.push(format!("{case}: {seen:?} instead of {expected:?}"));
        }
    }

    fn show(&self, kind: &str, pair: &str) {
        assert_eq!(self.confused, Vec::<String>::new(), "{kind}, {pair}");
        let confused = self.confused.len();
        evidence(&json!({
            "kind": kind, "pair": pair, "cases": self.cases, "read": self.whole,
            "cut_on_their_way": self.cut, "confused": confused,
        }));
    }

    /// The oracle's other half: the callee's sidecar allowed what was read, and nothing else.
    async fn agrees_with(&self, callee: &Sidecar) {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let judged = (self.whole as f64)..=((self.whole + self.cut) as f64);
        let labels = [("direction", "inbound"), ("verdict", "allow")];
        eventually("as many as were allowed", async || {
            judged.contains(&callee.metrics().await.sum("cellwall_requests_total", &labels))
        })
        .await;
    }
}

/// Payments, which allows whatever has one reading.
async fn payments(town: &Town) -> (Sidecar, mpsc::Receiver<Seen>, JoinSet<()>) {
    let (say, seen) = mpsc::channel(1024);
    let (address, tasks) =
        accepting(move |tcp| strict::serve(tcp, id("checkout"), say.clone())).await;
    let methods = ["GET", "POST", "OPTIONS"].map(str::to_owned).to_vec();
    let all = CallDocument::Http { methods, path: "/{rest...}".to_owned() };
    let plan = Plan { name: "payments", speaks: Protocol::Http, outbound: &[] };
    let sidecar = town.beside(plan, address).await;
    let rules = policy("payments", Protocol::Http, &[all]);
    (town.made_ready(sidecar, "payments", rules).await, seen, tasks)
}

/// A request that a played server got.
fn arrived(callee: &mut Played) -> Option<Seen> {
    let arrived = callee.arrived()?;
    let target = arrived.head.uri.path_and_query().unwrap();
    let line = format!("{} {target}", arrived.head.method);
    let host = arrived.head.uri.authority().unwrap().to_string();
    let body = String::from_utf8(arrived.body.to_vec()).unwrap();
    Some(Seen::Whole(Read { line, host, body }))
}

/// Sends `bytes` and reads to the end of the connection, however it ends.
async fn exchange(mut caller: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) {
    let _ = caller.write_all(bytes).await;
    let end = tokio::time::timeout(DEADLINE, caller.read_to_end(&mut Vec::new())).await;
    assert!(end.is_ok(), "not closed in time: {:?}", String::from_utf8_lossy(bytes));
}

/// Every head, over a connection of its own from `dial`.
async fn all_heads<IO: AsyncRead + AsyncWrite + Unpin>(
    dial: impl AsyncFn() -> IO,
    mut seen: impl FnMut() -> Option<Seen>,
) -> Tally {
    let mut tally = Tally::default();
    for (case, bytes, left, after) in
        heads::FRAMING.iter().chain(heads::FIELDS).chain(heads::TARGETS)
    {
        exchange(dial().await, &[*bytes, LAST].concat()).await;
        let mut expected: Vec<Seen> = left.iter().copied().map(whole).collect();
        if *after == After::Open {
            expected.push(whole(("GET /v1/last", "payments", "")));
        }
        tally.cut += usize::from(*after == After::Cut);
        tally.judge(case, &expected, std::iter::from_fn(&mut seen));
    }
    tally
}

/// Every path over HTTP/1.
async fn all_paths<IO: AsyncRead + AsyncWrite + Unpin>(
    dial: impl AsyncFn() -> IO,
    mut seen: impl FnMut() -> Option<Seen>,
) -> Tally {
    let mut tally = Tally::default();
    for (path, read) in paths::paths() {
        // A character below U+0100 stands for one byte.
        let path: Vec<u8> = path.chars().map(|letter| letter as u8).collect();
        let end = b" HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n";
        exchange(dial().await, &[b"GET ", &path[..], end].concat()).await;
        let line = read.map(|path| format!("GET {path}"));
        let expected: Vec<Seen> = line.iter().map(|line| whole((line, "payments", ""))).collect();
        let case = String::from_utf8_lossy(&path).into_owned();
        tally.judge(&case, &expected, std::iter::from_fn(&mut seen));
    }
    tally
}

/// Every set of frames, over a connection of its own from `dial`, for calls of `path`.
async fn all_frames<IO: AsyncRead + AsyncWrite + Unpin>(
    path: &str,
    dial: impl AsyncFn() -> IO,
    mut seen: impl FnMut() -> Option<Seen>,
) -> Tally {
    let mut tally = Tally::default();
    for (case, pseudo, head, left) in frames::TARGETS.iter().chain(frames::FIELDS) {
        let pseudo: Vec<(&str, String)> =
            pseudo.iter().map(|(name, value)| (*name, value.replace("/v1/a", path))).collect();
        let pseudo: Vec<(&str, &str)> =
            pseudo.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let owned = |(name, value): &frames::Field| {
            (name.to_vec(), String::from_utf8_lossy(value).replace("/v1/a", path).into_bytes())
        };
        let fields = Fields { head: head.iter().map(owned).collect(), ..Fields::default() };
        let is_long = |(name, _): &frames::Field| *name == b"content-length";
        tally.cut += usize::from(left.is_none() && head.iter().any(is_long));
        let mut connection = RawH2::begin(dial().await).await;
        let answered = connection.asked(&pseudo, &fields);
        assert!(
            tokio::time::timeout(DEADLINE, answered).await.is_ok(),
            "{case}: no answer in time"
        );
        let line = format!("POST {path}");
        let expected: Vec<Seen> = left.iter().map(|host| whole((&line, host, "body"))).collect();
        tally.judge(case, &expected, std::iter::from_fn(&mut seen));
    }
    tally
}

#[tokio::test]
async fn heads_over_http_1_are_read_as_they_were_judged() {
    // HTTP-01..07, HTTP-10..14, HTTP-17, HTTP-18, HTTP-21: h1 to h1
    let town = Town::new().await;
    let (callee, mut seen, _workload) = payments(&town).await;
    let svid = town.svid("checkout");
    let dial = async || callee.dial(&svid, &["http/1.1"]).await;
    let tally = all_heads(dial, || seen.try_recv().ok()).await;
    tally.agrees_with(&callee).await;
    tally.show("heads", "h1 to h1");
}

#[tokio::test]
async fn heads_over_http_1_leave_the_callers_sidecar_with_one_reading() {
    // The same, h1 to h2
    let town = Town::new().await;
    let mut callee = Played::sidecar(&town.svid("payments")).await;
    let to = ("payments", Protocol::Http);
    let caller = fates::caller(&town, to, callee.address.to_string()).await;
    let dial = async || TcpStream::connect(caller.outbound["payments"]).await.unwrap();
    all_heads(dial, || arrived(&mut callee)).await.show("heads", "h1 to h2");
}

#[tokio::test]
async fn heads_that_pass_both_sidecars_are_read_as_they_were_judged() {
    // The same, h1 to h2 to h1
    let town = Town::new().await;
    let (callee, mut seen, _workload) = payments(&town).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let dial = async || TcpStream::connect(caller.outbound["payments"]).await.unwrap();
    let tally = all_heads(dial, || seen.try_recv().ok()).await;
    tally.agrees_with(&callee).await;
    tally.show("heads", "h1 to h2 to h1");
}

#[tokio::test]
async fn frames_are_read_as_they_were_judged() {
    // HTTP-02, HTTP-03, HTTP-05, HTTP-11, HTTP-13, HTTP-14, HTTP-17, HTTP-18, HTTP-21: h2 to h1
    let town = Town::new().await;
    let (callee, mut seen, _workload) = payments(&town).await;
    let svid = town.svid("checkout");
    let dial = async || callee.dial(&svid, &["h2"]).await;
    let tally = all_frames("/v1/a", dial, || seen.try_recv().ok()).await;
    tally.agrees_with(&callee).await;
    tally.show("frames", "h2 to h1");
}

#[tokio::test]
async fn frames_that_pass_both_sidecars_are_read_as_they_were_judged() {
    // The same from an app, h2 to h2 to h1
    let town = Town::new().await;
    let (callee, mut seen, _workload) = payments(&town).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let dial = async || TcpStream::connect(caller.outbound["payments"]).await.unwrap();
    let tally = all_frames("/v1/a", dial, || seen.try_recv().ok()).await;
    tally.agrees_with(&callee).await;
    tally.show("frames", "h2 to h2 to h1");
}

#[tokio::test]
async fn frames_of_grpc_calls_are_read_as_they_were_judged() {
    // The same, h2 to h2
    let town = Town::new().await;
    let (callee, mut workload) = ledger(&town).await;
    let svid = town.svid("checkout");
    let dial = async || callee.dial(&svid, &["h2"]).await;
    let tally = all_frames("/ledger.v1/Post", dial, || arrived(&mut workload)).await;
    tally.agrees_with(&callee).await;
    tally.show("frames", "h2 to h2");
}

#[tokio::test]
async fn frames_of_grpc_calls_that_pass_both_sidecars_are_read_as_they_were_judged() {
    // The same, h2 to h2 to h2
    let town = Town::new().await;
    let (_callee, mut workload) = ledger(&town).await;
    let caller = town.caller_of("ledger", Protocol::Grpc).await;
    let dial = async || TcpStream::connect(caller.outbound["ledger"]).await.unwrap();
    let tally = all_frames("/ledger.v1/Post", dial, || arrived(&mut workload)).await;
    tally.show("frames", "h2 to h2 to h2");
}

#[tokio::test]
async fn paths_over_http_1_are_read_as_they_were_judged() {
    // HTTP-07, HTTP-08, HTTP-09, HTTP-10: h1 to h2 to h1
    let town = Town::new().await;
    let (callee, mut seen, _workload) = payments(&town).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let dial = async || TcpStream::connect(caller.outbound["payments"]).await.unwrap();
    let tally = all_paths(dial, || seen.try_recv().ok()).await;
    assert!(tally.cases >= 300, "{}", tally.cases);
    tally.agrees_with(&callee).await;
    tally.show("paths", "h1 to h2 to h1");
}

#[tokio::test]
async fn paths_over_http_1_straight_to_the_callee_are_read_as_they_were_judged() {
    // The same, h1 to h1: the callee's sidecar does not rely on the caller's
    let town = Town::new().await;
    let (callee, mut seen, _workload) = payments(&town).await;
    let svid = town.svid("checkout");
    let dial = async || callee.dial(&svid, &["http/1.1"]).await;
    let tally = all_paths(dial, || seen.try_recv().ok()).await;
    tally.agrees_with(&callee).await;
    tally.show("paths", "h1 to h1");
}

#[tokio::test]
async fn paths_over_http_2_are_read_as_they_were_judged() {
    // The same, h2 to h1, as far as a path of HTTP/2 is text; many on a connection
    let town = Town::new().await;
    let (callee, mut seen, _workload) = payments(&town).await;
    let mut tally = Tally::default();
    let mut kept = None;
    for (path, read) in paths::paths().into_iter().filter(|(path, _)| path.is_ascii()) {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => RawH2::begin(callee.dial(&town.svid("checkout"), &["h2"]).await).await,
        };
        let pseudo = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "payments"),
            (":path", path.as_str()),
        ];
        let nothing_else = Fields::default();
        let answered = connection.asked(&pseudo, &nothing_else);
        let answered = tokio::time::timeout(DEADLINE, answered).await.unwrap();
        kept = answered.map(|_| connection);
        let line = read.map(|path| format!("POST {path}"));
        let expected: Vec<Seen> =
            line.iter().map(|line| whole((line, "payments", "body"))).collect();
        tally.judge(&path, &expected, std::iter::from_fn(|| seen.try_recv().ok()));
    }
    tally.agrees_with(&callee).await;
    tally.show("paths", "h2 to h1");
}

#[tokio::test]
async fn spoofed_callers_do_not_pass_both_sidecars() {
    // HTTP-16, HTTP-19: the workload looks at head and trailers of each, by any reading of a name
    let town = Town::new().await;
    let (callee, mut seen, _workload) = payments(&town).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let mut tally = Tally::default();
    for (case, request) in spoofs::requests() {
        let app = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
        exchange(app, &[&request, LAST].concat()).await;
        let expected = [
            whole(("POST /v1/payments", "payments", "body")),
            whole(("GET /v1/last", "payments", "")),
        ];
        tally.judge(&case, &expected, std::iter::from_fn(|| seen.try_recv().ok()));
    }
    assert!(tally.cases >= 60, "{}", tally.cases);
    tally.agrees_with(&callee).await;
    tally.show("spoofed callers", "h1 to h2 to h1");
}
