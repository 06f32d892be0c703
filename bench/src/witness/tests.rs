use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_util::task::TaskTracker;

use super::*;
use crate::Backend;

/// Answers every request with 403, one for each connection.
async fn refusing() -> (Loopback, TaskTracker) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = Loopback::new(listener.local_addr().unwrap()).unwrap();
    let tasks = TaskTracker::new();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
        }
    });
    (address, tasks)
}

fn witness(entry: Loopback, denied: Loopback, traffic: Traffic, backend: &Backend) -> Witness {
    Witness::of(entry, denied, traffic, here(backend.strange)).unwrap()
}

fn here(address: SocketAddr) -> Loopback {
    Loopback::new(address).unwrap()
}

#[tokio::test]
async fn who_refuses_is_told_to_have_refused_and_the_backend_has_seen_nothing() {
    let backend = Backend::start().await.unwrap();
    let (refusing, _tasks) = refusing().await;
    let witness = witness(refusing, refusing, Traffic::Http1, &backend);

    let load = tokio::time::timeout(EVERY * 10, std::future::pending::<()>());
    let (_, told) = witness.beside(load).await.unwrap();

    assert!(told.refused > 3, "{told:?}");
    assert_eq!(Told { refused: 0, ..told }, Told::default());
}

#[tokio::test]
async fn where_nothing_is_refused_there_is_no_measurement() {
    let backend = Backend::start().await.unwrap();
    let ports = [
        (backend.http, Traffic::Http1, "Status(200)"),
        (backend.http, Traffic::Grpc, "Grpc(Some(0))"),
        (backend.echo, Traffic::Echo, "Done"),
    ];
    for (port, traffic, outcome) in ports {
        let witness = witness(here(port), here(port), traffic, &backend);

        let error = witness.beside(async {}).await.unwrap_err().to_string();

        assert!(error.ends_with(&format!("ended with {outcome}")), "{error}");
    }
    let witness = witness(here(backend.http), here(backend.http), Traffic::Http1, &backend);
    assert_eq!(witness.seen().await.unwrap(), 3);
}

#[tokio::test]
async fn what_passes_while_the_load_goes_on_is_seen_by_the_backend() {
    let backend = Backend::start().await.unwrap();
    let (refusing, _tasks) = refusing().await;
    let mut witness = witness(refusing, refusing, Traffic::Http1, &backend);
    let open = calls(here(backend.http), here(backend.http), Traffic::Http1);

    // As if the policy were open for those in the middle of the run.
    let mut told = Told::default();
    witness.calls = open;
    let calling = tokio::time::timeout(EVERY * 10, witness.keep_calling(&mut told)).await;

    assert!(calling.is_err() && told.passed >= 2, "{told:?}");
    assert!(witness.seen().await.unwrap() >= told.passed, "{told:?}");
}

#[tokio::test]
async fn a_backend_that_does_not_tell_what_it_has_seen_ends_the_run() {
    let backend = Backend::start().await.unwrap();
    let (refusing, _tasks) = refusing().await;
    let mut witness = witness(refusing, refusing, Traffic::Http1, &backend);
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    witness.strange = here(silent.local_addr().unwrap());
    drop(silent);

    assert!(witness.beside(async {}).await.is_err());
}

#[tokio::test]
async fn what_looks_refused_and_was_seen_all_the_same_is_told() {
    let backend = Backend::start().await.unwrap();
    // The port of bytes ends a connection that asks for something else, as who refuses it does.
    let bulk = here(backend.bulk);
    let witness = witness(bulk, bulk, Traffic::Bulk, &backend);

    let (_, told) = witness.beside(async {}).await.unwrap();

    assert!(told.refused > 0 && told.seen > 0, "{told:?}");
}
