//! The generator against servers that stall, refuse and hang up.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cellwall_bench::{
    ClosedLoop, Connections, Control, OpenLoop, Report, Target, closed_loop, open_loop,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What a server does with its n-th request, counted from 1.
#[derive(Clone, Copy)]
enum Answer {
    Text(&'static str),
    After(Duration),
    HangUp,
}

/// A server that answers as `answer` says. It ends with the test.
async fn serve(answer: fn(u64) -> Answer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (requests, tasks) = (Arc::new(AtomicU64::new(0)), TaskTracker::new());
    tasks.clone().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tasks.spawn(connection(stream, requests.clone(), answer));
        }
    });
    address
}

async fn connection(mut stream: TcpStream, requests: Arc<AtomicU64>, answer: fn(u64) -> Answer) {
    let mut bytes = Vec::new();
    loop {
        while !bytes.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => bytes.push(byte),
                Err(_) => return,
            }
        }
        bytes.clear();
        let text = match answer(requests.fetch_add(1, Ordering::Relaxed) + 1) {
            Answer::Text(text) => text,
            Answer::After(delay) => {
                tokio::time::sleep(delay).await;
                OK
            }
            Answer::HangUp => return,
        };
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn open(address: SocketAddr, rate: f64, connections: usize, milliseconds: u64) -> Report {
    let duration = Some(Duration::from_millis(milliseconds));
    let target = Target::new(address, "GET /").unwrap();
    open_loop(target, OpenLoop { rate, connections, duration }, Control::default()).await.unwrap()
}

#[tokio::test]
async fn a_schedule_is_kept_over_the_connections_that_it_was_given() {
    let address = serve(|_| Answer::Text(OK)).await;

    let report = open(address, 500.0, 4, 400).await;

    assert_eq!((report.sent, report.ok, report.failed()), (200, 200, 0));
    assert_eq!((report.connections_opened, report.connections_closed), (4, 0));
    assert!(report.seconds >= 0.398, "{report:?}");
}

#[tokio::test]
async fn a_stall_counts_for_every_request_that_should_have_started_in_it() {
    // The first answer takes 400 ms. Of the 100 requests of the schedule about 80 should start
    // meanwhile, and wait 400, 395, 390 … ms: more than half wait for more than 100 ms. A closed
    // loop would have seen one slow request.
    let stall =
        |n| if n == 1 { Answer::After(Duration::from_millis(400)) } else { Answer::Text(OK) };
    let address = serve(stall).await;

    let report = open(address, 200.0, 1, 500).await;

    assert_eq!(report.ok, 100);
    assert!(report.latency_us.max >= 400_000, "{report:?}");
    assert!(report.latency_us.p50 >= 100_000, "{report:?}");
}

#[tokio::test]
async fn errors_are_counted_by_kind_and_a_connection_that_ends_is_counted_too() {
    let address = serve(|n| match n {
        1 => Answer::Text("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"),
        2 => Answer::HangUp,
        _ => Answer::Text(OK),
    });
    let address = address.await;

    let report = open(address, 100.0, 1, 50).await;

    let kinds = [("closed".to_owned(), 1), ("status_403".to_owned(), 1)];
    assert_eq!(report.errors, kinds.into());
    assert_eq!((report.sent, report.ok), (5, 3));
    assert_eq!((report.connections_opened, report.connections_closed), (2, 1));
}

#[tokio::test]
async fn no_server_and_no_answer_are_kinds_of_their_own() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let report = open(gone, 100.0, 2, 50).await;
    assert_eq!(report.errors, [("connect".to_owned(), 5)].into());

    let slow = serve(|_| Answer::After(Duration::from_secs(60))).await;
    let target = Target::new(slow, "GET /").unwrap().timeout(Duration::from_millis(50));
    let load = OpenLoop { rate: 10.0, connections: 2, duration: Some(Duration::from_millis(200)) };
    let report = open_loop(target, load, Control::default()).await.unwrap();
    assert_eq!(report.errors, [("timeout".to_owned(), 2)].into());
    // Given up by us.
    assert_eq!(report.connections_closed, 0);
}

#[tokio::test]
async fn a_closed_loop_keeps_its_connections_or_opens_one_for_each_request() {
    let address = serve(|_| Answer::Text(OK)).await;
    let run = async |connections| {
        let duration = Some(Duration::from_millis(100));
        let target = Target::new(address, "GET /").unwrap();
        let load = ClosedLoop { clients: 3, connections, duration };
        closed_loop(target, load, Control::default()).await.unwrap()
    };

    let kept = run(Connections::Kept).await;
    let new = run(Connections::PerRequest).await;

    assert_eq!((kept.connections_opened, kept.failed()), (3, 0));
    assert_eq!((new.connections_opened, new.failed()), (new.ok, 0));
    assert_eq!((kept.connections_closed, new.connections_closed), (0, 0));
    assert!(kept.ok > 3);
}

#[tokio::test]
async fn a_run_without_an_end_is_stopped_and_tells_its_progress() {
    let address = serve(|_| Answer::Text(OK)).await;
    let (sender, mut lines) = mpsc::channel(4);
    let control = Control { stop: CancellationToken::new(), progress: Some(sender) };
    let load = OpenLoop { rate: 100.0, connections: 2, duration: None };
    let run = open_loop(Target::new(address, "GET /").unwrap(), load, control.clone());

    let watch = async {
        let progress = lines.recv().await.unwrap();
        control.stop.cancel();
        progress
    };
    let (report, progress) = tokio::join!(run, watch);
    let report = report.unwrap();

    assert!(progress.ok > 0 && progress.ok <= report.ok, "{progress:?} {report:?}");
    assert_eq!((report.sent, report.failed()), (report.ok, 0));
}
