//! A plain relay: what two more hops cost without TLS, policy or a parser.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use crate::crowd::AGAIN;

/// What is read at once: as much as a busy socket has.
const ROOM: usize = 256 * 1024;

/// Passes each connection to `listen` on to `to`, until dropped.
///
/// # Errors
/// If it cannot listen.
pub async fn relay(listen: SocketAddr, to: SocketAddr) -> io::Result<()> {
    let (listener, tasks) = (TcpListener::bind(listen).await?, TaskTracker::new());
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of files: connections that end make room.
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        tasks.spawn(pass(stream, to));
    }
}

async fn pass(mut near: TcpStream, to: SocketAddr) {
    let Ok(mut far) = TcpStream::connect(to).await else { return };
    if near.set_nodelay(true).is_ok() && far.set_nodelay(true).is_ok() {
        // How it ends is for both ends to judge.
        drop(tokio::io::copy_bidirectional_with_sizes(&mut near, &mut far, ROOM, ROOM).await);
    }
}
