//! What is ready is written together.
//!
//! To write to a socket wakes whoever reads from it, on another core. Where that has nothing else to do the
//! wake-up costs more than the write, and after one message it sleeps again. So all that are ready make what
//! they have to say first, and then all of them write, one after the other. A connection of HTTP/2 has
//! more to say by then, and puts it into one record.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Who has so many bytes to write does not wait for others that have: its reader is awake for long.
const MUCH: usize = 16 * 1024;

/// Writes little when each task that is ready now has had its turn. Holds nothing: what was not
/// written is still with who wants to write it.
#[derive(Debug)]
pub(crate) struct Together<IO> {
    io: IO,
    has_waited: bool,
}

impl<IO> Together<IO> {
    pub(crate) const fn of(io: IO) -> Self {
        Self { io, has_waited: false }
    }

    /// Whether `bytes` are written in the task's next turn instead, which begins behind all others.
    fn waits(&mut self, bytes: usize, cx: &Context<'_>) -> bool {
        self.has_waited = !self.has_waited && bytes < MUCH;
        if self.has_waited {
            cx.waker().wake_by_ref();
        }
        self.has_waited
    }
}

/// Resolves when each task that is ready now has had its turn: before what is written at once.
pub(super) async fn in_turn() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl<IO: AsyncRead + Unpin> AsyncRead for Together<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Together<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.waits(bytes.len(), cx) {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.waits(slices.iter().map(|slice| slice.len()).sum(), cx) {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
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
    use std::{
        future::poll_fn,
        io::IoSlice,
        pin::Pin,
        sync::{Arc, Mutex},
        task::Poll,
    };

    use tokio::{
        io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, duplex},
        task::JoinSet,
    };

    use super::{MUCH, Together, in_turn};

    #[tokio::test]
    async fn all_that_are_ready_make_what_they_say_before_the_first_of_them_writes() {
        let happened = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        for name in 1..=4 {
            let (near, mut far) = duplex(64);
            let (mut near, happened) = (Together::of(near), happened.clone());
            tasks.spawn(async move {
                happened.lock().unwrap().push(("made", name));
                match name {
                    1 | 2 => near.write_all(&[name]).await.unwrap(),
                    _ => in_turn().await,
                }
                happened.lock().unwrap().push(("wrote", name));
                if let 1 | 2 = name {
                    assert_eq!(far.read_u8().await.unwrap(), name);
                }
            });
        }
        tasks.join_all().await;
        let made = (1..=4).map(|name| ("made", name));
        let expected: Vec<_> = made.chain((1..=4).map(|name| ("wrote", name))).collect();
        assert_eq!(*happened.lock().unwrap(), expected);
    }

    #[tokio::test]
    async fn much_is_written_at_once_and_little_the_next_time() {
        let (near, mut far) = duplex(4 * MUCH);
        let mut near = Together::of(near);
        let much = vec![1; MUCH];
        let mut first = async |pieces: &[&[u8]]| {
            let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let tried = poll_fn(|cx| {
                Poll::Ready(match pieces {
                    [whole] => Pin::new(&mut near).poll_write(cx, whole),
                    _ => Pin::new(&mut near).poll_write_vectored(cx, &slices),
                })
            });
            tried.await.map(Result::unwrap)
        };
        assert_eq!(first(&[&much]).await, Poll::Ready(MUCH));
        assert_eq!(first(&[&much[1..]]).await, Poll::Pending);
        assert_eq!(first(&[&much[1..]]).await, Poll::Ready(MUCH - 1));
        assert!(first(&[&much[1..], &much[..1]]).await.is_ready());
        assert_eq!(first(&[&much[2..], &much[..1]]).await, Poll::Pending);
        near.write_all(b"!").await.unwrap();
        near.shutdown().await.unwrap();
        drop(near);
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.last(), Some(&b'!'));
    }
}
