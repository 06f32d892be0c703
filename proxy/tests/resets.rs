//! Connections cut at every byte of a payment, everywhere on its way: it is paid at most once, and
//! whoever pays knows what is known.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use cellwall_policy::{IdempotentBy, IdempotentDocument, Protocol};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    chaos::{Chaos, Cut, How, Sent},
    kit::{Plan, Sidecar, Town, checkout, destination, evidence, http, is_asked_for_all, policy},
    played::accepting,
};

/// How many calls are made in all: for `cargo evidence`, as many as the goal names.
const CALLS: u64 = 600;
const WANTED: u64 = 1_000_000;

/// Callers at once.
const AT_ONCE: u64 = 4;

/// A call that has not ended by then hangs.
const HANGS: Duration = Duration::from_secs(30);

/// Where connections are cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    App,
    Sidecars,
    Workload,
}

/// The places, each with its share of all calls in tenths, and how many bytes are counted through
/// before the count begins anew: a call from the app, a handshake and some calls between the
/// sidecars, some calls to the workload.
const PLACES: [(Place, u64, u64); 3] =
    [(Place::App, 4, 420), (Place::Sidecars, 2, 9_000), (Place::Workload, 4, 1_500)];

/// Has no factor in common with any of them.
const STRIDE: u64 = 1_637;

/// What the caller was told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Told {
    Done,
    NotDone,
    /// An answer says so, or there is none that is whole.
    Unknown,
}

/// Whether the policy declares payments idempotent, and callers send a key with them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Declared {
    ByKey,
    Not,
}

/// How often each payment came, by its number.
type Ledger = Arc<Vec<AtomicU8>>;

/// What was counted.
#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    not_done: AtomicU64,
    unknown_done: AtomicU64,
    unknown_not_done: AtomicU64,
    /// What was told is not what the ledger says.
    wrong: AtomicU64,
    twice: AtomicU64,
}

