//! A request's body of which is kept what has passed, so that a declared call can be made twice.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::received::Received;
use crate::flow::Attempt;

/// The most that is kept of one body, in bytes. A longer one is sent once.
const MOST: usize = 64 * 1024;

/// What a body says next.
pub(super) type Polled = Poll<Option<Result<Frame<Bytes>, Lost>>>;

/// Where a body comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// As it comes, and gone with that: all bodies but those of declared calls.
    Passing(Received),
    Kept(Kept),
}

/// Why a body does not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error(transparent)]
    Broken(#[from] hyper::Error),
    #[error(transparent)]
    Reset(#[from] h2::Error),
    #[error("another attempt has it now")]
    TakenOver,
}

/// The body of one attempt.
#[derive(Debug)]
pub(crate) struct Kept {
    shared: Shared,
    attempt: Attempt,
    /// What has passed in an earlier attempt, and not yet in this one.
    before: Bytes,
}

/// Keeps a body while it may be sent a second time: nothing is kept any more when this is gone.
#[derive(Debug)]
pub(crate) struct Keeper(Shared);

/// A body from its first attempt to its last. The lock is never waited for but in the moment in which
/// a second attempt begins.
#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    incoming: Incoming,
    version: Version,
    bytes: Vec<u8>,
    end: End,
    attempt: Attempt,
    /// Of whoever reads now.
    reader: Option<Waker>,
}

/// How far a body is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// There is more, or may be.
    Open,
    /// What is kept is all of it.
    Whole,
    /// It is not kept: it is too long, has trailers or broke off, or nobody will send it again.
    Lost,
}

/// Whether a body says of itself that it is longer than what is kept.
pub(super) fn is_too_long(incoming: &Incoming) -> bool {
    incoming.size_hint().lower() > MOST as u64
}

impl Keeper {
    pub(super) fn of(incoming: Incoming, version: Version) -> Self {
        let (bytes, end, attempt) = (Vec::new(), End::Open, Attempt::First);
        let state = State { incoming, version, bytes, end, attempt, reader: None };
        Self(Shared(Arc::new(Mutex::new(state))))
    }

    pub(super) fn first(&self) -> Kept {
        Kept { shared: self.0.clone(), attempt: Attempt::First, before: Bytes::new() }
    }

    /// Whether not all of it is there any more.
    pub(super) fn is_lost(&self) -> bool {
        self.0.state().end == End::Lost
    }

    /// The same body from its beginning; the first attempt has no more of it. `None` when not all of
    /// it is there any more.
    pub(super) fn again(self) -> Option<Kept> {
        let mut state = self.0.state();
        if state.end == End::Lost {
            return None;
        }
        state.attempt = Attempt::Second;
        let before = state.release();
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Some(Kept { shared: self.0.clone(), attempt: Attempt::Second, before })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.state().release();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What comes next of the body, of which everything that is kept has passed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        if self.end == End::Whole {
            return Poll::Ready(None);
        }
        let frame = Pin::new(&mut self.incoming).poll_frame(cx);
        if frame.is_pending() {
            self.reader = Some(cx.waker().clone());
        }
        Poll::Ready(match ready!(frame) {
            Some(Ok(frame)) => {
                self.keep(&frame);
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                self.lose();
                Some(Err(Lost::Broken(error)))
            }
            None => {
                // RFC 9113 §8.1: over HTTP/2 a reset may look like the end.
                if self.version == Version::HTTP_2 && !self.incoming.is_end_stream() {
                    self.lose();
                } else if self.end == End::Open {
                    self.end = End::Whole;
                }
                None
            }
        })
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        match frame.data_ref() {
            Some(data) if self.bytes.len().saturating_add(data.len()) <= MOST => {
                if self.end == End::Open {
                    self.bytes.extend_from_slice(data);
                }
            }
            _ => self.lose(),
        }
    }

    fn lose(&mut self) {
        self.end = End::Lost;
        self.bytes = Vec::new();
    }

    /// What was kept. Nothing is from now on.
    fn release(&mut self) -> Bytes {
        let bytes = std::mem::take(&mut self.bytes);
        if self.end == End::Open {
            self.end = End::Lost;
        }
        bytes.into()
    }
}

impl Kept {
    /// In which the app sent it, whatever it goes on in.
    pub(super) fn version(&self) -> Version {
        self.shared.state().version
    }

    /// Which time it is sent.
    pub(super) fn attempt(&self) -> Attempt {
        self.attempt
    }
}

impl Body for Kept {
    type Data = Bytes;
    type Error = Lost;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let Self { shared, attempt, before } = self.get_mut();
        let mut state = shared.state();
        if state.attempt != *attempt {
            return Poll::Ready(Some(Err(Lost::TakenOver)));
        }
        if !before.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(before)))));
        }
        state.poll(cx)
    }

    fn is_end_stream(&self) -> bool {
        let state = self.shared.state();
        // What another attempt has now is not whole here, however it ends there.
        state.attempt == self.attempt
            && self.before.is_empty()
            && (state.end == End::Whole || state.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.shared.state();
        if state.attempt != self.attempt {
            return SizeHint::default();
        }
        let (rest, coming) = (self.before.len() as u64, state.incoming.size_hint());
        let mut hint = SizeHint::new();
        if let Some(upper) = coming.upper() {
            hint.set_upper(rest.saturating_add(upper));
        }
        hint.set_lower(rest.saturating_add(coming.lower()));
        hint
    }
}

impl Body for Source {
    type Data = Bytes;
    type Error = Lost;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        match self.get_mut() {
            Self::Passing(received) => Pin::new(received).poll_frame(cx),
            Self::Kept(kept) => Pin::new(kept).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Passing(received) => received.is_end_stream(),
            Self::Kept(kept) => kept.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Passing(received) => received.size_hint(),
            Self::Kept(kept) => kept.size_hint(),
        }
    }
}

#[cfg(test)]
pub(in crate::http) mod tests;
