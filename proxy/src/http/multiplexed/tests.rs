//! Who gets which connection, and who waits.

use std::{
    future::{pending, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use tokio::{io::duplex, sync::Notify};

use super::{BUSY, Conn, Multiplexed};
use crate::{CloseReason, Drain, http::handshake_h2};

/// Whether it is still pending when it was asked once.
async fn waits<F: Future>(mut one: Pin<&mut F>) -> bool {
    poll_fn(|cx| Poll::Ready(one.as_mut().poll(cx).is_pending())).await
}

/// A connection with a callee that takes calls and does not answer.
async fn conn(drain: &Drain) -> (Conn<()>, impl Sized + use<>) {
    let (far, near) = duplex(64 * 1024);
    let callee = async { h2::server::handshake(far).await.unwrap() };
    let (streams, callee) = tokio::join!(handshake_h2(near, drain, None), callee);
    (Conn::new(streams.unwrap(), ()), callee)
}

#[tokio::test]
async fn a_call_that_finds_a_place_does_not_wait_for_a_connection_that_is_being_opened() {
    let (conn, _callee) = conn(&Drain::default()).await;
    let (pool, conn) = (Multiplexed::default(), Arc::new(conn));
    pool.connections.store(Arc::new(vec![conn.clone()]));
    let mut places = Vec::new();
    for _ in 0..=BUSY {
        places.push(conn.streams.place().await); // the last says that more than these are taken
    }
    let mut opener = pin!(pool.connection(&(), &pending));
    assert!(waits(opener.as_mut()).await);
    let found = pool.connection(&(), &pending);
    let found = tokio::time::timeout(Duration::from_secs(8), found).await.unwrap();
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
    let opened = tokio::time::timeout(Duration::from_secs(8), other).await.unwrap();
    assert!(opened.is_ok());
}
