//! What a caller sends is cut with its authority, whatever becomes of the answer (AZ-10).

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use cellwall_policy::SnapshotDocument;
use http::Request;
use http_body_util::StreamBody;
use hyper::{body::Frame, client};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    kit::{DEADLINE, Town, eventually, payments},
    played::accepting,
};

/// How the workload answers while the caller goes on sending, and how the caller reads.
const ANSWERS: [(&str, &str, u32); 3] = [
    ("a head, and then nothing", "transfer-encoding: chunked\r\n\r\n", 65_535),
    ("all of it, at once", "content-length: 0\r\n\r\n", 65_535),
    ("more than the caller takes", "transfer-encoding: chunked\r\n\r\n1\r\n.\r\n", 0),
];

/// A workload that answers at once, and says when nothing comes any more.
async fn workload(answer: &'static str) -> (SocketAddr, mpsc::Receiver<usize>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (say, came) = mpsc::channel(1024);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut octets = [0; 4096];
        let read = tcp.read(&mut octets).await.unwrap();
        assert!(octets[..read].starts_with(b"POST /v1/payments"));
        tcp.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes()).await.unwrap();
        while let Ok(read @ 1..) = tcp.read(&mut octets).await {
            let _ = say.try_send(read); // nobody has to count
        }
    });
    (address, came, tasks)
}

#[tokio::test]
async fn an_upload_ends_with_the_permission_whatever_the_answer_does() {
    for (name, answer, window) in ANSWERS {
        let town = Town::new().await;
        let (address, mut came, _workload) = workload(answer).await;
        let (plan, policy) = payments();
        let sidecar = town.beside(plan, address).await;
        let sidecar = town.made_ready(sidecar, "payments", policy.clone()).await;
        let io = TokioIo::new(sidecar.dial(&town.svid("checkout"), &["h2"]).await);
        let (mut sender, connection) = client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window)
            .handshake(io)
            .await
            .unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async { drop(connection.await) });
        let (upload, body) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
        let request = Request::post("http://a/v1/payments");
        let request = request.body(StreamBody::new(ReceiverStream::new(body))).unwrap();
        tasks.spawn(async move {
            while upload.send(Ok(Frame::data(Bytes::from_static(b"more")))).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let _unread = sender.send_request(request).await.unwrap();
        tokio::time::timeout(DEADLINE, came.recv()).await.unwrap().unwrap();
        town.publish(SnapshotDocument { rules: Vec::new(), ..policy });
        let cut = async { while came.recv().await.is_some() {} };
        assert!(tokio::time::timeout(DEADLINE, cut).await.is_ok(), "{name}: it goes on");
    }
}

#[tokio::test]
async fn an_upload_that_loses_its_permission_is_never_told_as_an_error_of_the_workload() {
    // AZ-10: the upload is cut in the same moment, and its call has an error of that as well
    const UPLOADS: usize = 64;
    let town = Town::new().await;
    let (say, mut came) = mpsc::channel(UPLOADS);
    let (address, _workload) = accepting(move |mut tcp| {
        let say = say.clone();
        async move {
            let mut octets = Vec::new();
            // Never answered.
            while let Ok(1..) = tcp.read_buf(&mut octets).await {
                if octets.ends_with(b"more\r\n") {
                    say.send(()).await.unwrap();
                }
            }
        }
    })
    .await;
    let (plan, policy) = payments();
    let sidecar = town.beside(plan, address).await;
    let sidecar = town.made_ready(sidecar, "payments", policy.clone()).await;
    let io = TokioIo::new(sidecar.dial(&town.svid("checkout"), &["h2"]).await);
    let (sender, connection) =
        client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async { drop(connection.await) });
    let mut uploads = Vec::new();
    for _ in 0..UPLOADS {
        let (upload, body) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
        upload.send(Ok(Frame::data(Bytes::from_static(b"more")))).await.unwrap();
        let request = Request::post("http://a/v1/payments");
        let request = request.body(StreamBody::new(ReceiverStream::new(body))).unwrap();
        let mut sender = sender.clone();
        tasks.spawn(async move { drop(sender.send_request(request).await) });
        uploads.push(upload);
    }
    for _ in 0..UPLOADS {
        tokio::time::timeout(DEADLINE, came.recv()).await.unwrap().unwrap();
    }
    town.publish(SnapshotDocument { rules: Vec::new(), ..policy });
    let told = || {
        let lines = sidecar.process.stdout().json().unwrap();
        let calls = lines.into_iter().filter(|line| line["kind"] == "call");
        calls.map(|line| line["cellwall.reason"].clone()).collect::<Vec<_>>()
    };
    eventually("told", async || told().len() == UPLOADS).await;
    assert_eq!(told(), vec!["policy_revoked"; UPLOADS]);
}
