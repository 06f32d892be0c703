//! Copies bytes both ways until both sides have closed. A half-closed side stays half-closed, and what
//! is cut never looks closed.

mod pipe;

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

pub(crate) use self::pipe::{Pipe, Takes};
use crate::{
    CloseReason,
    flow::{Progress, Way},
};

/// Relays between the caller's side and the callee's side; `progress` counts while it runs.
pub(crate) async fn both_ways(
    caller: &mut (impl AsyncRead + AsyncWrite + Unpin),
    callee: &mut (impl AsyncRead + AsyncWrite + Unpin),
    progress: &Progress,
) -> Result<(), CloseReason> {
    let (from, to) = (&progress.request, &progress.response);
    let mut caller = Counted { io: caller, from, towards: to };
    let mut callee = Counted { io: callee, from: to, towards: from };
    let (mut there, mut back) = (Pipe::default(), Pipe::default());
    let relayed = poll_fn(|cx| {
        let there = there.poll(cx, Pin::new(&mut caller), &mut callee)?;
        let back = back.poll(cx, Pin::new(&mut callee), &mut caller)?;
        if there.is_ready() && back.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    });
    relayed.await.map_err(|_: io::Error| CloseReason::Io)
}

/// The socket of our own workload, which has no TLS to tell an end from a cut. Unless both sides have
/// said all that they had to say, it ends in a reset, whoever drops it and why: half a stream is
/// not taken for all of it.
#[derive(Debug)]
pub(crate) struct Plain {
    tcp: TcpStream,
    heard_all: bool,
    said_all: bool,
}

impl Plain {
    /// Of a connection that has just begun.
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self { tcp, heard_all: false, said_all: false }
    }

    /// Of a connection over which HTTP/1 is answered: requests say themselves where they end, and
    /// answers in HTTP/1.0 end with the connection.
    pub(crate) const fn answering(tcp: TcpStream) -> Self {
        Self { tcp, heard_all: true, said_all: false }
    }

    /// Of a connection over which one request asks to go on in another protocol. Until HTTP closes it,
    /// the workload may be in that protocol already, and have heard nothing of what it was to hear.
    pub(crate) const fn asking(tcp: TcpStream) -> Self {
        Self { tcp, heard_all: true, said_all: false }
    }

    /// Of a connection whose protocol says of everything where it ends.
    pub(crate) const fn framed(tcp: TcpStream) -> Self {
        Self { tcp, heard_all: true, said_all: true }
    }

    /// The same connection, going on in bytes that do not say where they end.
    pub(crate) fn streamed(mut self) -> Self {
        (self.heard_all, self.said_all) = (false, false);
        self
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        if !(self.heard_all && self.said_all) {
            // Closing is a reset then. A socket that cannot be set is gone already.
            let _ = SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.tcp).poll_read(cx, buffer);
        let is_end = matches!(polled, Poll::Ready(Ok(()))) && buffer.filled().len() == before;
        self.heard_all |= is_end && buffer.remaining() > 0;
        polled
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.tcp).poll_shutdown(cx);
        self.said_all |= matches!(polled, Poll::Ready(Ok(())));
        polled
    }
}

/// Counts what a side says and takes, so that a flow that is cut has its bytes too.
pub(crate) struct Counted<'a, IO> {
    pub(crate) io: &'a mut IO,
    pub(crate) from: &'a Way,
    pub(crate) towards: &'a Way,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Counted<'_, IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut *self.io).poll_read(cx, buffer);
        self.from.read(buffer.filled().len().saturating_sub(before));
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Counted<'_, IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut *self.io).poll_write(cx, buffer);
        if let Poll::Ready(Ok(written)) = &polled {
            self.towards.pass(*written);
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut *self.io).poll_write_vectored(cx, buffers);
        if let Poll::Ready(Ok(written)) = &polled {
            self.towards.pass(*written);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut *self.io).poll_shutdown(cx);
        if matches!(polled, Poll::Ready(Ok(()))) {
            self.towards.end(CloseReason::Done);
        }
        polled
    }
}

#[cfg(test)]
mod tests;
