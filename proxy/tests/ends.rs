//! How a caller sees the end of its HTTP/1 connection: an answer arrives.

use cellwall_policy::Protocol;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::kit::{DEADLINE, Town, payments};

/// An upload of eight mebibytes that policy refuses, by a caller who does not listen before it has
/// sent everything: what it then hears.
async fn refused(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    const PIECES: usize = 128;
    let head = format!(
        "PUT /v1/elsewhere HTTP/1.1\r\nhost: payments\r\ncontent-length: {}\r\n\r\n",
        PIECES << 16
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in 0..PIECES {
        if let Err(error) = stream.write_all(&[b'.'; 1 << 16]).await {
            return format!("{piece} of {PIECES} sent: {error}");
        }
    }
    let mut answer = Vec::new();
    let end = stream.read_to_end(&mut answer).await;
    format!("{} {:?}", String::from_utf8_lossy(&answer), end.err())
}

#[tokio::test]
async fn an_early_answer_reaches_a_caller_who_is_still_sending() {
    // RFC 9112 §9.6: closing with something unread resets, and the answer is lost with it
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let app = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
    let peer = callee.dial(&town.svid("checkout"), &["http/1.1"]).await;
    let heard = [
        tokio::time::timeout(DEADLINE, refused(app)).await.unwrap(),
        tokio::time::timeout(DEADLINE, refused(peer)).await.unwrap(),
    ];
    for heard in heard {
        assert!(heard.starts_with("HTTP/1.1 403 ") && heard.ends_with("} None"), "{heard}");
    }
}
