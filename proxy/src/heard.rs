//! A connection on which the other side has spoken: proof that it let us in.
//!
//! With TLS 1.3 a client is done before the server has judged its certificate. A call that is sent
//! at once may be lost to a refusal, and nobody could say whether it was acted upon. The first bytes
//! of an HTTP/2 server come when it is satisfied (RFC 9113 §3.4), so we wait for them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// How much of what the other side says first is taken; the rest stays where it is.
const FIRST: usize = 64;

/// Gives back what was heard, then the rest.
#[derive(Debug)]
pub(crate) struct Heard<IO> {
    first: io::Cursor<Vec<u8>>,
    io: IO,
}

impl<IO: AsyncRead + Unpin> Heard<IO> {
    /// Waits for the other side to speak.
    pub(crate) async fn from(mut io: IO) -> io::Result<Self> {
        let mut first = vec![0; FIRST];
        let heard = io.read(&mut first).await?;
        if heard == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        first.truncate(heard);
        Ok(Self { first: io::Cursor::new(first), io })
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Heard<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.first).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            return polled;
        }
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Heard<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
