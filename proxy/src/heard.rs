//! A connection on which the other side has spoken: proof that it let us in.
//!
//! With TLS 1.3 a client is done before the server has judged its certificate. A call that is sent
//! at once may be lost to a refusal, and nobody could say whether it was acted upon. The first bytes
//! of an HTTP/2 server come when it is satisfied (RFC 9113 §3.4), so we wait for them.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much of what the other side says first is taken; the rest stays where it is. The head of nearly
/// every request: whoever reads on has it in one piece.
pub(crate) const FIRST: usize = 2048;

/// Gives back what was heard, then the rest.
#[derive(Debug)]
pub(crate) struct Heard<IO> {
    first: io::Cursor<Vec<u8>>,
    io: IO,
}

impl<IO: AsyncRead + Unpin> Heard<IO> {
    /// Waits for the other side to speak.
    pub(crate) async fn from(io: IO) -> io::Result<Self> {
        let mut heard = Self::nothing(io);
        if poll_fn(|cx| heard.poll_more(cx)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(heard)
    }

    /// Waits for the other side to speak first, and says whether it begins with `text`.
    pub(crate) fn begins_with(&mut self, text: &[u8]) -> impl Future<Output = io::Result<bool>> {
        poll_fn(move |cx| {
            loop {
                let first = self.first.get_ref();
                if first.len() >= text.len() || !text.starts_with(first) {
                    return Poll::Ready(Ok(first.starts_with(text)));
                }
                if ready!(self.poll_more(cx))? == 0 {
                    return Poll::Ready(Ok(false));
                }
            }
        })
    }

    /// Waits for the other side to go on or to end, and says whether it went on.
    pub(crate) fn goes_on(&mut self) -> impl Future<Output = io::Result<bool>> {
        poll_fn(move |cx| {
            if self.first.position() < self.first.get_ref().len() as u64 {
                return Poll::Ready(Ok(true));
            }
            self.first = io::Cursor::default();
            self.poll_more(cx).map_ok(|read| read > 0)
        })
    }

    /// Takes what there is to be read next, and says how much. Who waits for it has no room for it yet.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [const { MaybeUninit::uninit() }; FIRST];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
        self.first.get_mut().extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
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
            let mut heard = Heard::nothing(near);
            let is_all = heard.begins_with(text).await.unwrap();
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
    async fn a_head_that_came_in_one_piece_is_read_in_one_piece() {
        let head = [&b"GET / HTTP/1.1\r\n"[..], &[b'a'; 1500]].concat();
        let (mut far, near) = duplex(4096);
        let mut room = [0; 4096];
        far.write_all(&head).await.unwrap();
        let mut heard = Heard::nothing(near);
        assert!(!heard.begins_with(b"PRI *").await.unwrap());
        assert_eq!(heard.read(&mut room).await.unwrap(), head.len());
        // And so behind a pause.
        far.write_all(&head).await.unwrap();
        assert!(heard.goes_on().await.unwrap());
        assert_eq!(heard.read(&mut room).await.unwrap(), head.len());
        drop(far);
        assert!(!heard.goes_on().await.unwrap());
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
        let mut heard = Heard::nothing(near);
        let begins = heard.begins_with(b"PRI *");
        let begins = tokio::time::timeout(std::time::Duration::from_secs(8), begins).await;
        assert!(!begins.unwrap().unwrap());
    }
}
