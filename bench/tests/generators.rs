//! Each generator against the backend that it is for, directly and through a relay.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{net::SocketAddr, time::Duration};

use cellwall_bench::{
    Backend, Bulk, ClosedLoop, Connections, Control, Exchange, Idle, Loopback, Pace, Report,
    Spoken, Streams, Way, bulk, echo_loop, lean_loop, relay, stream_loop,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::TaskTracker;

const TIME: Option<Duration> = Some(Duration::from_millis(100));

fn at(address: SocketAddr) -> Loopback {
    Loopback::new(address).unwrap()
}

const fn clients(connections: Connections) -> ClosedLoop {
    ClosedLoop { clients: 3, connections, duration: TIME }
}

/// No failure, and as many connections as there should be.
fn went_well(report: &Report, opened: u64) {
    assert_eq!((report.failed(), report.connections_opened), (0, opened), "{report:?}");
    assert!(report.ok > 3 && report.latency_us.count == report.ok, "{report:?}");
}

#[tokio::test]
async fn http_1_is_answered_over_kept_and_over_new_connections() {
    let backend = Backend::start().await.unwrap();
    let run = async |connections| {
        lean_loop(at(backend.http), clients(connections), Control::default()).await.unwrap()
    };

    went_well(&run(Connections::Kept).await, 3);
    let new = run(Connections::PerRequest).await;
    went_well(&new, new.sent);
}

#[tokio::test]
async fn the_backend_closes_when_it_is_asked_to_and_answers_all_that_came_before() {
    let backend = Backend::start().await.unwrap();
    let mut stream = TcpStream::connect(backend.http).await.unwrap();
    let call = "GET / HTTP/1.1\r\nhost: a\r\n";
    let calls = format!("{call}\r\n{call}\r\n{call}connection: close\r\n\r\n{call}\r\n");
    stream.write_all(calls.as_bytes()).await.unwrap();

    let mut answers = String::new();
    let all = stream.read_to_string(&mut answers);
    tokio::time::timeout(Duration::from_secs(5), all).await.unwrap().unwrap();

    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
    assert_eq!(answers.matches("connection: close").count(), 1, "{answers}");
}

#[tokio::test]
async fn http_2_and_grpc_share_connections_between_streams() {
    let backend = Backend::start().await.unwrap();
    for exchange in [Exchange::Get, Exchange::Grpc] {
        let load = Streams { connections: 2, streams: 4, exchange, duration: TIME };
        let report = stream_loop(at(backend.http), load, Control::default()).await.unwrap();
        went_well(&report, 2);
    }
}

#[tokio::test]
async fn messages_are_echoed_over_kept_and_over_new_connections() {
    let backend = Backend::start().await.unwrap();
    let run = async |connections| {
        echo_loop(at(backend.echo), clients(connections), Control::default()).await.unwrap()
    };

    went_well(&run(Connections::Kept).await, 3);
    let new = run(Connections::PerRequest).await;
    went_well(&new, new.sent);
}

#[tokio::test]
async fn bytes_pass_both_ways_and_slow_readers_take_few() {
    let backend = Backend::start().await.unwrap();
    let run = async |way, pace| {
        // Long enough for a slow reader to begin on a loaded machine.
        let duration = Some(Duration::from_millis(500));
        let load = Bulk { streams: 2, way, pace, duration };
        let report = bulk(at(backend.bulk), load, Control::default()).await.unwrap();
        assert_eq!((report.ok, report.failed()), (2, 0), "{report:?}");
        report.bytes.unwrap()
    };

    assert!(run(Way::Down, Pace::Full).await > 1024 * 1024);
    assert!(run(Way::Up, Pace::Full).await > 1024 * 1024);
    // Two streams that take 100 bytes at once, and again after 100 ms at the earliest.
    let slow = run(Way::Down, Pace::Slow(100)).await;
    assert!((100..=1200).contains(&slow), "{slow}");
}

#[tokio::test]
async fn idle_connections_have_been_used_and_are_counted() {
    let backend = Backend::start().await.unwrap();
    for (address, spoken) in [(backend.http, Spoken::Http), (backend.echo, Spoken::Tcp)] {
        let idle = Idle::open(at(address), spoken, 100).await.unwrap();
        assert_eq!((idle.opened(), idle.failed()), (100, 0));
        let report = idle.close().await;
        assert_eq!(
            (report.ok, report.connections_opened, report.connections_closed),
            (100, 100, 0)
        );
    }
}

#[tokio::test]
async fn a_relay_changes_nothing() {
    let backend = Backend::start().await.unwrap();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let tasks = TaskTracker::new();
    let to = backend.http;
    tasks.spawn(async move { drop(relay(free, to).await) });

    let load = clients(Connections::Kept);
    // The first attempts may come before the relay listens: they are failures of their own kind.
    let report = lean_loop(at(free), load, Control::default()).await.unwrap();

    assert_eq!(report.failed(), report.errors.get("connect").copied().unwrap_or_default());
    assert!(report.ok > 3, "{report:?}");
}

/// A server that writes this to whoever comes, once.
async fn says(text: &'static str) -> Loopback {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    TaskTracker::new().spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Whoever went meanwhile needs no answer.
            drop(stream.write_all(text.as_bytes()).await);
            drop(stream.shutdown().await);
        }
    });
    at(address)
}

#[tokio::test]
async fn what_is_not_the_backends_answer_is_a_failure_of_its_own_kind() {
    for (text, kind) in [
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", "status_403"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother", "wrong"),
        ("HTTP/1.1 200 OK\r\n", "closed"),
    ] {
        let server = says(text).await;
        let load = clients(Connections::Kept);
        let report = lean_loop(server, load, Control::default()).await.unwrap();
        let kinds = report.errors.keys().cloned().collect::<Vec<_>>();
        // A server that closes before it has read may also cut its answer.
        assert!(report.ok == 0 && kinds.contains(&kind.to_owned()), "{kind}: {report:?}");
    }

    let server = says(
        "not what was sent, and long enough to be taken for an echo of it: \
                       a hundred bytes and some more of them",
    )
    .await;
    let report = echo_loop(server, clients(Connections::Kept), Control::default()).await.unwrap();
    assert!(report.ok == 0 && report.errors.contains_key("wrong"), "{report:?}");
}
