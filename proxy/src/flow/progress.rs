//! What passes while a flow runs: counted in both directions, and the end of all of it is its record.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use super::{
    Flows,
    record::{FlowRecord, Kind, Outcome},
};
use crate::{CloseReason, metrics};

/// How far a flow is. Held by the flow, by what is left of its request, and by every byte that is
/// taken but not written yet: with the last of them goes the record.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    /// From the caller.
    pub(crate) request: Way,
    /// The same, of a call that was made for the second time.
    again: OnceLock<Box<Way>>,
    /// To the caller.
    pub(crate) response: Way,
    conclusion: OnceLock<Conclusion>,
    _open: Option<metrics::Open>,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Way {
    read: AtomicU64,
    passed: AtomicU64,
    /// Whether it is told when the first of them were passed on.
    is_timed: bool,
    first: OnceLock<Instant>,
    end: OnceLock<(CloseReason, Instant)>,
}

/// Which time it is that a call is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Attempt {
    First,
    Second,
}

/// What the flow said last.
#[derive(Debug)]
struct Conclusion {
    record: Box<FlowRecord>,
    flows: Flows,
}

impl Progress {
    pub(super) fn of(record: &FlowRecord) -> Self {
        let open = (record.kind == Kind::Call).then(|| metrics::Open::call(record.direction));
        Self {
            started: Instant::now(),
            request: Way::default(),
            again: OnceLock::new(),
            response: Way { is_timed: true, ..Way::default() },
            conclusion: OnceLock::new(),
            _open: open,
        }
    }

    /// When it began.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// The request on its way, for the first time or for the second: of what the first one left
    /// behind nothing counts for the other.
    pub(crate) fn request(&self, attempt: Attempt) -> &Way {
        match attempt {
            Attempt::First => &self.request,
            Attempt::Second => self.again.get_or_init(Box::default),
        }
    }

    /// That of the last attempt.
    fn last_request(&self) -> &Way {
        self.again.get().map_or(&self.request, |again| again)
    }

    /// The flow is over but for its bytes in transit.
    pub(super) fn conclude(&self, record: Box<FlowRecord>, flows: Flows) {
        let _ = self.conclusion.set(Conclusion { record, flows }); // there is one flow
    }

    /// How a flow ended whose answer ended with `close`: it is done when all that was read, from
    /// both sides, was passed on to the other.
    fn close(&self, kind: Kind, close: CloseReason) -> CloseReason {
        if close != CloseReason::Done || kind == Kind::Connection {
            return close;
        }
        if !self.response.is_passed() {
            return CloseReason::Cancelled;
        }
        let request = self.last_request();
        match request.end.get() {
            Some((CloseReason::Done, _)) if request.is_passed() => CloseReason::Done,
            Some((CloseReason::Done | CloseReason::Io, _)) | None => CloseReason::AnsweredEarly,
            Some((cut, _)) => *cut,
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let Some(Conclusion { mut record, flows }) = self.conclusion.take() else { return };
        let since = |at: &Instant| at.duration_since(self.started);
        record.duration = self.started.elapsed();
        record.first_byte = self.response.first.get().map(since);
        let request = self.last_request();
        record.request_end = request.end.get().map(|(_, at)| since(at));
        record.bytes = (request.passed(), self.response.passed());
        record.attempts = 1 + u8::from(self.again.get().is_some());
        record.close = self.close(record.kind, record.close);
        if record.fate == Outcome::Done && record.close != CloseReason::Done {
            record.fate = Outcome::Unknown; // an answer came, but not all went through
        }
        flows.ended(&mut record);
    }
}

impl Way {
    /// There are `bytes` more to be passed on.
    pub(crate) fn read(&self, bytes: usize) {
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The other side's connection has taken `bytes` of them.
    pub(crate) fn pass(&self, bytes: usize) {
        if bytes > 0 {
            self.passed.fetch_add(bytes as u64, Ordering::Relaxed);
            if self.is_timed {
                self.first.get_or_init(Instant::now);
            }
        }
    }

    /// Nothing more is read: `Done` when that was all.
    pub(crate) fn end(&self, close: CloseReason) {
        self.end.get_or_init(|| (close, Instant::now()));
    }

    fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    fn is_passed(&self) -> bool {
        self.read.load(Ordering::Relaxed) == self.passed()
    }
}
