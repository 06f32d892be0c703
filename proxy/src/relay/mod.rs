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

use self::pipe::Pipe;
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
        let there = there.poll(cx, Pin::new(&mut caller), Pin::new(&mut callee))?;
        let back = back.poll(cx, Pin::new(&mut callee), Pin::new(&mut caller))?;
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
struct Counted<'a, IO> {
    io: &'a mut IO,
    from: &'a Way,
    towards: &'a Way,
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
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter, DuplexStream, Interest, duplex},
        net::{TcpListener, TcpStream},
        task::JoinHandle,
    };

    use super::{Plain, both_ways};
    use crate::{
        AccessLog, CloseReason,
        flow::{Direction, Flows, Kind},
    };

    const DEADLINE: Duration = Duration::from_secs(8);

    /// The other side of a connection, and ours.
    async fn connected() -> (TcpStream, Plain) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (far, near) = tokio::join!(TcpStream::connect(address), listener.accept());
        (far.unwrap(), Plain::new(near.unwrap().0))
    }

    /// Whether the other side sees a reset once a [`Plain`] is dropped that has heard and said so much.
    async fn is_reset(heard_all: bool, said_all: bool) -> bool {
        let (mut far, mut near) = connected().await;
        if heard_all {
            far.shutdown().await.unwrap();
            assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
        }
        if said_all {
            near.shutdown().await.unwrap();
            assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
        }
        drop(near);
        if heard_all && said_all {
            return far.take_error().unwrap().is_some();
        }
        tokio::time::timeout(DEADLINE, far.ready(Interest::ERROR)).await.is_ok()
    }

    #[tokio::test]
    async fn a_socket_that_is_dropped_ends_in_a_reset_unless_both_sides_have_said_all() {
        // A half-closed one, too: nothing else would tell the half that still speaks
        assert!(is_reset(false, false).await);
        assert!(is_reset(true, false).await);
        assert!(is_reset(false, true).await);
        assert!(!is_reset(true, true).await);
    }

    #[tokio::test]
    async fn a_side_has_said_all_at_its_end_and_not_before() {
        let (mut far, mut near) = connected().await;
        assert!(tokio::time::timeout(Duration::ZERO, near.read(&mut [0])).await.is_err());
        assert!(!near.heard_all, "nothing came");
        far.write_all(b"a").await.unwrap();
        far.shutdown().await.unwrap();
        assert_eq!(near.read(&mut []).await.unwrap(), 0);
        assert!(!near.heard_all, "nothing was asked for");
        assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 1);
        assert!(!near.heard_all, "there was more");
        assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(near.heard_all);
        assert!(!near.said_all);
    }

    #[tokio::test]
    async fn what_a_side_says_is_not_held_back_until_it_says_more() {
        let (log, _) = AccessLog::start(std::io::sink()).unwrap();
        let from = "127.0.0.1:9".parse().unwrap();
        let flow = Flows::new(log).open(Kind::Connection, Direction::Inbound, from);
        let ((mut app, mut caller), (mut callee, mut workload)) = (duplex(64), duplex(64));
        let mut callee = BufWriter::new(&mut callee);
        app.write_all(b"said").await.unwrap();
        let mut heard = [0; 4];
        let read = tokio::time::timeout(DEADLINE, workload.read_exact(&mut heard));
        tokio::select! {
            end = both_ways(&mut caller, &mut callee, &flow.progress) => panic!("{end:?}"),
            read = read => assert_eq!(read.unwrap().unwrap(), 4),
        }
        assert_eq!(&heard, b"said");
    }

    /// Relays between two pipes of so many bytes until it ends; the far ends are the test's.
    fn relayed(bytes: usize) -> (DuplexStream, DuplexStream, JoinHandle<Result<(), CloseReason>>) {
        let ((app, mut caller), (mut callee, workload)) = (duplex(bytes), duplex(bytes));
        let relay = async move {
            let (log, _) = AccessLog::start(std::io::sink()).unwrap();
            let from = "127.0.0.1:9".parse().unwrap();
            let flow = Flows::new(log).open(Kind::Connection, Direction::Inbound, from);
            both_ways(&mut caller, &mut callee, &flow.progress).await
        };
        (app, workload, tokio::spawn(relay))
    }

    #[tokio::test]
    async fn much_goes_both_ways_at_once_and_each_side_ends_for_itself() {
        let (app, workload, relay) = relayed(100_000);
        let side = |end: DuplexStream, seed: u32| async move {
            let said =
                |seed: u32| (0..3_000_000_u32).map(move |at| (at.wrapping_mul(seed) >> 8) as u8);
            let (mut read, mut write) = tokio::io::split(end);
            let say = async {
                write.write_all(&said(seed).collect::<Vec<_>>()).await.unwrap();
                write.shutdown().await.unwrap();
            };
            let mut heard = Vec::new();
            let hear = read.read_to_end(&mut heard);
            tokio::join!(say, hear).1.unwrap();
            assert!(heard.into_iter().eq(said(8 - seed)), "from {seed}");
        };
        let all = async { tokio::join!(side(app, 3), side(workload, 5), relay).2.unwrap() };
        tokio::time::timeout(DEADLINE, all).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_was_said_before_a_cut_is_passed_on_and_the_cut_is_told() {
        let (mut far, near) = connected().await;
        let (mut app, mut caller) = duplex(64);
        let relay = tokio::spawn(async move {
            let (log, _) = AccessLog::start(std::io::sink()).unwrap();
            let from = "127.0.0.1:9".parse().unwrap();
            let flow = Flows::new(log).open(Kind::Connection, Direction::Inbound, from);
            let mut near = near;
            both_ways(&mut caller, &mut near, &flow.progress).await
        });
        far.write_all(&[7; 10_000]).await.unwrap();
        let mut heard = vec![0; 64];
        app.read_exact(&mut heard).await.unwrap(); // the rest is held
        drop(Plain::new(far));
        let mut rest = Vec::new();
        let end = tokio::time::timeout(DEADLINE, app.read_to_end(&mut rest)).await.unwrap();
        end.unwrap();
        assert_eq!(relay.await.unwrap(), Err(CloseReason::Io));
        assert_eq!(heard.len() + rest.len(), 10_000);
    }
}
