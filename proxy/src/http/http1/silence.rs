//! Silence on a connection of HTTP/1.1. hyper has two buffers of 8 KiB for each, and what a call needs comes
//! on top: while nothing is asked all of it goes, and the socket and its deadline are what is left.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    Request, Response,
    body::Incoming,
    rt,
    server::conn::http1::{Builder, UpgradeableConnection},
    service::Service,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until},
};

use super::late::Late;
use crate::{
    Drain,
    heard::Heard,
    http::{body::Body, lingering::Lingering},
};

/// So much later a call in progress is looked at again: each look wakes its connection.
const RARELY: u32 = 8;

/// How long a connection may wait, and after which part of it it is silent.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Waits {
    /// For a request's head, silence before it included.
    pub(in crate::http) head: Duration,
    /// None: never.
    pub(in crate::http) silence: Option<Duration>,
}

/// How a silence ended.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Broken {
    /// The deadline that it had.
    until: Instant,
    /// By bytes, of which nobody knows yet what they are.
    is_heard: bool,
}

/// What is seen of a connection while hyper has it.
#[derive(Clone, Debug)]
pub(in crate::http) struct Silence(Arc<Seen>);

#[derive(Debug)]
struct Seen {
    waits: &'static Waits,
    /// Where a silence was broken: how.
    before: Option<Broken>,
    /// What the next is counted from.
    begun: Instant,
    /// The deadline of the head that hyper waits for, in microseconds. 0 as long as there is a call.
    until: AtomicU64,
    /// That is over.
    late: Late,
    /// hyper has read a request since it has the connection.
    is_used: AtomicBool,
    /// All that was written has left.
    is_said: AtomicBool,
    /// No other request is read.
    is_over: AtomicBool,
}

impl Silence {
    /// Of a connection that hyper has from now on, after a silence that was broken or from the begin.
    pub(in crate::http) fn new(waits: &'static Waits, before: Option<Broken>) -> Self {
        Self(Arc::new(Seen {
            waits,
            before,
            begun: Instant::now(),
            until: AtomicU64::new(0),
            late: Late::default(),
            is_used: AtomicBool::new(false),
            is_said: AtomicBool::new(true),
            is_over: AtomicBool::new(false),
        }))
    }

    /// HTTP/1.1 within these waits.
    pub(in crate::http) fn waiting<'a>(&self, http1: &'a mut Builder) -> &'a mut Builder {
        http1.timer(self.clone()).header_read_timeout(self.0.waits.head)
    }

    /// A request was read.
    pub(in crate::http) fn asked(&self) {
        self.0.is_used.store(true, Ordering::Relaxed);
        self.0.until.store(0, Ordering::Relaxed);
    }

    /// Something is being written.
    pub(in crate::http) fn saying(&self) {
        self.0.is_said.store(false, Ordering::Relaxed);
    }

    /// All of it has left. hyper flushes when it has written all that it has.
    pub(in crate::http) fn said(&self) {
        self.0.is_said.store(true, Ordering::Relaxed);
    }

    /// The connection ends.
    pub(in crate::http) fn over(&self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }

    /// Whether it was broken by something that is no request yet.
    pub(super) fn is_heard(&self) -> bool {
        self.0.before.is_some_and(|before| before.is_heard)
            && !self.0.is_used.load(Ordering::Relaxed)
    }

    /// When the head that is waited for has to be there, if there is no call.
    fn until(&self) -> Option<Instant> {
        let until = self.0.until.load(Ordering::Relaxed);
        (until > 0).then(|| self.0.begun + Duration::from_micros(until))
    }

    /// Until when the connection is silent, if it is now, or when it is to be looked at again. Where nothing
    /// was asked since the last silence there may be half a head.
    fn is_now(&self, after: Duration) -> Result<Instant, Instant> {
        let now = Instant::now();
        self.0.late.set(self.until().is_some_and(|until| until <= now));
        let flags = [&self.0.is_used, &self.0.is_said];
        let is_at_rest = flags.iter().all(|flag| flag.load(Ordering::Relaxed));
        match self.until() {
            Some(until) if is_at_rest && !self.0.is_over.load(Ordering::Relaxed) => {
                let silent = (until + after).checked_sub(self.0.waits.head).unwrap_or(now);
                if silent <= now { Ok(until) } else { Err(silent) }
            }
            Some(until) if until > now => Err(until.min(now + after)),
            Some(_) => Err(now + after),
            None => Err(now + after * RARELY),
        }
    }
}