fn calls() -> u64 {
    if is_asked_for_all() { WANTED } else { CALLS }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_is_paid_once_or_not_and_its_caller_knows_what_is_known() {
    let mut figures = serde_json::Map::new();
    let (mut all, mut wrong, mut twice) = (0, 0, 0);
    for (place, tenths, span) in PLACES {
        let calls = calls() * tenths / 10;
        let counts = cut_at((place, span), calls, Declared::Not).await;
        let number = |count: &AtomicU64| count.load(Relaxed);
        let told = json!({
            "calls": calls,
            "done": number(&counts.done),
            "not_done": number(&counts.not_done),
            "unknown_and_done": number(&counts.unknown_done),
            "unknown_and_not_done": number(&counts.unknown_not_done),
        });
        // Cuts were seen, and calls got through beside them.
        assert!(number(&counts.done) > 0, "{place:?}: {told}");
        assert!(number(&counts.done) < calls, "{place:?}: {told}");
        figures.insert(format!("{place:?}").to_lowercase(), told);
        all += calls;
        wrong += number(&counts.wrong);
        twice += number(&counts.twice);
    }
    let sums = [("calls", all), ("told_wrongly", wrong), ("paid_twice", twice)];
    figures.extend(sums.map(|(name, sum)| (name.to_owned(), sum.into())));
    evidence(&figures.into());
    assert_eq!((wrong, twice), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_payment_may_come_twice_and_its_caller_knows_what_is_known_all_the_same() {
    let (mut wrong, mut twice) = (0, 0);
    for (place, tenths, span) in PLACES {
        let counts = cut_at((place, span), CALLS * tenths / 10, Declared::ByKey).await;
        assert!(counts.done.load(Relaxed) > 0, "{place:?}");
        wrong += counts.wrong.load(Relaxed);
        if place == Place::App {
            // The sidecar has no call to make again: its caller has gone.
            assert_eq!(counts.twice.load(Relaxed), 0);
        }
        twice += counts.twice.load(Relaxed);
    }
    assert_eq!(wrong, 0);
    assert!(twice > 0, "no second attempt was ever made of one that had been done");
}

/// Pays through sidecars with connections cut at one place.
async fn cut_at((place, span): (Place, u64), calls: u64, declared: Declared) -> Arc<Counts> {
    let plan = move |number: u64| Cut {
        of: if number.is_multiple_of(2) { Sent::There } else { Sent::Back },
        // Every number below the span comes, and a few connections are enough to come far.
        after: number / 4 * STRIDE % span,
        how: if (number / 2).is_multiple_of(2) { How::Reset } else { How::End },
    };
    let ledger: Ledger = Arc::new((0..calls).map(|_| AtomicU8::new(0)).collect());
    let (workload, _workload) = workload(ledger.clone()).await;
    let chaos = async |wanted: Place, target: SocketAddr| match place == wanted {
        true => Some(Chaos::start(target, plan).await),
        false => None,
    };
    let town = Town::new().await;
    let cut = chaos(Place::Workload, workload).await;
    let payments = payments(&town, cut.as_ref().map_or(workload, |it| it.address)).await;
    let between = chaos(Place::Sidecars, payments.inbound).await;
    let callee = between.as_ref().map_or(payments.inbound, |it| it.address);
    town.control.set_endpoints("payments", &[callee.to_string()]);
    let mut payments_there = destination("payments", Protocol::Http);
    if declared == Declared::ByKey {
        let (call, by) = (http("POST", "/v1/payments"), Some(IdempotentBy::Key));
        payments_there.idempotent.push(IdempotentDocument { call, by });
    }
    let (plan_of, policy) = checkout(&["payments"], vec![payments_there]);
    let caller = town.sidecar(plan_of, policy).await;
    caller.knows("payments").await;
    let front = chaos(Place::App, caller.outbound["payments"]).await;
    let door = front.as_ref().map_or(caller.outbound["payments"], |it| it.address);
    let counts = Arc::new(Counts::default());
    let mut callers = JoinSet::new();
    for first in 0..AT_ONCE {
        let (ledger, counts) = (ledger.clone(), counts.clone());
        callers.spawn(async move {
            for number in (first..calls).step_by(usize::try_from(AT_ONCE).unwrap()) {
                let told = tokio::time::timeout(HANGS, pay(door, number, declared)).await.unwrap();
                let paid = ledger[usize::try_from(number).unwrap()].load(Relaxed);
                let count = match (told, paid) {
                    (Told::Done, 1) => &counts.done,
                    (Told::NotDone, 0) => &counts.not_done,
                    (Told::Unknown, 1) => &counts.unknown_done,
                    (Told::Done, 2) if declared == Declared::ByKey => &counts.done,
                    (Told::Unknown, 2) if declared == Declared::ByKey => &counts.unknown_done,
                    (Told::Unknown, 0) => &counts.unknown_not_done,
                    (Told::Done | Told::NotDone | Told::Unknown, _) => {
                        println!("{place:?} {number}: {told:?}, paid {paid} times");
                        &counts.wrong
                    }
                };
                count.fetch_add(1, Relaxed);
            }
        });
    }
    while let Some(end) = callers.join_next().await {
        end.unwrap();
    }
    // What came late came once as well.
    drop((caller, payments));
    let twice = ledger.iter().filter(|paid| paid.load(Relaxed) > 1).count();
    counts.twice.store(u64::try_from(twice).unwrap(), Relaxed);
    counts
}

async fn payments(town: &Town, workload: SocketAddr) -> Sidecar {
    let plan = Plan { name: "payments", speaks: Protocol::Http, outbound: &[] };
    let sidecar = town.beside(plan, workload).await;
    let policy = policy("payments", Protocol::Http, &[http("POST", "/v1/payments")]);
    town.made_ready(sidecar, "payments", policy).await
}

/// A workload that pays what it is asked for whole.
async fn workload(ledger: Ledger) -> (SocketAddr, JoinSet<()>) {
    accepting(move |tcp| {
        let ledger = ledger.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let ledger = ledger.clone();
            async move {
                let body = request.into_body().collect().await?.to_bytes();
                let number = std::str::from_utf8(&body).unwrap().parse::<usize>().unwrap();
                ledger[number].fetch_add(1, Relaxed);
                Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from_static(b"paid"))))
            }
        });
        async move {
            let _ = http1::Builder::new().serve_connection(TokioIo::new(tcp), service).await;
        }
    })
    .await
}

/// One payment, over a connection of its own.
async fn pay(door: SocketAddr, number: u64, declared: Declared) -> Told {
    let body = number.to_string();
    let key = match declared {
        Declared::ByKey => format!("idempotency-key: {number}\r\n"),
        Declared::Not => String::new(),
    };
    let request = format!(
        "POST /v1/payments HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n{key}\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let Ok(mut tcp) = TcpStream::connect(door).await else { return Told::NotDone };
    let mut answer = Vec::new();
    let _ = tcp.write_all(request.as_bytes()).await;
    let read = tcp.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return Told::Unknown };
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    let length = field("content-length: ").and_then(|length| length.parse().ok());
    if length != Some(body.len()) {
        // RFC 9112 §8: an answer without its end is no whole one.
        assert!(read.is_err() || length.is_some() || body.is_empty(), "{answer}");
        return Told::Unknown;
    }
    match (head.split(' ').nth(1), field("cellwall-outcome: ")) {
        (Some("200"), None) if body == "paid" => Told::Done,
        (Some("503"), Some("not-done")) => Told::NotDone,
        (Some("502" | "504"), Some("unknown")) => Told::Unknown,
        _ => panic!("{answer}"),
    }
}
