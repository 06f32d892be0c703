//! Which HTTP our own workload speaks to us.

use std::io;

use cellwall_policy::Protocol;
use tokio::net::TcpStream;

use super::serve::{HEAD_DEADLINE, Version};
use crate::{heard::Heard, relay::Plain};

/// What an HTTP/2 client sends first (RFC 9113 §3.4), and nobody else: HTTP/1.1 has no such method.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Waits until it is plain which HTTP an app speaks. gRPC is HTTP/2; to an `http` destination both
/// may be spoken, and both are the same protocol to the policy (HTTP-24).
pub(crate) async fn spoken(
    app: TcpStream,
    protocol: Protocol,
) -> io::Result<(Version, Heard<Plain>)> {
    let mut app = Heard::nothing(app);
    let is_http2 = protocol == Protocol::Grpc
        || tokio::time::timeout(HEAD_DEADLINE, app.begins_with(PREFACE))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
    Ok(if is_http2 {
        (Version::Http2, app.over(Plain::framed))
    } else {
        (Version::Http1, app.over(Plain::answering))
    })
}
