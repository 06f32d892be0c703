//! One direction of a relay. All that is there is read before any of it is written: a busy stream
//! goes in few large writes, and a silent one holds no memory.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

/// What is held of a stream that has little to say, and of one that has much (RES-05).
const LEAST: usize = 16 * 1024;
const MOST: usize = 256 * 1024;

/// What was read of one side and not yet written to the other.
#[derive(Debug)]
pub(super) struct Pipe {
    held: BytesMut,
    /// How much is read before it is written.
    size: usize,
    is_flushed: bool,
    heard_all: bool,
    said_all: bool,
    /// Told once all that was heard before it is passed on.
    failed: Option<io::Error>,
}

impl Default for Pipe {
    fn default() -> Self {
        Self {
            held: BytesMut::new(),
            size: LEAST,
            is_flushed: true,
            heard_all: false,
            said_all: false,
            failed: None,
        }
    }
}

impl Pipe {
    /// Passes on what `from` says until it has said all, and tells `to` so.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut from: Pin<&mut impl AsyncRead>,
        mut to: Pin<&mut impl AsyncWrite>,
    ) -> Poll<io::Result<()>> {
        while !self.said_all {
            let is_silent = self.fill(cx, from.as_mut()).is_pending();
            while !self.held.is_empty() {
                let written = ready!(to.as_mut().poll_write(cx, &self.held))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.held.advance(written);
                self.is_flushed = false;
            }
            if !self.is_flushed {
                ready!(to.as_mut().poll_flush(cx))?;
                self.is_flushed = true;
            }
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Err(error));
            }
            if self.heard_all {
                ready!(to.as_mut().poll_shutdown(cx))?;
                self.said_all = true;
            } else if is_silent {
                self.held = BytesMut::new();
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads until there is no more, or enough.
    fn fill(&mut self, cx: &mut Context<'_>, mut from: Pin<&mut impl AsyncRead>) -> Poll<()> {
        while !self.heard_all && self.failed.is_none() && self.held.len() < self.size {
            self.held.reserve(self.size.saturating_sub(self.held.len()));
            match poll_read_buf(from.as_mut(), cx, &mut self.held) {
                Poll::Ready(Ok(read)) => self.heard_all = read == 0,
                Poll::Ready(Err(error)) => self.failed = Some(error),
                Poll::Pending => {
                    if self.held.len() < self.size / 4 {
                        self.size = (self.size / 2).max(LEAST);
                    }
                    return Poll::Pending;
                }
            }
        }
        if self.held.len() >= self.size {
            self.size = (self.size * 2).min(MOST);
        }
        Poll::Ready(())
    }
}
