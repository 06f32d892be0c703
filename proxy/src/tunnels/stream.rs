//! One TCP connection as a stream of a session, and its bytes: what is said goes on in the memory that it
//! was read into, what is heard in the memory of its frame, unless that holds little.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{MAX_HELD, pieces::Pieces};
use crate::{
    CloseReason,
    flow::Way,
    places::Place,
    relay::{Counted, Pipe, Takes},
};

/// One stream. Unless both sides have said all that they had to say, it ends in a reset, whoever drops
/// it and why: half a stream is not taken for all of it.
#[derive(Debug)]
pub(crate) struct Stream {
    said: Said,
    heard: Heard,
    /// On its session, until the end of both.
    place: Place,
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
    /// What was not passed on yet: no more than a stream's window.
    held: Pieces,
    is_all: bool,
    /// Told once all that was heard before it is passed on.
    failed: Option<io::Error>,
}

impl Stream {
    /// Of a request that was answered with 200.
    pub(super) fn new(send: SendStream<Bytes>, receive: RecvStream, place: Place) -> Self {
        let heard = Heard { receive, held: Pieces::default(), is_all: false, failed: None };
        Self { said: Said { send, is_all: false }, heard, place }
    }

    /// Relays between it and the `socket` of our own workload, until both have closed. `from` counts
    /// what the socket says, `towards` what it takes.
    pub(crate) async fn relay(
        &mut self,
        socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
        (from, towards): (&Way, &Way),
    ) -> Result<(), CloseReason> {
        let Self { said, heard, place } = self;
        let mut socket = Counted { io: socket, from, towards };
        let mut out = Pipe::default();
        let mut is_passed = false;
        let relayed = poll_fn(|cx| {
            let mut said = Taking { said, from, place };
            let there = out.poll(cx, Pin::new(&mut socket), &mut said)?;
            if !is_passed {
                is_passed = heard.pass(cx, (&mut socket, towards), place)?.is_ready();
            }
            if !is_passed {
                return Poll::Pending;
            }
            // Nothing more is heard of it by reading.
            if there.is_pending() && said.said.send.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            there.map(Ok)
        });
        relayed.await.map_err(|_: io::Error| CloseReason::Io)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !(self.heard.is_all && self.said.is_all) {
            self.place.breaks();
            self.said.send.send_reset(Reason::CONNECT_ERROR); // RFC 9113 §8.5
        }
    }
}

/// Counts what is taken.
struct Taking<'a> {
    said: &'a mut Said,
    from: &'a Way,
    place: &'a Place,
}

impl Takes for Taking<'_> {
    fn poll_take(&mut self, cx: &mut Context<'_>, held: &mut BytesMut) -> Poll<io::Result<usize>> {
        let room = ready!(self.said.poll_room(cx, held.len()))?;
        // A gone peer takes no more than what the kernel holds, and the kernel gives it up.
        self.place.takes();
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
        place: &Place,
    ) -> Poll<io::Result<()>> {
        self.hear(cx, way, place);
        while !self.held.is_empty() {
            let written = ready!(self.held.write(cx, socket))?;
            // RES-05: whoever says it may go on when it is with the workload.
            self.receive.flow_control().release_capacity(written).map_err(broken)?;
        }
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        if self.is_all { Pin::new(socket).poll_shutdown(cx) } else { Poll::Pending }
    }

    /// Takes all that there is, a window at most, also while nobody reads it: what lies in the session
    /// counts against all of its streams when it came in small frames.
    fn hear(&mut self, cx: &mut Context<'_>, way: &Way, place: &Place) {
        while !self.is_all && self.failed.is_none() {
            match self.receive.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => {
                    way.read(data.len());
                    place.hears();
                    self.held.push(data);
                }
                Poll::Ready(Some(Err(error))) => self.failed = Some(broken(error)),
                Poll::Ready(None) => self.is_all = true,
                Poll::Pending => return,
            }
        }
    }
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, error)
}
