//! What is kept of a body: so much, and only while it may be sent again.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use cellwall_testkit::{ca::Svid, tls::DangerousParty};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::mpsc, task::JoinSet};

use super::{KEY, PAID, Street, UNKNOWN, calling, chunked, is, pay, street, text, told};
use crate::{
    bank::{Came, Does},
    kit::{DEADLINE, Town, eventually},
    played::accepting,
};

#[tokio::test]
async fn what_is_longer_than_64_kib_or_has_trailers_is_made_once() {
    let street = street().await;
    let (most, more) = ("m".repeat(64 * 1024), "m".repeat(64 * 1024 + 1));
    for (request, times) in [
        (text("POST /v1/payments", KEY, &most), 2),
        (text("POST /v1/payments", KEY, &more), 1),
        (chunked(KEY, &most, ""), 2),
        (chunked(KEY, &more, ""), 1),
        (chunked(&format!("{KEY}trailer: x-sum\r\n"), "money", "x-sum: 1\r\n"), 1),
    ] {
        street.bank.next(&[Does::Dies]);
        let told = pay(street.door(), &request).await;
        let expected = if times == 2 { PAID } else { UNKNOWN };
        assert_eq!(is(&told), expected, "{times}, {} bytes", request.len());
        let came = street.bank.came();
        assert_eq!(came.len(), times);
        assert!(came.iter().all(|it| it.body == came[0].body && !it.body.is_empty()));
    }
    // What is known to be too long is not even begun to be kept.
    assert_eq!(street.retries("not_kept").await.to_string(), "2");
}

#[tokio::test]
async fn what_cannot_be_sent_again_is_not_taken_from_the_budget() {
    let street = street().await;
    let (calls, more) = (15, "m".repeat(64 * 1024 + 1));
    let trailer = format!("{KEY}trailer: x-a\r\n");
    street.bank.next(&[Does::Dies; 31]);
    for _ in 0..calls {
        let told = pay(street.door(), &chunked(&trailer, "a", "x-a: 1\r\n")).await;
        assert_eq!(is(&told), UNKNOWN);
        // Nor is it a call of which a fifth may be made twice.
        let told = pay(street.door(), &text("POST /v1/payments", KEY, &more)).await;
        assert_eq!(is(&told), UNKNOWN);
    }
    let told = pay(street.door(), &text("POST /v1/payments", KEY, "money")).await;
    assert_eq!(is(&told), PAID);
    assert_eq!(street.retries("not_kept").await.to_string(), calls.to_string());
}

/// Sends a payment but for its `left` last bytes, waits until the callee's sidecar shows `sign` of it
/// and it is `broken`, and sends the rest: the bodies of what came whole then.
async fn uploaded(
    street: &Street,
    (whole, left): (&str, usize),
    sign: (&str, (&str, &str)),
    broken: impl AsyncFnOnce(),
) -> Vec<Came> {
    let (begin, rest) = whole.split_at(whole.len() - left);
    let mut app = TcpStream::connect(street.door()).await.unwrap();
    app.write_all(begin.as_bytes()).await.unwrap();
    let (metric, label) = sign;
    eventually(metric, async || street.callee.metrics().await.sum(metric, &[label]) > 0.0).await;
    broken().await;
    app.write_all(rest.as_bytes()).await.unwrap();
    assert_eq!(is(&told(&mut app).await), PAID);
    street.bank.came()
}

#[tokio::test]
async fn an_upload_that_is_cut_in_the_middle_begins_anew_and_goes_on() {
    let street = street().await;
    let sign = ("cellwall_calls_open", ("direction", "inbound"));
    let whole = text("POST /v1/payments", KEY, "abcdefgh");
    let came = uploaded(&street, (&whole, 4), sign, || street.cut()).await;
    assert_eq!(came.iter().map(|it| &*it.body).collect::<Vec<_>>(), [b"abcdefgh"]);
}

#[tokio::test]
async fn an_upload_that_is_cut_early_goes_on_beyond_what_is_kept() {
    let street = street().await;
    let sign = ("cellwall_calls_open", ("direction", "inbound"));
    let body = "m".repeat(100 * 1024);
    let whole = chunked(KEY, &body, "");
    let came = uploaded(&street, (&whole, 90 * 1024), sign, || street.cut()).await;
    assert_eq!(came.iter().map(|it| &*it.body).collect::<Vec<_>>(), [body.as_bytes()]);
}

#[tokio::test]
async fn an_upload_that_is_answered_before_its_end_begins_anew_and_goes_on() {
    let street = street().await;
    street.bank.next(&[Does::DiesAtOnce]);
    let sign = ("cellwall_upstream_failures_total", ("dst", "payments"));
    let whole = text("POST /v1/payments", KEY, "abcdefgh");
    let came = uploaded(&street, (&whole, 4), sign, async || {}).await;
    assert_eq!(came.iter().map(|it| &*it.body).collect::<Vec<_>>(), [b"abcdefgh"]);
}

/// A sidecar of payments that says of the first request that nobody knows, and leaves the rest of it
/// unread; of later ones it reads all and answers. The bodies come from the channel.
async fn hasty(svid: &Svid) -> (SocketAddr, mpsc::Receiver<Incoming>, JoinSet<()>) {
    let party = DangerousParty::presenting(svid).alpn(&["h2"]);
    let (say, bodies) = mpsc::channel(4);
    let (address, tasks) = accepting(move |tcp| {
        let (party, say) = (party.clone(), say.clone());
        let first = AtomicBool::new(true);
        let service = service_fn(move |request: Request<Incoming>| {
            let (say, is_first) = (say.clone(), first.swap(false, Ordering::Relaxed));
            async move {
                let status = if is_first { 502 } else { 200 };
                let mut response = Response::builder().status(status);
                if is_first {
                    response = response.header("cellwall-outcome", "unknown");
                }
                say.send(request.into_body()).await.map_err(|_| "the test is over")?;
                Ok::<_, &'static str>(response.body(Full::<Bytes>::default()).unwrap())
            }
        });
        async move {
            let Ok(stream) = party.accept(tcp).await else { return };
            let server = http2::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    (address, bodies, tasks)
}

#[tokio::test]
async fn the_rest_of_an_upload_goes_to_the_second_attempt_alone() {
    let town = Town::new().await;
    let (address, mut bodies, _tasks) = hasty(&town.svid("payments")).await;
    let caller = calling(&town, &[address]).await;
    let whole = text("POST /v1/payments", KEY, "abcdefgh");
    let (begin, rest) = whole.split_at(whole.len() - 4);
    let mut app = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
    app.write_all(begin.as_bytes()).await.unwrap();
    let mut next = async || tokio::time::timeout(DEADLINE, bodies.recv()).await.unwrap().unwrap();
    let (first, second) = (next().await, next().await);
    // Its stream is reset, and not left to whatever comes.
    let first = tokio::time::timeout(DEADLINE, first.collect()).await.unwrap();
    assert!(first.is_err(), "{first:?}");
    app.write_all(rest.as_bytes()).await.unwrap();
    let second = tokio::time::timeout(DEADLINE, second.collect()).await.unwrap();
    assert_eq!(second.unwrap().to_bytes(), "abcdefgh");
    assert_eq!(is(&told(&mut app).await), PAID);
}
