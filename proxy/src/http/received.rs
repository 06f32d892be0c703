//! A body as it comes: hyper's, or a stream of HTTP/2 that hyper has no part in.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::kept::{Lost, Polled};
use crate::places::Place;

/// What was received of a message behind its head.
#[derive(Debug)]
pub(crate) enum Received {
    /// Of a caller, or of a callee over HTTP/1.1.
    Hyper(Incoming),
    /// Of a callee over HTTP/2.
    Stream(Stream),
}

/// The body of an answer over HTTP/2.
#[derive(Debug)]
pub(crate) struct Stream {
    stream: RecvStream,
    /// How much is left of what was announced, if anything was; h2 insists on it.
    left: Option<u64>,
    /// There is nothing more but trailers.
    is_through: bool,
    place: Place,
}

impl Received {
    /// Of an answer with these `headers`, which announce one length at most.
    pub(super) fn stream(stream: RecvStream, headers: &HeaderMap, place: Place) -> Self {
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok());
        let left = match announced.and_then(|digits| digits.parse().ok()) {
            None if stream.is_end_stream() => Some(0),
            left => left,
        };
        Self::Stream(Stream { stream, left, is_through: false, place })
    }
}

impl From<Incoming> for Received {
    fn from(incoming: Incoming) -> Self {
        Self::Hyper(incoming)
    }
}

impl Stream {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        if !self.is_through {
            match ready!(self.stream.poll_data(cx)).transpose()? {
                Some(bytes) => {
                    self.place.hears();
                    // Read, so there is room for as much again (RES-05).
                    let _ = self.stream.flow_control().release_capacity(bytes.len());
                    self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                None => self.is_through = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = Lost;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        match self.get_mut() {
            Self::Hyper(incoming) => {
                Pin::new(incoming).poll_frame(cx).map(|it| it.map(|it| it.map_err(Lost::Broken)))
            }
            Self::Stream(stream) => stream.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Hyper(incoming) => incoming.is_end_stream(),
            Self::Stream(stream) => stream.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Hyper(incoming) => incoming.size_hint(),
            Self::Stream(stream) => stream.left.map(SizeHint::with_exact).unwrap_or_default(),
        }
    }
}
