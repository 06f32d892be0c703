//! One direction of a relay. All that is there is read before any of it is written: a busy stream
//! goes in few large writes, and a silent one holds no memory.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BufMut as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

/// What is held of a stream that has little to say, and of one that has much (RES-05).
const LEAST: usize = 16 * 1024;
const MOST: usize = 256 * 1024;

/// The other side of a pipe.
pub(crate) trait Takes {
    /// Takes of what is held, from its begin: as much as goes now.
    fn poll_take(&mut self, cx: &mut Context<'_>, held: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// Lets all that was taken leave.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Hears that this was all.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl<IO: AsyncWrite + Unpin> Takes for IO {
    fn poll_take(&mut self, cx: &mut Context<'_>, held: &mut BytesMut) -> Poll<io::Result<usize>> {
        let taken = ready!(Pin::new(self).poll_write(cx, held))?;
        held.advance(taken);
        Poll::Ready(Ok(taken))
    }

    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_flush(cx)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_shutdown(cx)
    }
}

/// What was read of one side and not yet written to the other.
#[derive(Debug)]
pub(crate) struct Pipe {
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
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut from: Pin<&mut impl AsyncRead>,
        to: &mut impl Takes,
    ) -> Poll<io::Result<()>> {
        let mut passed = 0;
        while !self.said_all {
            // Nothing more is held for whoever does not take what there is (RES-05).
            let is_silent = self.held.is_empty() && self.fill(cx, from.as_mut()).is_pending();
            while !self.held.is_empty() {
                let taken = ready!(to.poll_take(cx, &mut self.held))?;
                if taken == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.is_flushed = false;
                passed += taken;
            }
            if !self.is_flushed {
                ready!(to.poll_leave(cx))?;
                self.is_flushed = true;
            }
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Err(error));
            }
            if self.heard_all {
                ready!(to.poll_end(cx))?;
                self.said_all = true;
            } else if is_silent {
                self.held = BytesMut::new();
                return Poll::Pending;
            } else if passed >= MOST {
                // Others have their turn first.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads until there is no more, or enough. Nothing is held before.
    fn fill(&mut self, cx: &mut Context<'_>, mut from: Pin<&mut impl AsyncRead>) -> Poll<()> {
        self.held = BytesMut::with_capacity(self.size);
        while !self.heard_all && self.failed.is_none() && self.held.len() < self.size {
            let left = self.size.saturating_sub(self.held.len());
            let mut room = (&mut self.held).limit(left);
            match poll_read_buf(from.as_mut(), cx, &mut room) {
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

#[cfg(test)]
mod tests {
    use std::{
        io,
        pin::Pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Context, Poll, Wake, Waker},
    };

    use tokio::io::{
        AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf, duplex, repeat,
    };

    use super::{LEAST, MOST, Pipe};

    #[tokio::test]
    async fn whoever_does_not_read_makes_nothing_more_be_held() {
        // RES-05
        let (_far, mut near) = duplex(1);
        let mut pipe = Pipe::default();
        for _ in 0..50 {
            let mut cx = Context::from_waker(Waker::noop());
            let polled = pipe.poll(&mut cx, Pin::new(&mut repeat(7)), &mut near);
            assert!(polled.is_pending());
        }
        assert!(pipe.held.capacity() <= LEAST, "{}", pipe.held.capacity());
    }

    /// Has always more to say, and takes all that is said.
    struct Endless(usize);

    impl AsyncRead for Endless {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let said = buffer.remaining();
            self.0 += said;
            assert!(self.0 <= 2 * MOST, "in one turn");
            buffer.put_slice(&vec![7; said]);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Endless {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// How often it was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_stream_without_end_lets_others_have_their_turn() {
        let mut pipe = Pipe::default();
        let woken = Arc::new(Woken::default());
        for turn in 1..50 {
            let (mut far, mut near) = (Endless(0), Endless(0));
            let waker = Waker::from(woken.clone());
            let mut cx = Context::from_waker(&waker);
            assert!(pipe.poll(&mut cx, Pin::new(&mut far), &mut near).is_pending());
            assert_eq!(woken.0.load(Ordering::Relaxed), turn, "and has another one");
        }
        assert!(pipe.held.capacity() <= MOST, "{}", pipe.held.capacity());
        assert_eq!(pipe.size, MOST);
    }

    #[tokio::test]
    async fn a_stream_that_falls_silent_holds_nothing_and_begins_small_again() {
        let (mut far, mut near) = duplex(MOST);
        let (mut end, mut callee) = duplex(4 * MOST);
        let mut pipe = Pipe { size: MOST, ..Pipe::default() };
        for round in 0..8 {
            far.write_all(b"little").await.unwrap();
            let mut cx = Context::from_waker(Waker::noop());
            let polled = pipe.poll(&mut cx, Pin::new(&mut near), &mut callee);
            assert!(polled.is_pending());
            assert_eq!(pipe.held.capacity(), 0, "{round}");
            let mut heard = [0; 6];
            end.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"little");
        }
        assert_eq!(pipe.size, LEAST);
    }
}
