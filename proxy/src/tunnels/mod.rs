//! TCP connections as streams of one session: HTTP/2 CONNECT between two sidecars, so that a new
//! connection costs no handshake.
//!
//! The wire form is that of HBONE: ALPN `h2`, for each TCP connection a request `CONNECT IP:PORT`
//! (RFC 9113 §8.5), 200, and then its bytes as DATA both ways. END_STREAM is half a close,
//! RST_STREAM is a reset. Each stream is a call with a decision, a record and an authority of its
//! own; what a session stands on, all of its streams stand on.

mod inbound;
mod pieces;
mod pool;
mod reach;
mod serve;
mod session;
mod stream;
mod target;

use std::time::Duration;

pub(crate) use self::{
    pool::Tunnels,
    reach::{Own, Way},
    session::Taken,
};
use self::{
    serve::{Asked, serve},
    target::Target,
};

/// How the TCP connections of a workload travel between sidecars.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TcpSessions {
    /// Many as streams of one session, wherever the other side takes them so.
    Shared,
    /// Each in a session of its own.
    Own,
}

/// Streams of one session. More go over another one.
const STREAMS: usize = 100;

/// Streams that the side that accepted takes on one: more, so that none waits for one that has ended
/// here and not there.
const MAX_STREAMS: u32 = 128;

/// How far a sender may run ahead of whoever reads slowly, for each stream (RES-05).
const STREAM_WINDOW: u32 = 1024 * 1024;

/// The same for all streams of a session: as much as they have together. With less, a few that
/// nobody reads would hold up all others, which as connections of their own they could not.
const SESSION_WINDOW: u32 = MAX_STREAMS * STREAM_WINDOW;

/// The longest frame: others have their turn after it. With its head it fills four records of TLS.
const MAX_FRAME: u32 = 4 * 16 * 1024 - 9;

/// What a stream holds that the session has not taken yet (RES-05).
const MAX_HELD: usize = 256 * 1024;

/// After so many streams that were reset a session takes no more: what came for them in small frames
/// weighs on it for good, and would end it with all others.
const MOST_BROKEN: usize = 1024;

/// The longest head of a request or of an answer: neither says much (RES-04).
const MAX_HEAD: u32 = 4 * 1024;

/// What a session that is to end may take until what was said on it has left.
const LAST_WORDS: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
