//! One TCP connection as a stream of a session, and its bytes: what is said goes on in the memory that it
//! was read into, what is heard in the memory of its frame.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite};

use super::MAX_HELD;
use crate::{
    CloseReason,
    flow::Way,
    relay::{Counted, MOST, Pipe, Takes},
};

/// How many pieces are written at once.
const PIECES: usize = 32;

/// One stream. Unless both sides have said all that they had to say, it ends in a reset, whoever drops
/// it and why: half a stream is not taken for all of it.
#[derive(Debug)]
pub(crate) struct Stream {
    said: Said,
    heard: Heard,
}

/// What goes into it.
#[derive(Debug)]
struct Said {
    send: SendStream<Bytes>,
    is_all: bool,
}

/// What comes out of it.
#[derive(Debug)]
struct Heard {
    receive: RecvStream,
    /// What was not passed on yet, in the pieces that it came in.
    held: VecDeque<Bytes>,
    bytes: usize,
    is_all: bool,
    /// Told once all that was heard before it is passed on.
    failed: Option<io::Error>,
}

impl Stream {
    /// Of a request that was answered with 200.
    pub(super) fn new(send: SendStream<Bytes>, receive: RecvStream) -> Self {
        let heard = Heard { receive, held: VecDeque::new(), bytes: 0, is_all: false, failed: None };
        Self { said: Said { send, is_all: false }, heard }
    }

    /// Relays between it and the `socket` of our own workload, until both have closed. `from` counts
    /// what the socket says, `towards` what it takes.
    pub(crate) async fn relay(
        &mut self,
        socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
        (from, towards): (&Way, &Way),
    ) -> Result<(), CloseReason> {
        let Self { said, heard } = self;
        let mut socket = Counted { io: socket, from, towards };
        let mut out = Pipe::default();
        let mut is_passed = false;
        let relayed = poll_fn(|cx| {
            let mut said = Taking { said, from };
            let there = out.poll(cx, Pin::new(&mut socket), &mut said)?;
            if !is_passed {
                is_passed = heard.pass(cx, (&mut socket, towards))?.is_ready();
            }
            if there.is_ready() && is_passed { Poll::Ready(Ok(())) } else { Poll::Pending }
        });
        relayed.await.map_err(|_: io::Error| CloseReason::Io)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !(self.heard.is_all && self.said.is_all) {
            self.said.send.send_reset(Reason::CONNECT_ERROR); // RFC 9113 §8.5
        }
    }
}

/// Counts what is taken.
struct Taking<'a> {
    said: &'a mut Said,
    from: &'a Way,
}

impl Takes for Taking<'_> {
    fn poll_take(&mut self, cx: &mut Context<'_>, held: &mut BytesMut) -> Poll<io::Result<usize>> {
        let room = ready!(self.said.poll_room(cx, held.len()))?;
        // RES-05: a few bytes that wait to be sent do not hold the memory of many.
        let few = held.get(..room).filter(|_| room < held.capacity() / 4);
        let few = few.map(Bytes::copy_from_slice);
        let said = held.split_to(room);
        self.said.send.send_data(few.unwrap_or_else(|| said.freeze()), false).map_err(broken)?;
        self.from.pass(room);
        Poll::Ready(Ok(room))
    }

    fn poll_leave(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // the session writes of itself
    }

    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.said.send.send_data(Bytes::new(), true).map_err(broken)?;
        self.said.is_all = true;
        self.from.end(CloseReason::Done);
        Poll::Ready(Ok(()))
    }
}

impl Said {
    /// How many of `wanted` bytes may be said now.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        loop {
            let room = self.send.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room.min(wanted)));
            }
            self.send.reserve_capacity(wanted.min(MAX_HELD));
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }
}

impl Heard {
    /// Passes on what is heard until that was all, and tells `socket` so.
    fn pass(
        &mut self,
        cx: &mut Context<'_>,
        (socket, way): (&mut (impl AsyncWrite + Unpin), &Way),
    ) -> Poll<io::Result<()>> {
        let mut passed = 0;
        loop {
            let is_silent = self.hear(cx, way).is_pending();
            while self.bytes > 0 {
                let written = ready!(self.write(cx, socket))?;
                // RES-05: whoever says it may go on when it is with the workload.
                self.receive.flow_control().release_capacity(written).map_err(broken)?;
                passed += written;
            }
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Err(error));
            }
            if self.is_all {
                return Pin::new(socket).poll_shutdown(cx);
            }
            if is_silent {
                return Poll::Pending;
            }
            if passed >= MOST {
                // Others have their turn first.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Takes what there is, or enough of it.
    fn hear(&mut self, cx: &mut Context<'_>, way: &Way) -> Poll<()> {
        while self.bytes < MOST && !self.is_all && self.failed.is_none() {
            match ready!(self.receive.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    way.read(data.len());
                    self.bytes += data.len();
                    self.held.push_back(data);
                }
                Some(Err(error)) => self.failed = Some(broken(error)),
                None => self.is_all = true,
            }
        }
        Poll::Ready(())
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); PIECES];
        for (slice, piece) in slices.iter_mut().zip(&self.held) {
            *slice = IoSlice::new(piece);
        }
        let pieces = slices.get(..self.held.len().min(PIECES)).unwrap_or_default();
        let written = ready!(Pin::new(socket).poll_write_vectored(cx, pieces))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let mut left = written;
        while let Some(piece) = self.held.front_mut() {
            if left < piece.len() {
                piece.advance(left);
                break;
            }
            left = left.saturating_sub(piece.len());
            self.held.pop_front();
        }
        self.bytes = self.bytes.saturating_sub(written);
        Poll::Ready(Ok(written))
    }
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, error)
}
