//! A connection whose other side has said all that it will say, and leaves when it hears nothing more.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// How often nothing may have happened before it is over: a call goes to the workload and back.
const PATIENCE: u32 = 12;

/// The clock goes on by this when nobody has anything to do.
const STEP: Duration = Duration::from_millis(1);

/// The bytes, in pieces of which the first one says how long they are.
pub(crate) struct Scripted {
    bytes: Vec<u8>,
    read: usize,
    piece: usize,
    left: u32,
    step: Pin<Box<Sleep>>,
}

impl Scripted {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        // Most of them whole: the last byte is as likely to be any as any other.
        let piece = match bytes.last() {
            Some(last @ 1..=9) => usize::from(*last),
            _ => usize::MAX,
        };
        Self { bytes, read: 0, piece, left: PATIENCE, step: Box::pin(sleep(STEP)) }
    }

    fn wait(&mut self) {
        self.step.as_mut().reset(Instant::now() + STEP);
    }
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.bytes[self.read..];
        if !rest.is_empty() {
            let length = rest.len().min(self.piece).min(buffer.remaining());
            buffer.put_slice(&rest[..length]);
            self.read += length;
            return Poll::Ready(Ok(()));
        }
        while self.left > 0 {
            ready!(self.step.as_mut().poll(context));
            self.left -= 1;
            self.wait();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.left = PATIENCE;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
