//! The end of an HTTP/1.1 connection whose caller is still sending.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use super::http1::Silence;

/// How long a caller that goes on sending after its answer is listened to, and how long one that
/// pauses.
pub(super) const LONGEST: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(1);

/// Whether the caller may be in the middle of something that nobody reads any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Unread(Arc<AtomicBool>);

impl Unread {
    pub(super) fn set(&self, unread: bool) {
        self.0.store(unread, Ordering::Relaxed);
    }
}

/// A connection that closes in two steps: it says that no more comes, and goes away when the caller
/// has heard it. To close with something unread is a reset, and takes an answer with it that the
/// caller has not read yet (RFC 9112 §9.6).
pub(super) struct Lingering<IO> {
    io: IO,
    unread: Unread,
    silence: Silence,
    closing: Option<Closing>,
}

struct Closing {
    end: Instant,
    pause: Pin<Box<Sleep>>,
}

impl<IO> Lingering<IO> {
    pub(super) const fn new(io: IO, unread: Unread, silence: Silence) -> Self {
        Self { io, unread, silence, closing: None }
    }

    /// The connection, for what goes on over it when HTTP has ended.
    pub(super) fn into_inner(self) -> IO {
        self.io
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Lingering<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.silence.saying();
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.silence.said();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.silence.over();
        let closing = match &mut this.closing {
            Some(closing) => closing,
            None => {
                ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
                if !this.unread.0.load(Ordering::Relaxed) {
                    return Poll::Ready(Ok(()));
                }
                let pause = Box::pin(tokio::time::sleep(PAUSE));
                this.closing.insert(Closing { end: Instant::now() + LONGEST, pause })
            }
        };
        let mut bytes = [0; 4096];
        while closing.pause.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut this.io).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            closing.pause.as_mut().reset(closing.end.min(Instant::now() + PAUSE));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.silence.saying();
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{
            AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufWriter, duplex, empty, join,
            stdout,
        },
        net::{TcpListener, TcpStream},
    };

    use super::{LONGEST, Lingering, Unread};
    use crate::{
        heard::Heard,
        http::http1::{Silence, Waits},
        relay::Plain,
    };

    /// A connection as HTTP sees it.
    fn seen<IO>(io: IO) -> Lingering<Heard<IO>> {
        const WAITS: Waits = Waits { head: Duration::ZERO, silence: None };
        Lingering::new(Heard::nothing(io), Unread::default(), Silence::new(&WAITS, None))
    }

    #[tokio::test]
    async fn what_is_flushed_is_on_its_way() {
        // A connection with TLS keeps what does not fit until then.
        let (near, mut far) = duplex(64);
        let mut seen = seen(BufWriter::new(near));
        seen.write_all(b"said").await.unwrap();
        seen.flush().await.unwrap();
        let mut heard = [0; 4];
        tokio::time::timeout(LONGEST, far.read_exact(&mut heard)).await.unwrap().unwrap();
        assert_eq!(&heard, b"said");
    }

    #[tokio::test]
    async fn slices_are_written_at_once_where_the_connection_can() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(seen(Plain::new(tcp)).is_write_vectored());
        assert!(!seen(join(empty(), stdout())).is_write_vectored());
    }
}
