//! A request's body on its way into a stream of HTTP/2.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf as _;
use h2::{Reason, SendStream};
use http_body::Body as _;

use super::{body::Body, passing::Passing};

/// Sends a body to its end, as fast as the other side takes it.
#[derive(Debug)]
pub(super) struct Pump {
    body: Body,
    stream: SendStream<Passing>,
    /// Read, and waiting for room; whether it is the last.
    held: Option<(Passing, bool)>,
    /// The other side has all of it, or wants no more.
    is_done: bool,
    /// Its call waits for it no more.
    is_alone: bool,
}

impl Pump {
    pub(super) fn new(body: Body, stream: SendStream<Passing>) -> Self {
        Self { body, stream, held: None, is_done: false, is_alone: false }
    }

    /// The rest of it, beside an answer.
    pub(super) fn alone(mut self) -> Self {
        self.is_alone = true;
        self
    }

    /// Sends what is there. `None`: it is over, because nobody takes it any more.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        // Also while there is nothing to send: who does not want the rest says so at any time.
        if self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(None);
        }
        if self.held.is_some() {
            // AZ-10: also while nobody takes it, who would get it later.
            let body = &mut self.body;
            let cut = if self.is_alone { body.poll_ended(cx) } else { body.poll_cut(cx) };
            if cut.is_ready() {
                return Poll::Ready(None);
            }
            // Asked for with the body in hand: whoever asks before holds up the other streams.
            while self.stream.capacity() == 0 {
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Poll::Ready(None),
                }
            }
        }
        if let Some((data, is_last)) = self.held.take() {
            return Poll::Ready(self.send(data, is_last));
        }
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            // Neither CANCEL nor NO_ERROR: some servers take these for the end of the body.
            Some(Err(_)) => return Poll::Ready(None),
            None => return Poll::Ready(self.send(Passing::new(bytes::Bytes::new(), None), true)),
        };
        let frame = match frame.into_data() {
            Ok(data) if !data.has_remaining() => {
                return Poll::Ready(self.send(data, self.body.is_end_stream()));
            }
            Ok(data) => {
                self.stream.reserve_capacity(1);
                self.held = Some((data, self.body.is_end_stream()));
                return Poll::Ready(Some(()));
            }
            Err(frame) => frame,
        };
        if let Ok(trailers) = frame.into_trailers() {
            self.stream.reserve_capacity(0); // for others
            self.is_done = self.stream.send_trailers(trailers).is_ok();
            return Poll::Ready(None);
        }
        Poll::Ready(Some(()))
    }

    fn send(&mut self, data: Passing, is_last: bool) -> Option<()> {
        let is_sent = self.stream.send_data(data, is_last).is_ok();
        self.is_done = is_last && is_sent;
        (is_sent && !is_last).then_some(())
    }
}

impl Future for Pump {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while ready!(self.step(cx)).is_some() {}
        Poll::Ready(())
    }
}

/// What breaks off is not taken for whole.
impl Drop for Pump {
    fn drop(&mut self) {
        if !self.is_done {
            self.stream.send_reset(Reason::INTERNAL_ERROR);
        }
    }
}
