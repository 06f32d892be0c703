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

use crate::flow::Attempt;

/// The most that is kept of one body, in bytes. A longer one is sent once.
const MOST: usize = 64 * 1024;

/// What a body says next.
type Polled = Poll<Option<Result<Frame<Bytes>, Lost>>>;

/// Where a body comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// As it comes, and gone with that: all bodies but those of declared calls.
    Passing(Incoming),
    Kept(Kept),
}

/// Why a body does not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error(transparent)]
    Broken(#[from] hyper::Error),
    #[error("another attempt has it now")]
    TakenOver,
}

/// The body of one attempt.
#[derive(Debug)]
pub(crate) struct Kept {
    keeper: Keeper,
    attempt: Attempt,
    /// How much of what is kept has passed in this attempt.
    passed: usize,
}

/// Holds a body from its first attempt to its last. The lock is never waited for but in the moment in
/// which a second attempt begins.
#[derive(Clone, Debug)]
pub(crate) struct Keeper(Arc<Mutex<State>>);

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
    /// It cannot be sent twice: it is too long, has trailers, or broke off.
    Lost,
}

impl Keeper {
    pub(super) fn of(incoming: Incoming, version: Version) -> Self {
        let too_long = incoming.size_hint().lower() > MOST as u64;
        let end = if too_long { End::Lost } else { End::Open };
        let (bytes, attempt, reader) = (Vec::new(), Attempt::First, None);
        Self(Arc::new(Mutex::new(State { incoming, version, bytes, end, attempt, reader })))
    }

    pub(super) fn first(&self) -> Kept {
        Kept { keeper: self.clone(), attempt: Attempt::First, passed: 0 }
    }

    /// The same body from its beginning; the first attempt has no more of it. `None` when not all of
    /// it is there any more.
    pub(super) fn again(&self) -> Option<Kept> {
        let mut state = self.state();
        if state.end == End::Lost {
            return None;
        }
        state.attempt = Attempt::Second;
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Some(Kept { keeper: self.clone(), attempt: Attempt::Second, passed: 0 })
    }

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

    fn rest(&self, passed: usize) -> u64 {
        self.bytes.len().saturating_sub(passed) as u64
    }
}

impl Body for Kept {
    type Data = Bytes;
    type Error = Lost;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let Self { keeper, attempt, passed } = self.get_mut();
        let mut state = keeper.state();
        if state.attempt != *attempt {
            return Poll::Ready(Some(Err(Lost::TakenOver)));
        }
        if let Some(rest) = state.bytes.get(*passed..).filter(|rest| !rest.is_empty()) {
            let rest = Bytes::copy_from_slice(rest);
            *passed += rest.len();
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        let frame = state.poll(cx);
        *passed = state.bytes.len();
        frame
    }

    fn is_end_stream(&self) -> bool {
        let state = self.keeper.state();
        state.rest(self.passed) == 0 && (state.end == End::Whole || state.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.keeper.state();
        let (rest, coming) = (state.rest(self.passed), state.incoming.size_hint());
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
            Self::Passing(incoming) => {
                Pin::new(incoming).poll_frame(cx).map(|it| it.map(|it| it.map_err(Lost::Broken)))
            }
            Self::Kept(kept) => Pin::new(kept).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Passing(incoming) => incoming.is_end_stream(),
            Self::Kept(kept) => kept.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Passing(incoming) => incoming.size_hint(),
            Self::Kept(kept) => kept.size_hint(),
        }
    }
}
