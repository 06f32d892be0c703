//! Requests with more than one reading, or none, on the wire: what is refused, what is sent on, and
//! where a connection ends.

use cellwall_policy::{GuardDocument, Mode, SnapshotDocument};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    forwarding::{played, read_until},
    kit::{DEADLINE, Sidecar, Town, http, payments},
    raw_h2::{PAYMENT, RawH2},
    spoofs::{self, Fields},
};

/// Sends `request` as checkout; all that comes back until the connection is closed.
async fn told(town: &Town, sidecar: &Sidecar, request: &[u8]) -> String {
    let mut caller = sidecar.dial(&town.svid("checkout"), &["http/1.1"]).await;
    caller.write_all(request).await.unwrap();
    let mut got = Vec::new();
    let read = tokio::time::timeout(DEADLINE, caller.read_to_end(&mut got)).await;
    read.unwrap().ok(); // closed in time; how it ends is no matter
    String::from_utf8_lossy(&got).into_owned()
}

/// Lines of a head that leave no single reading; each follows `POST /v1/payments HTTP/1.1`.
const REFUSED: [(&str, &[u8]); 24] = [
    ("no host", b"content-length: 0\r\n"),
    ("an empty host", b"host: \r\ncontent-length: 0\r\n"),
    ("two hosts", b"host: payments\r\nhost: ledger\r\ncontent-length: 0\r\n"),
    ("the host twice", b"host: payments\r\nhost: payments\r\ncontent-length: 0\r\n"),
    ("two hosts in a line", b"host: payments, ledger\r\ncontent-length: 0\r\n"),
    ("userinfo", b"host: u@payments\r\ncontent-length: 0\r\n"),
    ("a path", b"host: payments/v2\r\ncontent-length: 0\r\n"),
    ("an escape", b"host: pay%6dents\r\ncontent-length: 0\r\n"),
    ("a port that is none", b"host: payments:x\r\ncontent-length: 0\r\n"),
    ("an empty port", b"host: payments:\r\ncontent-length: 0\r\n"),
    ("port 0", b"host: payments:0\r\ncontent-length: 0\r\n"),
    ("a port above the last", b"host: payments:65536\r\ncontent-length: 0\r\n"),
    ("a signed port", b"host: payments:+80\r\ncontent-length: 0\r\n"),
    ("two dots", b"host: payments..\r\ncontent-length: 0\r\n"),
    ("a dot alone", b"host: .\r\ncontent-length: 0\r\n"),
    ("no name but a port", b"host: :80\r\ncontent-length: 0\r\n"),
    ("an address that is none", b"host: [::1::2]\r\ncontent-length: 0\r\n"),
    ("a zone", b"host: [fe80::1%25eth0]\r\ncontent-length: 0\r\n"),
    ("a nomination beyond ASCII", b"host: payments\r\nconnection: x-\xe9\r\ncontent-length: 0\r\n"),
    ("a nomination of two words", b"host: payments\r\nconnection: x y\r\ncontent-length: 0\r\n"),
    ("another expectation", b"host: payments\r\nexpect: 200-ok\r\ncontent-length: 0\r\n"),
    ("two expectations", b"host: payments\r\nexpect: 100-continue, x\r\ncontent-length: 0\r\n"),
    ("two codings", b"host: payments\r\ntransfer-encoding: gzip, chunked\r\n"),
    (
        "chunks of chunks",
        b"host: payments\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
    ),
];

#[tokio::test]
async fn a_head_with_two_readings_is_refused_and_the_connection_closed() {
    // HTTP-02, HTTP-05, HTTP-11, HTTP-13, HTTP-17: the second request of each is never read
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let second =
        b"\r\n0\r\n\r\nPOST /v1/payments HTTP/1.1\r\nhost: payments\r\ncontent-length: 0\r\n\r\n";
    for (case, lines) in REFUSED {
        let request = [b"POST /v1/payments HTTP/1.1\r\n", lines, &second[..]].concat();
        let got = told(&town, &callee, &request).await;
        assert!(got.starts_with("HTTP/1.1 400 "), "{case}: {got}");
        assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{case}: {got}");
    }
    for target in ["http://ledger/v1/payments", "gopher://payments/v1/payments", "payments:80", "*"]
    {
        let request =
            format!("POST {target} HTTP/1.1\r\nhost: payments\r\ncontent-length: 0\r\n\r\n");
        let got = told(&town, &callee, request.as_bytes()).await;
        assert!(got.starts_with("HTTP/1.1 400 "), "{target}: {got}");
    }
    assert_eq!(callee.seen(), []);
}