/// hyper asks for one sleep for each head, when it has nothing else to do for the connection. Where
/// [`Awake`] looks at the connection anyway that is no timer: it would be set and taken back for each call.
impl rt::Timer for Silence {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        TokioTimer::new().sleep(duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn rt::Sleep>> {
        let is_first = !self.0.is_used.load(Ordering::Relaxed);
        let before = self.0.before.filter(|_| is_first);
        let deadline = before.map_or_else(|| deadline.into(), |before| before.until);
        let until = deadline.saturating_duration_since(self.0.begun).as_micros();
        self.0.until.store(u64::try_from(until).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
        if self.0.waits.silence.is_none() {
            return TokioTimer::new().sleep_until(deadline.into());
        }
        self.0.late.set(false);
        Box::pin(self.0.late.clone())
    }

    fn now(&self) -> std::time::Instant {
        TokioTimer::new().now()
    }
}

type Connection<IO, S> = UpgradeableConnection<TokioIo<Lingering<IO>>, S>;

/// A connection that hyper has. Resolves when it is over, or silent.
pub(in crate::http) struct Awake<IO, S>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
{
    /// Nothing when it is silent.
    connection: Option<Connection<IO, S>>,
    /// What hyper does not close, because it does not know that there were calls before.
    leaving: Option<Lingering<IO>>,
    silence: Silence,
    look: Option<Look>,
}

/// When a connection is looked at.
struct Look {
    at: Pin<Box<Sleep>>,
    /// After which wait it is silent.
    after: Duration,
}

impl<IO, S> Awake<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
{
    pub(in crate::http) fn new(connection: Connection<IO, S>, silence: Silence) -> Self {
        // A deadline from before the silence may come first.
        let (begun, before) = (silence.0.begun, silence.0.before);
        let first = |at: Instant| before.map_or(at, |before| before.until.min(at));
        let look = |after| Look { at: Box::pin(sleep_until(first(begun + after))), after };
        let look = silence.0.waits.silence.map(look);
        Self { connection: Some(connection), leaving: None, silence, look }
    }

    /// Lets the call in progress end, and the connection with it.
    pub(in crate::http) fn leave(self: Pin<&mut Self>) {
        let this = self.get_mut();
        if this.silence.is_heard() {
            // Half a head behind a call keeps no connection open, as where hyper saw the call.
            let parts = this.connection.take().and_then(Connection::into_parts);
            this.leaving = parts.map(|parts| parts.io.into_inner());
        } else if let Some(connection) = &mut this.connection {
            Pin::new(connection).graceful_shutdown();
        }
    }
}

impl<IO, S> Future for Awake<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
{
    type Output = Option<Silent<IO>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(io) = &mut this.leaving {
            return Pin::new(io).poll_shutdown(cx).map(|_| None); // it may be gone
        }
        loop {
            let Some(connection) = &mut this.connection else { return Poll::Ready(None) };
            // First: what there is to be read was asked.
            if Pin::new(connection).poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            let Some(look) = &mut this.look else { return Poll::Pending };
            if look.at.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match this.silence.is_now(look.after) {
                Ok(until) => {
                    let parts = this.connection.take().and_then(Connection::into_parts);
                    return Poll::Ready(parts.map(|parts| Silent {
                        io: parts.io.into_inner().into_inner(),
                        read: parts.read_buf,
                        until,
                    }));
                }
                Err(later) => look.at.as_mut().reset(later),
            }
        }
    }
}

/// A connection that hyper does not have.
pub(in crate::http) struct Silent<IO> {
    io: IO,
    /// What hyper has read of the next head.
    read: Bytes,
    until: Instant,
}

impl<IO> Silent<Heard<IO>> {
    /// The connection, and how its silence ends where nothing is heard.
    pub(in crate::http) fn into_parts(self) -> (Heard<IO>, Broken) {
        let Self { io, read, until } = self;
        let io = if read.is_empty() { io } else { io.after(&read) };
        (io, Broken { until, is_heard: false })
    }
}

impl Broken {
    /// Resolves when hyper has something to do for `io`.
    pub(in crate::http) async fn by<IO>(&mut self, io: &mut Heard<IO>, drain: &Drain)
    where
        IO: AsyncRead + Unpin,
    {
        self.is_heard = tokio::select! {
            // Of an end hyper hears again, and of an error.
            goes_on = io.goes_on() => goes_on.unwrap_or_default(),
            () = drain.stopping() => false,
            () = sleep_until(self.until) => false,
        };
    }
}
