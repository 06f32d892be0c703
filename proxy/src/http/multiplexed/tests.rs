//! Who gets which connection, and who waits.

use std::{
    future::{pending, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use http::{Request, Response};
use tokio::{
    io::{DuplexStream, duplex},
    sync::Notify,
    task::JoinSet,
};

use super::{BUSY, Conn, MAX_CONNECTIONS, Multiplexed};
use crate::{
    CloseReason, Drain,
    http::{Body, handshake_h2},
};

const SOON: Duration = Duration::from_secs(8);

type Callee = h2::server::Connection<DuplexStream, bytes::Bytes>;

/// Whether it is still pending when it was asked once.
async fn waits<F: Future>(mut one: Pin<&mut F>) -> bool {
    poll_fn(|cx| Poll::Ready(one.as_mut().poll(cx).is_pending())).await
}

/// A connection with a callee that takes calls and does not answer.
async fn conn(drain: &Drain) -> (Conn<()>, Callee) {
    conn_of(drain, &h2::server::Builder::new()).await
}

async fn conn_of(drain: &Drain, http2: &h2::server::Builder) -> (Conn<()>, Callee) {
    let (far, near) = duplex(64 * 1024);
    let callee = async { http2.handshake(far).await.unwrap() };
    let (streams, callee) = tokio::join!(handshake_h2(near, drain, None), callee);
    (Conn::new(streams.unwrap(), ()), callee)
}

/// The same, with a callee that takes one call at a time, once that is known.
async fn narrow() -> (Arc<Conn<()>>, Callee) {
    let mut http2 = h2::server::Builder::new();
    let (conn, callee) = conn_of(&Drain::default(), http2.max_concurrent_streams(1)).await;
    let place = conn.streams.take();
    while conn.streams.has_room() {
        tokio::task::yield_now().await;
    }
    drop(place);
    (Arc::new(conn), callee)
}

/// Answers every call.
async fn answers(mut callee: Callee) {
    while let Some(Ok((_, mut respond))) = callee.accept().await {
        let _ = respond.send_response(Response::new(()), true); // it may be gone
    }
}

fn request() -> Box<Request<Body>> {
    Box::new(Request::post("http://payments/v1/payments").body(Body::ours("money")).unwrap())
}

#[tokio::test]
async fn a_call_that_finds_a_place_does_not_wait_for_a_connection_that_is_being_opened() {
    let (conn, _callee) = conn(&Drain::default()).await;
    let (pool, conn) = (Multiplexed::default(), Arc::new(conn));
    pool.connections.store(Arc::new(vec![conn.clone()]));
    let mut places = Vec::new();
    for _ in 0..=BUSY {
        // The last says that more than these are taken.
        while conn.streams.take().map(|place| places.push(place)).is_none() {
            conn.streams.changed().await;
        }
    }
    let mut opener = pin!(pool.connection(&(), &pending));
    assert!(waits(opener.as_mut()).await);
    let found = pool.connection(&(), &pending);
    let found = tokio::time::timeout(SOON, found).await.unwrap();
    assert!(found.is_ok_and(|found| Arc::ptr_eq(&found, &conn)));
}

#[tokio::test]
async fn all_who_waited_for_a_connection_go_on_together_when_it_is_there() {
    let (conn, _callee) = conn(&Drain::default()).await;
    let (pool, conn) = (Multiplexed::default(), Mutex::new(Some(conn)));
    let is_open = Notify::new();
    let open = || async {
        is_open.notified().await;
        conn.lock().unwrap().take().ok_or(CloseReason::ConnectFailed)
    };
    let mut opener = pin!(pool.connection(&(), &open));
    assert!(waits(opener.as_mut()).await);
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(pool.connection(&(), &open))).collect();
    for one in &mut waiting {
        assert!(waits(one.as_mut()).await);
    }
    is_open.notify_one();
    assert!(!waits(opener.as_mut()).await);
    // The last to come is asked first.
    for one in waiting.iter_mut().rev() {
        assert!(!waits(one.as_mut()).await);
    }
}

#[tokio::test]
async fn when_whoever_opens_a_connection_gives_up_somebody_else_opens_one() {
    let (conn, _callee) = conn(&Drain::default()).await;
    let (pool, conn) = (Multiplexed::default(), Mutex::new(Some(conn)));
    let mut opener = Box::pin(pool.connection(&(), &pending));
    assert!(waits(opener.as_mut()).await);
    let open = || async { conn.lock().unwrap().take().ok_or(CloseReason::ConnectFailed) };
    let mut other = pin!(pool.connection(&(), &open));
    assert!(waits(other.as_mut()).await);
    drop(opener);
    let opened = tokio::time::timeout(SOON, other).await.unwrap();
    assert!(opened.is_ok());
}

#[tokio::test]
async fn a_call_is_not_lost_with_the_connection_that_it_opens_while_there_is_a_place_on_another() {
    let mut http2 = h2::server::Builder::new();
    let http2 = http2.max_concurrent_streams(BUSY as u32 + 1);
    let (conn, _callee) = conn_of(&Drain::default(), http2).await;
    let (pool, conn) = (Multiplexed::default(), Arc::new(conn));
    pool.connections.store(Arc::new(vec![conn.clone()]));
    let (mut places, is_over) = (Vec::new(), Notify::new());
    while places.len() <= BUSY {
        match conn.streams.take() {
            Some(place) => places.push(place),
            None => conn.streams.changed().await,
        }
    }
    let open = || async {
        is_over.notified().await;
        Err(CloseReason::ConnectFailed)
    };
    let (mut opener, mut other) =
        (Box::pin(pool.connection(&(), &open)), Box::pin(pool.connection(&(), &open)));
    assert!(waits(opener.as_mut()).await && waits(other.as_mut()).await);
    places.pop();
    is_over.notify_one();
    for one in [opener, other] {
        let found = tokio::time::timeout(SOON, one).await.unwrap();
        assert!(found.is_ok_and(|found| Arc::ptr_eq(&found, &conn)));
    }
    places.extend(conn.streams.take());
    is_over.notify_one();
    let none = tokio::time::timeout(SOON, pool.connection(&(), &open)).await.unwrap();
    assert_eq!(none.err(), Some(CloseReason::ConnectFailed));
    drop(places);
}

#[tokio::test]
async fn who_waited_for_an_attempt_shares_its_end_and_makes_none() {
    // RES-03: a queue of attempts would be as long as all their deadlines
    let (pool, opened, is_over) = (Multiplexed::<()>::default(), Mutex::new(0), Notify::new());
    let open = || async {
        *opened.lock().unwrap() += 1;
        is_over.notified().await;
        Err(CloseReason::ConnectFailed)
    };
    let mut all: Vec<_> = (0..3).map(|_| Box::pin(pool.connection(&(), &open))).collect();
    for one in &mut all {
        assert!(waits(one.as_mut()).await);
    }
    is_over.notify_one();
    for one in all {
        let told = tokio::time::timeout(SOON, one).await.unwrap();
        assert_eq!(told.err(), Some(CloseReason::ConnectFailed));
    }
    assert_eq!(*opened.lock().unwrap(), 1);
}

#[tokio::test]
async fn no_call_is_lost_to_connections_that_were_all_cut_or_told_to_go() {
    let (pool, drain, old) = (Multiplexed::default(), Drain::default(), Drain::default());
    let (mut connections, mut gone) = (Vec::new(), Vec::new());
    for _ in 0..MAX_CONNECTIONS {
        let (conn, callee) = conn(&old).await;
        connections.push(Arc::new(conn));
        gone.push(callee);
    }
    pool.connections.store(Arc::new(connections));
    old.drain(Duration::ZERO).await;
    let callees = Mutex::new(JoinSet::new());
    let open = || async {
        let (conn, callee) = conn(&drain).await;
        callees.lock().unwrap().spawn(answers(callee));
        Ok(conn)
    };
    let told = Box::pin(pool.send(request(), &(), open));
    let told = tokio::time::timeout(SOON, told).await.unwrap();
    assert_eq!(told.map(|answer| answer.status().as_u16()), Ok(200));
    assert_eq!(callees.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_callee_that_takes_connections_and_no_calls_is_asked_a_few_times() {
    // RES-03
    let (pool, opened) = (Multiplexed::default(), Mutex::new(0));
    let open = || async {
        let drain = Drain::default();
        let (conn, _) = conn(&drain).await;
        drain.drain(Duration::ZERO).await;
        *opened.lock().unwrap() += 1;
        Ok(conn)
    };
    let told = Box::pin(pool.send(request(), &(), open));
    let told = tokio::time::timeout(SOON, told).await.unwrap();
    assert_eq!(told.err().map(|error| error.reason), Some(CloseReason::ConnectFailed));
    assert_eq!(*opened.lock().unwrap(), 3);
}

#[tokio::test]
async fn a_call_that_waits_takes_the_first_place_that_is_free_on_any_connection() {
    let (pool, mut callees) = (Multiplexed::default(), JoinSet::new());
    let (mut connections, mut places) = (Vec::new(), Vec::new());
    for _ in 0..MAX_CONNECTIONS {
        let (conn, callee) = narrow().await;
        places.push(conn.streams.take().unwrap());
        callees.spawn(answers(callee));
        connections.push(conn);
    }
    pool.connections.store(Arc::new(connections));
    let none = || async { Err(CloseReason::ConnectFailed) };
    let mut waiting = Box::pin(pool.send(request(), &(), none));
    assert!(waits(waiting.as_mut()).await);
    drop(places.pop());
    let told = tokio::time::timeout(SOON, waiting).await.unwrap();
    assert_eq!(told.map(|answer| answer.status().as_u16()), Ok(200));
}
