//! Copies bytes both ways until both sides have closed. A half-closed side stays half-closed.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};

use crate::{CloseReason, flow::Bytes};

/// Relays between the caller's side and the callee's side; `bytes` counts while it runs.
pub(crate) async fn both_ways(
    caller: &mut (impl AsyncRead + AsyncWrite + Unpin),
    callee: &mut (impl AsyncRead + AsyncWrite + Unpin),
    bytes: &Bytes,
) -> Result<(), CloseReason> {
    let mut caller = Counted { io: caller, bytes };
    copy_bidirectional(&mut caller, callee).await.map(drop).map_err(|_| CloseReason::Io)
}

/// Counts at the caller's side, so that a flow that is cut has its bytes too.
struct Counted<'a, IO> {
    io: &'a mut IO,
    bytes: &'a Bytes,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Counted<'_, IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut *self.io).poll_read(cx, buffer);
        self.bytes.add_request(buffer.filled().len() - before);
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
            self.bytes.add_response(*written);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_shutdown(cx)
    }
}