/// What a caller says of the host, and what the workload reads.
const HOSTS: [(&str, &str, &str); 9] = [
    ("/v1/payments", "payments", "payments"),
    ("/v1/payments", "PayMents", "payments"),
    ("/v1/payments", "payments.", "payments"),
    ("/v1/payments", "payments:80", "payments"),
    ("/v1/payments", "PAYMENTS.:80", "payments"),
    ("/v1/payments", "payments:08443", "payments:8443"),
    ("/v1/payments", "[2001:DB8:0::1]:80", "[2001:db8::1]"),
    ("http://PAYMENTS.:80/v1/payments", "payments", "payments"),
    ("https://payments/v1/payments", "payments:80", "payments"),
];

#[tokio::test]
async fn the_workload_reads_one_spelling_of_the_host() {
    // HTTP-06, HTTP-11, HTTP-17
    let town = Town::new().await;
    let (sidecar, workload) = played(&town).await;
    let mut workload = spoofs::workload(workload).await;
    for (target, host, read) in HOSTS {
        let request =
            format!("POST {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let got = told(&town, &sidecar, request.as_bytes()).await;
        assert!(got.starts_with("HTTP/1.1 200 "), "{target} {host}: {got}");
        let seen = String::from_utf8(workload.seen.recv().await.unwrap()).unwrap();
        let mut lines = seen.lines();
        assert_eq!(lines.next(), Some("POST /v1/payments HTTP/1.1"), "{target} {host}");
        let hosts: Vec<_> = lines.filter(|line| line.starts_with("host:")).collect();
        assert_eq!(hosts, [format!("host: {read}")], "{target} {host}");
    }
}

#[tokio::test]
async fn over_http_2_there_is_one_host_too_and_a_scheme_of_ours() {
    // HTTP-05, HTTP-14, HTTP-17, HTTP-18
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let [method, scheme, authority, path] = PAYMENT;
    let host = |value: &str| (b"host".to_vec(), value.as_bytes().to_vec());
    let refused = [
        ("no host", vec![method, scheme, path], vec![]),
        ("two hosts", vec![method, scheme, path], vec![host("payments"), host("ledger")]),
        ("another host", PAYMENT.to_vec(), vec![host("ledger")]),
        ("userinfo", vec![method, scheme, (":authority", "u@payments"), path], vec![]),
        ("another scheme", vec![method, (":scheme", "gopher"), authority, path], vec![]),
        ("a tunnel", vec![(":method", "CONNECT"), (":authority", "127.0.0.1:80")], vec![]),
        ("an echo", vec![(":method", "TRACE"), scheme, authority, path], vec![]),
        ("no method of ours", vec![(":method", "post"), scheme, authority, path], vec![]),
        ("no path", vec![method, scheme, authority, (":path", "*")], vec![]),
        ("chunks", PAYMENT.to_vec(), vec![(b"transfer-encoding".to_vec(), b"chunked".to_vec())]),
        ("two lengths", PAYMENT.to_vec(), vec![(b"content-length".to_vec(), b"4".to_vec()); 2]),
        ("a longer length", PAYMENT.to_vec(), vec![(b"content-length".to_vec(), b"9".to_vec())]),
    ];
    let asked = async |pseudo: &[(&str, &str)], head| {
        let stream = callee.dial(&town.svid("checkout"), &["h2"]).await;
        let mut connection = RawH2::begin(stream).await;
        let fields = Fields { head, ..Fields::default() };
        let answered = connection.asked(pseudo, &fields);
        tokio::time::timeout(DEADLINE, answered).await.unwrap().unwrap_or(false)
    };
    for (case, pseudo, head) in refused {
        assert!(!asked(&pseudo, head).await, "{case}");
    }
    assert_eq!(callee.seen(), []);
    assert!(asked(&PAYMENT, vec![host("PAYMENTS.:80")]).await, "the same host, said twice");
    assert!(asked(&[method, (":scheme", "https"), authority, path], vec![]).await);
    assert_eq!(callee.seen().len(), 2);
}

#[tokio::test]
async fn a_method_that_no_policy_can_name_passes_no_guard_in_audit() {
    // HTTP-18: a guard on POST says nothing of `post`, and an app may read both as one
    let town = Town::new().await;
    let (plan, policy) = payments();
    let guard = GuardDocument {
        name: "no-refunds".to_owned(),
        calls: vec![http("POST", "/v1/refunds")],
        from: cellwall_policy::Callers::Any,
        ..policy.guards[0].clone()
    };
    let policy = SnapshotDocument { mode: Mode::Audit, guards: vec![guard], ..policy };
    let callee = town.sidecar(plan, policy).await;
    let asks = async |method: &str| {
        let request = format!(
            "{method} /v1/refunds HTTP/1.1\r\nhost: payments\r\n\
            connection: close\r\ncontent-length: 0\r\n\r\n"
        );
        told(&town, &callee, request.as_bytes()).await
    };
    assert!(asks("POST").await.starts_with("HTTP/1.1 403 "));
    for method in ["post", "pOsT", "POST~", "POST1", "CONNECT", "TRACE", &"A".repeat(33)] {
        let got = asks(method).await;
        assert!(got.starts_with("HTTP/1.1 400 "), "{method}: {got}");
    }
    assert_eq!(callee.seen(), []);
    assert!(asks("GET").await.starts_with("HTTP/1.1 200 "), "audit lets it pass");
}

#[tokio::test]
async fn nothing_is_read_after_an_upgrade_that_was_not_granted() {
    // HTTP-12: whoever asked may go on in the other protocol, and its bytes are no request of ours
    let town = Town::new().await;
    let (sidecar, workload) = played(&town).await;
    let mut workload = spoofs::workload(workload).await;
    let upgrade =
        "host: payments\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 0\r\n\r\n";
    let hidden = "POST /v1/payments HTTP/1.1\r\nhost: payments\r\ncontent-length: 0\r\n\r\n";
    for (path, status) in [("/v1/payments", "200"), ("/v1/other", "403"), ("/v1/../x", "400")] {
        let request = format!("POST {path} HTTP/1.1\r\n{upgrade}{hidden}");
        let got = told(&town, &sidecar, request.as_bytes()).await;
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{got}");
        assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{got}");
        assert!(got.contains("\r\nconnection: close\r\n"), "{got}");
    }
    let seen = workload.seen.recv().await.unwrap();
    assert!(!String::from_utf8(seen).unwrap().contains("upgrade"));
    assert!(workload.seen.try_recv().is_err(), "what followed was read as a request");
}

#[tokio::test]
async fn whoever_waits_for_100_gets_it_once_policy_allows_the_call() {
    // RFC 9110 §10.1.1: a denied upload is not asked for
    let town = Town::new().await;
    let (sidecar, workload): (_, TcpListener) = played(&town).await;
    let expects = "host: payments\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\
        connection: close\r\n\r\n";
    let denied = format!("POST /v1/other HTTP/1.1\r\n{expects}");
    assert!(told(&town, &sidecar, denied.as_bytes()).await.starts_with("HTTP/1.1 403 "));
    let mut caller = sidecar.dial(&town.svid("checkout"), &["http/1.1"]).await;
    let allowed = format!("POST /v1/payments HTTP/1.1\r\n{expects}");
    caller.write_all(allowed.as_bytes()).await.unwrap();
    let go_on = read_until(&mut caller, "\r\n\r\n").await;
    assert_eq!(go_on, "HTTP/1.1 100 Continue\r\n\r\n");
    let (mut stream, _) = workload.accept().await.unwrap();
    caller.write_all(b"money").await.unwrap();
    assert!(read_until(&mut stream, "\r\n\r\nmoney").await.ends_with("\r\n\r\nmoney"));
    stream
        .write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await
        .unwrap();
    let got = read_until(&mut caller, "\r\n\r\n").await;
    assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
}
