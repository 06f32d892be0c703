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

    /// Waits for the other side to speak, and says whether it begins with all of `text`. No more is
    /// taken than what shows that, however few bytes come at a time.
    pub(crate) async fn begins_with(mut io: IO, text: &[u8]) -> io::Result<(bool, Self)> {
        let mut first = Vec::with_capacity(text.len());
        while first.len() < text.len() && text.starts_with(&first) {
            let left = text.len().saturating_sub(first.len());
            let wanted = u64::try_from(left).unwrap_or_default();
            if (&mut io).take(wanted).read_buf(&mut first).await? == 0 {
                break;
            }
        }
        let is_all = first == text;
        Ok((is_all, Self { first: io::Cursor::new(first), io }))
    }
}

impl<IO> Heard<IO> {
    /// A connection of which nothing was taken.
    pub(crate) const fn nothing(io: IO) -> Self {
        Self { first: io::Cursor::new(Vec::new()), io }
    }

    /// The same over another view of the connection.
    pub(crate) fn over<U>(self, view: impl FnOnce(IO) -> U) -> Heard<U> {
        Heard { first: self.first, io: view(self.io) }
    }

    /// The same, with `heard` before what is left.
    pub(crate) fn after(self, heard: &[u8]) -> Self {
        let read = usize::try_from(self.first.position()).unwrap_or(usize::MAX);
        let left = self.first.get_ref().get(read..).unwrap_or_default();
        Self { first: io::Cursor::new([heard, left].concat()), io: self.io }
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
        if self.first.position() >= self.first.get_ref().len() as u64 {
            self.first = io::Cursor::default(); // the connection may live for long
        }
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::Heard;

    /// Whether `said` begins with `text`, heard through a pipe of so many bytes; what is read after
    /// that is all of it.
    async fn check(said: &[u8], text: &[u8], pipe: usize) -> bool {
        let (mut far, near) = duplex(pipe);
        let say = async {
            far.write_all(said).await.unwrap();
            far.shutdown().await.unwrap();
        };
        let hear = async {
            let (is_all, mut heard) = Heard::begins_with(near, text).await.unwrap();
            let mut all = Vec::new();
            heard.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, said);
            is_all
        };
        tokio::join!(say, hear).1
    }

    #[tokio::test]
    async fn what_is_said_first_is_known_and_nothing_of_it_is_lost() {
        for pipe in 1..8 {
            assert!(check(b"PRI *", b"PRI *", pipe).await, "{pipe}");
            assert!(check(b"PRI * and more", b"PRI *", pipe).await, "{pipe}");
            for other in [&b""[..], b"P", b"PRI ", b"PRI /", b"GET /", b"pri *", b"APRI *"] {
                assert!(!check(other, b"PRI *", pipe).await, "{other:?} {pipe}");
            }
        }
    }

    #[tokio::test]
    async fn what_was_heard_is_not_kept_once_it_is_read() {
        let (_far, near) = duplex(64);
        let mut heard = Heard::nothing(near).after(&[0; 4096]);
        heard.read_exact(&mut [0; 4096]).await.unwrap();
        assert_eq!(heard.first.get_ref().capacity(), 0);
    }

    #[tokio::test]
    async fn the_first_byte_that_differs_is_enough() {
        let (mut far, near) = duplex(64);
        far.write_all(b"G").await.unwrap();
        // Nothing more comes, and nobody hangs up.
        let heard = Heard::begins_with(near, b"PRI *");
        let heard = tokio::time::timeout(std::time::Duration::from_secs(8), heard).await;
        assert!(!heard.unwrap().unwrap().0);
    }
}
