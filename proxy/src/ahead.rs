//! Reading ahead of TLS: rustls asks a socket for 4 KiB at a time, and a busy one has far more.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BufMut as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::coop,
};
use tokio_util::io::poll_read_buf;

/// What is read at once from a connection that has little to say, and from one that has much.
const LEAST: usize = 4 * 1024;
const MOST: usize = 128 * 1024;

/// Reads as much as there is, and holds nothing while there is nothing.
#[derive(Debug)]
pub(crate) struct Ahead<IO> {
    io: IO,
    read: BytesMut,
    /// How much is read next.
    size: usize,
}

impl<IO> Ahead<IO> {
    /// Of a connection of which nothing was read.
    pub(crate) fn of(io: IO) -> Self {
        Self { io, read: BytesMut::new(), size: LEAST }
    }

    /// What it reads.
    pub(crate) const fn get_ref(&self) -> &IO {
        &self.io
    }
}

impl<IO: AsyncRead + Unpin> Ahead<IO> {
    /// Reads once, and more the next time where there was more than that, less where there was far less.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.read.clear();
        if !self.read.try_reclaim(self.size) {
            self.read = BytesMut::with_capacity(self.size);
        }
        let mut room = (&mut self.read).limit(self.size);
        let polled = poll_read_buf(Pin::new(&mut self.io), cx, &mut room);
        let Poll::Ready(Ok(read @ 1..)) = polled else {
            self.read = BytesMut::new(); // it may be silent for long
            return polled.map_ok(drop);
        };
        self.size = match read {
            all if all == self.size => (self.size * 2).min(MOST),
            few if few < self.size / 4 => (self.size / 2).max(LEAST),
            _ => self.size,
        };
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Ahead<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            ready!(self.poll_more(cx))?;
        } else {
            // What is here already takes its turn as a read of the socket would (RES-01).
            ready!(coop::poll_proceed(cx)).made_progress();
        }
        let taken = self.read.len().min(buffer.remaining());
        if let Some(bytes) = self.read.get(..taken) {
            buffer.put_slice(bytes);
        }
        self.read.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Ahead<IO> {
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
    use std::{future::poll_fn, pin::pin, time::Duration};

    use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf, duplex};

    use super::{Ahead, LEAST, MOST};

    #[tokio::test]
    async fn what_is_read_ahead_is_what_was_said_in_pieces_of_any_size() {
        let said: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
        let (mut far, near) = duplex(300_000);
        let mut ahead = Ahead::of(near);
        let say = async {
            for (piece, size) in said.chunks(33_333).zip([1, 7, 100, 5000].iter().cycle()) {
                for part in piece.chunks(size * 100) {
                    far.write_all(part).await.unwrap();
                }
            }
            drop(far);
        };
        let hear = async {
            let mut heard = Vec::new();
            let mut piece = vec![0; 4096];
            for size in [1, 13, 4096].into_iter().cycle() {
                let read = ahead.read(&mut piece[..size]).await.unwrap();
                if read == 0 {
                    return heard;
                }
                heard.extend_from_slice(&piece[..read]);
            }
            heard
        };
        let both = async { tokio::join!(say, hear).1 };
        let heard = tokio::time::timeout(Duration::from_secs(8), both).await.unwrap();
        assert!(heard == said, "{} of {}", heard.len(), said.len());
    }

    #[tokio::test]
    async fn a_busy_connection_is_read_in_larger_pieces_and_a_silent_one_holds_nothing() {
        let (mut far, near) = duplex(2 * MOST);
        let mut ahead = Ahead::of(near);
        far.write_all(&vec![1; 2 * MOST]).await.unwrap();
        let mut rest = vec![0; 2 * MOST];
        ahead.read_exact(&mut rest[..LEAST]).await.unwrap();
        assert_eq!(ahead.size, 2 * LEAST);
        ahead.read_exact(&mut rest[LEAST..MOST]).await.unwrap();
        assert_eq!(ahead.size, MOST);
        ahead.read_exact(&mut rest[MOST..]).await.unwrap();
        let mut buffer = [0; 8];
        let silent = poll_fn(|cx| {
            let polled = pin!(&mut ahead).poll_read(cx, &mut ReadBuf::new(&mut buffer));
            std::task::Poll::Ready(polled.is_pending())
        });
        assert!(silent.await);
        assert_eq!(ahead.read.capacity(), 0);
        let mut sizes = Vec::new();
        while ahead.size > LEAST {
            sizes.push(ahead.size);
            far.write_all(b"little").await.unwrap();
            assert_eq!(ahead.read(&mut buffer).await.unwrap(), 6);
        }
        // The last of the many was little beside what is read at once.
        assert_eq!(sizes, [MOST / 2, MOST / 4, MOST / 8, MOST / 16]);
    }

    #[tokio::test]
    async fn memory_is_used_again_while_there_is_more_to_read() {
        let (mut far, near) = duplex(4 * LEAST);
        let mut ahead = Ahead::of(near);
        let mut piece = [0; 100];
        far.write_all(&piece).await.unwrap();
        ahead.read_exact(&mut piece).await.unwrap();
        // Another one could only be elsewhere.
        let _elsewhere: Vec<_> = (0..4).map(|_| vec![0_u8; LEAST]).collect();
        let first = ahead.read.as_ptr().addr() - piece.len();
        far.write_all(&piece).await.unwrap();
        ahead.read_exact(&mut piece).await.unwrap();
        assert_eq!(ahead.read.as_ptr().addr() - piece.len(), first);
    }

    #[tokio::test]
    async fn what_was_read_ahead_is_taken_in_turns_and_in_no_more_memory_than_it_says() {
        let (mut far, near) = duplex(64 * MOST);
        let mut ahead = Ahead::of(near);
        far.write_all(&vec![1; 64 * MOST]).await.unwrap();
        let mut buffer = [0; 64];
        let mut at_once = 0;
        // One poll of a task, as HTTP/2 reads its frames.
        poll_fn(|cx| {
            loop {
                let mut read = ReadBuf::new(&mut buffer);
                if pin!(&mut ahead).poll_read(cx, &mut read).is_pending() {
                    return std::task::Poll::Ready(());
                }
                at_once += 1;
            }
        })
        .await;
        assert!(at_once <= 128, "{at_once}");
        let mut rest = vec![0; 32 * MOST];
        while ahead.size < MOST {
            ahead.read_exact(&mut rest[..LEAST]).await.unwrap();
        }
        ahead.read_exact(&mut rest).await.unwrap();
        assert!(ahead.read.capacity() <= MOST, "{}", ahead.read.capacity());
        drop(far);
        ahead.read_to_end(&mut rest).await.unwrap();
        assert_eq!(ahead.read.capacity(), 0);
    }
}
