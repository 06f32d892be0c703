//! HTTP/1.1 connections to our workload: one call at a time, kept open between calls. Each is driven
//! by the call that has it: no task and no queue lies between the two.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Request, Response, Version};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Instant};

use super::{
    body::Body,
    canonical::Upgrade,
    client::{Unsent, read},
    fate::SendError,
    interim::Interim,
    patience::{Timer, patience},
    received::Received,
};
use crate::{CloseReason, Drain};

/// Idle connections kept, however many there were at once: each has the memory of twenty apps at rest.
const KEPT: usize = 4;

/// Idle connections kept while they are in use: with fewer, those of a thousand calls at once would be
/// opened and closed with each wave.
const MAX_IDLE: usize = 1024;

/// How often those are looked at: nobody else sees that the workload has closed one.
const LOOK: Duration = Duration::from_secs(1);

type Connection = http1::Connection<TokioIo<TcpStream>, Body>;

/// One connection.
pub(crate) struct Line {
    sender: SendRequest<Body>,
    /// Nothing when it is over.
    connection: Option<Box<Connection>>,
    /// For its answers.
    timer: Timer,
}

/// The connections that wait for their next call.
#[derive(Debug)]
pub(crate) struct Recycled {
    idle: Idle,
    /// Somebody looks at them.
    watched: AtomicBool,
    drain: Drain,
}

/// What came back last is taken first: what it has in memory is still in the processor's cache, and
/// what nobody needs stays where it is.
#[derive(Clone, Debug, Default)]
struct Idle(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    /// In the order in which they came back.
    lines: VecDeque<Line>,
    /// The fewest that there were since somebody looked: so many have not been needed.
    unneeded: usize,
}

impl Line {
    /// Speaks HTTP/1.1 as a client on `io`.
    pub(crate) async fn new(io: TcpStream) -> Result<Self, CloseReason> {
        let handshake = http1::Builder::new().handshake(TokioIo::new(io)).await;
        let (sender, connection) = handshake.map_err(|_| CloseReason::ConnectFailed)?;
        Ok(Self { sender, connection: Some(Box::new(connection)), timer: Timer::default() })
    }

    /// Sends and reads what there is. Ready when the connection is over.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        poll_over(&mut self.connection, cx)
    }

    /// Resolves when both bodies of its call are through; whether it may carry another.
    async fn freed(&mut self) -> bool {
        poll_fn(|cx| {
            if self.poll_over(cx).is_ready() {
                return Poll::Ready(false);
            }
            self.sender.poll_ready(cx).map(|ready| ready.is_ok())
        })
        .await
    }

    /// Whether another call may begin on it now. Nobody waits for it, and so nobody is woken by the
    /// call that it carries next.
    fn is_free(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        self.poll_over(&mut nobody).is_pending() && self.sender.is_ready()
    }

    /// One call. A connection that has no answer for it is dropped, and so closed.
    async fn exchange(
        &mut self,
        mut request: Box<Request<Body>>,
    ) -> Result<Response<Received>, Unsent> {
        let interim = Interim::of(&mut request);
        let (patience, asked) = (patience(request.headers()), Upgrade::of(request.headers()));
        let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
        let mut sent = pin!(self.sender.try_send_request(*request));
        let answer = poll_fn(|cx| {
            let is_over = poll_over(&mut self.connection, cx).is_ready();
            if interim.are_too_many() {
                // An answer behind too many others is none.
                return Poll::Ready(Err(SendError::unknown(CloseReason::AnswerAmbiguous)));
            }
            match sent.as_mut().poll(cx) {
                Poll::Ready(told) => Poll::Ready(Ok(told)),
                // Nobody has it, and nobody tells it.
                Poll::Pending if is_over => {
                    Poll::Ready(Err(SendError::unknown(CloseReason::UpstreamFailed)))
                }
                Poll::Pending => {
                    let Some(deadline) = deadline else { return Poll::Pending };
                    let late = |()| Err(SendError::unknown(CloseReason::UpstreamTimeout));
                    self.timer.poll(deadline, cx).map(late)
                }
            }
        });
        read(answer.await.map_err(Unsent::Gone)?, asked.as_ref())
    }
}

/// Lets go of what is over: a call that lay in its queue comes back whole, to be made on another one.
fn poll_over(connection: &mut Option<Box<Connection>>, cx: &mut Context<'_>) -> Poll<()> {
    let Some(open) = connection else { return Poll::Ready(()) };
    let over = Pin::new(&mut **open).poll(cx).map(drop);
    if over.is_ready() {
        *connection = None;
    }
    over
}

impl Recycled {
    pub(crate) fn new(drain: Drain) -> Self {
        Self { idle: Idle::default(), watched: AtomicBool::new(false), drain }
    }

    /// Sends `request` on an idle connection, or on a new one from `open`.
    pub(crate) async fn send<F>(
        &self,
        mut request: Box<Request<Body>>,
        open: impl Fn() -> F,
    ) -> Result<Response<Received>, SendError>
    where
        F: Future<Output = Result<Line, CloseReason>>,
    {
        // Any number of idle connections may have been closed by the workload meanwhile.
        while let Some(mut line) = self.idle.take() {
            if !line.is_free() {
                continue;
            }
            match line.exchange(request).await {
                Ok(response) => return Ok(self.recycle(line, response)),
                Err(Unsent::Returned(back)) => request = back,
                Err(Unsent::Gone(error)) => return Err(error),
            }
        }
        let mut line = Box::pin(open()).await.map_err(SendError::not_done)?;
        self.watch();
        match line.exchange(request).await {
            Ok(response) => Ok(self.recycle(line, response)),
            Err(Unsent::Returned(_)) => Err(SendError::not_done(CloseReason::ConnectFailed)),
            Err(Unsent::Gone(error)) => Err(error),
        }
    }

    /// Takes the connection back once both bodies are through (HTTP-22).
    fn recycle(&self, mut line: Line, response: Response<Received>) -> Response<Received> {
        // Where HTTP/1.0 was spoken hyper goes on in it: it has no chunks, and a body of unknown
        // length would be left out in silence (HTTP-10).
        let is_wanted = response.version() == Version::HTTP_11;
        let is_free = line.connection.is_some() && line.sender.is_ready();
        if is_wanted && is_free && !self.drain.is_stopping() {
            self.idle.put(line);
            return response;
        }
        let (idle, watch) = (self.idle.clone(), self.drain.watch());
        self.drain.services().spawn(async move {
            let freed = tokio::select! {
                freed = line.freed() => freed,
                () = watch.cut() => false,
            };
            if freed && is_wanted && !watch.is_stopping() {
                idle.put(line);
            }
        });
        response
    }

    /// Closes what the workload has closed, and what is not needed any more, for as long as we run.
    fn watch(&self) {
        if self.watched.swap(true, Ordering::Relaxed) {
            return;
        }
        let (idle, watch) = (self.idle.clone(), self.drain.watch());
        self.drain.services().spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = watch.stopping() => return,
                }
                idle.let_go();
                // Once around: they are in the same order then.
                for _ in 0..idle.len() {
                    let Some(mut line) = idle.oldest() else { break };
                    if line.is_free() {
                        line.timer.forget();
                        idle.put(line);
                    }
                }
            }
        });
    }
}

impl Idle {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a call: the last that came back. That there is none is remembered as well.
    fn take(&self) -> Option<Line> {
        let mut waiting = self.waiting();
        let line = waiting.lines.pop_back();
        waiting.unneeded = waiting.unneeded.min(waiting.lines.len());
        line
    }

    fn len(&self) -> usize {
        self.waiting().lines.len()
    }

    fn oldest(&self) -> Option<Line> {
        self.waiting().lines.pop_front()
    }

    /// Closes it where there are enough.
    fn put(&self, line: Line) {
        let mut waiting = self.waiting();
        if waiting.lines.len() < MAX_IDLE {
            waiting.lines.push_back(line);
        }
    }

    /// Closes half of what nobody has needed since this was called last, from the oldest on: a wave
    /// that comes again soon finds the other half.
    fn let_go(&self) {
        let mut waiting = self.waiting();
        let beyond = waiting.lines.len().saturating_sub(KEPT);
        let surplus = waiting.unneeded.min(beyond).div_ceil(2);
        let closed: Vec<Line> = waiting.lines.drain(..surplus).collect();
        waiting.unneeded = waiting.lines.len();
        drop(waiting);
        drop(closed);
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("is_over", &self.connection.is_none()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        pin::pin,
        sync::{Arc, Mutex},
        time::Duration,
    };

    use http::Request;
    use http_body_util::BodyExt as _;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        task::JoinSet,
    };

    use super::{Body, Idle, KEPT, Line, Recycled, SendError};
    use crate::{CloseReason, Drain};

    const SOON: Duration = Duration::from_secs(8);

    fn request() -> Box<Request<Body>> {
        let request = Request::post("/v1/payments").header("host", "x");
        Box::new(request.body(Body::ours("money")).unwrap())
    }

    /// Reads one such request.
    async fn read(tcp: &mut TcpStream) {
        let mut got = Vec::new();
        while !got.ends_with(b"money") {
            assert_ne!(tcp.read_buf(&mut got).await.unwrap(), 0);
        }
    }

    async fn answer(tcp: &mut TcpStream) {
        read(tcp).await;
        tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    }

    #[tokio::test]
    async fn after_a_wave_of_calls_connections_are_closed_as_far_as_they_are_not_needed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let pool = Recycled::new(Drain::default());
        let mut workload = Vec::new();
        for _ in 0..KEPT + 8 {
            let (tcp, accepted) = tokio::join!(TcpStream::connect(at), listener.accept());
            workload.push(accepted.unwrap());
            pool.idle.put(Line::new(tcp.unwrap()).await.unwrap());
        }
        let mut left = Vec::new();
        for _ in 0..6 {
            pool.idle.let_go();
            left.push(pool.idle.len() - KEPT);
        }
        assert_eq!(left, [8, 4, 2, 1, 0, 0]);
    }

    /// A connection to `listener`, and the workload's end of it.
    async fn line(listener: &TcpListener) -> (Line, TcpStream) {
        let at = listener.local_addr().unwrap();
        let (tcp, accepted) = tokio::join!(TcpStream::connect(at), listener.accept());
        (Line::new(tcp.unwrap()).await.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn a_call_takes_the_connection_that_was_used_last_and_the_oldest_is_closed_first() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let idle = Idle::default();
        let mut ends = Vec::new();
        for _ in 0..=KEPT {
            let (line, end) = line(&listener).await;
            ends.push(end);
            idle.put(line);
        }
        let last = idle.take().unwrap();
        idle.put(last);
        idle.let_go();
        idle.let_go(); // nobody needed any since
        let mut byte = [0];
        assert_eq!(ends[0].read(&mut byte).await.unwrap(), 0);
        drop(idle.take().unwrap());
        assert_eq!(ends[KEPT].read(&mut byte).await.unwrap(), 0);
        assert_eq!(idle.len(), KEPT - 1);
    }

    #[tokio::test]
    async fn a_call_is_woken_for_its_answer_and_not_by_itself() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = Recycled::new(Drain::default());
        let (line, mut workload) = line(&listener).await;
        pool.idle.put(line);
        let mut polls = 0;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { answer(&mut workload).await });
        let nothing = || async { Err(CloseReason::ConnectFailed) };
        let mut called = pin!(pool.send(request(), nothing));
        let told = poll_fn(|cx| {
            polls += 1;
            called.as_mut().poll(cx)
        });
        assert_eq!(told.await.unwrap().status(), 200);
        assert_eq!(polls, 2);
    }

    #[tokio::test]
    async fn how_many_connections_were_not_needed_is_known_by_the_calls() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = Recycled::new(Drain::default());
        let ((first, _at_first), (second, mut at_second)) =
            (line(&listener).await, line(&listener).await);
        pool.idle.put(first);
        pool.idle.put(second);
        pool.idle.let_go();
        assert_eq!(pool.idle.waiting().unneeded, 2);
        let nothing = || async { Err(CloseReason::ConnectFailed) };
        let (told, ()) = tokio::join!(pool.send(request(), nothing), answer(&mut at_second));
        told.unwrap().into_body().collect().await.unwrap();
        assert_eq!(pool.idle.waiting().unneeded, 1);
        pool.idle.waiting().lines.clear();
        assert!(pool.send(request(), nothing).await.is_err());
        assert_eq!(pool.idle.waiting().unneeded, 0);
    }

    #[tokio::test]
    async fn connections_that_are_closed_or_not_needed_are_let_go_without_a_call() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = Recycled::new(Drain::default());
        let (first, mut workload) = line(&listener).await;
        let first = Mutex::new(Some(first));
        let open = || async { first.lock().unwrap().take().ok_or(CloseReason::ConnectFailed) };
        let (told, ()) = tokio::join!(pool.send(request(), open), answer(&mut workload));
        told.unwrap().into_body().collect().await.unwrap();
        let mut kept = Vec::new();
        for _ in 0..KEPT + 8 {
            let (line, workload) = line(&listener).await;
            pool.idle.put(line);
            kept.push(workload);
        }
        let until = async |most| {
            while pool.idle.len() > most {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(SOON, until(KEPT + 4)).await.unwrap(); // half of what was not needed
        drop(kept);
        tokio::time::timeout(SOON, until(1)).await.unwrap();
    }

    #[tokio::test]
    async fn a_workload_that_has_closed_its_idle_connections_is_called_on_a_new_one() {
        // More of them than one poll of a task may look at.
        for idle in [1, 10, 200, 1_000] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = listener.local_addr().unwrap();
            let pool = Arc::new(Recycled::new(Drain::default()));
            let open =
                move || async move { Line::new(TcpStream::connect(at).await.unwrap()).await };
            let mut calls = JoinSet::new();
            for _ in 0..idle {
                let pool = pool.clone();
                calls.spawn(async move {
                    let answer = pool.send(request(), open).await.unwrap();
                    answer.into_body().collect().await.unwrap();
                });
            }
            let mut workload = Vec::new();
            for _ in 0..idle {
                workload.push(listener.accept().await.unwrap().0);
            }
            for tcp in &mut workload {
                answer(tcp).await;
            }
            while let Some(done) = calls.join_next().await {
                done.unwrap();
            }
            assert_eq!(pool.idle.len(), idle);
            let probe = TcpStream::connect(at).await.unwrap();
            drop((workload, listener.accept().await.unwrap()));
            probe.readable().await.unwrap(); // so have all the others become
            let anew = async {
                let (mut tcp, _) = listener.accept().await.unwrap();
                answer(&mut tcp).await;
            };
            let both = async { tokio::join!(pool.send(request(), open), anew) };
            let (told, ()) = tokio::time::timeout(SOON, both).await.unwrap();
            assert_eq!(told.unwrap().status(), 200, "{idle}");
        }
    }

    /// What is told of a call of which the workload has read everything, and then does this.
    async fn told(
        timeout: Option<&'static str>,
        workload: impl AsyncFnOnce(TcpStream),
    ) -> Result<u16, SendError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let pool = Recycled::new(Drain::default());
        let open = || async { Line::new(TcpStream::connect(at).await.unwrap()).await };
        let mut request = request();
        if let Some(timeout) = timeout {
            let headers = request.headers_mut();
            headers.insert("content-type", "application/grpc".parse().unwrap());
            headers.insert("grpc-timeout", timeout.parse().unwrap());
        }
        let serve = async {
            let (mut tcp, _) = listener.accept().await.unwrap();
            read(&mut tcp).await;
            workload(tcp).await;
            std::future::pending::<()>().await;
        };
        let sent = async {
            tokio::select! {
                sent = pool.send(request, open) => sent.map(|answer| answer.status().as_u16()),
                () = serve => panic!("it stays"),
            }
        };
        tokio::time::timeout(SOON, sent).await.unwrap()
    }

    #[tokio::test]
    async fn of_a_call_that_the_workload_has_read_nobody_knows_until_it_answers() {
        let failed = Err(SendError::unknown(CloseReason::UpstreamFailed));
        assert_eq!(told(None, async |tcp| drop(tcp)).await, failed);
        let late = Err(SendError::unknown(CloseReason::UpstreamTimeout));
        let mut held = None;
        assert_eq!(told(Some("50m"), async |tcp| held = Some(tcp)).await, late);
        let doubtful = Err(SendError::unknown(CloseReason::AnswerAmbiguous));
        let flood = async |mut tcp: TcpStream| {
            for _ in 0..9 {
                tcp.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.unwrap();
            }
            held = Some(tcp);
        };
        assert_eq!(told(None, flood).await, doubtful); // HTTP-20
    }

    #[tokio::test]
    async fn the_next_call_on_a_connection_waits_for_as_long_as_it_says() {
        // RES-03; the first would wait for minutes
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let pool = Recycled::new(Drain::default());
        let open = || async { Line::new(TcpStream::connect(at).await.unwrap()).await };
        let mut hasty = request();
        let headers = hasty.headers_mut();
        headers.insert("content-type", "application/grpc".parse().unwrap());
        headers.insert("grpc-timeout", "50m".parse().unwrap());
        let serve = async {
            let (mut tcp, _) = listener.accept().await.unwrap();
            read(&mut tcp).await;
            tokio::task::yield_now().await; // it is waited for
            tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            tcp
        };
        let (first, mut tcp) = tokio::join!(pool.send(request(), open), serve);
        first.unwrap().into_body().collect().await.unwrap();
        assert_eq!(pool.idle.len(), 1);
        let both = async { tokio::join!(pool.send(hasty, open), read(&mut tcp)) };
        let (second, ()) = tokio::time::timeout(SOON, both).await.unwrap();
        assert_eq!(second.err(), Some(SendError::unknown(CloseReason::UpstreamTimeout)));
    }

    #[tokio::test]
    async fn an_answer_that_goes_on_is_cut_with_us_and_its_connection_is_not_used_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let drain = Drain::default();
        let pool = Recycled::new(drain.clone());
        let open = || async { Line::new(TcpStream::connect(at).await.unwrap()).await };
        let serve = async {
            let (mut tcp, _) = listener.accept().await.unwrap();
            read(&mut tcp).await;
            tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await.unwrap();
            tcp
        };
        let (answered, mut tcp) = tokio::join!(pool.send(request(), open), serve);
        let _body = answered.unwrap().into_body();
        assert!(pool.idle.waiting().lines.is_empty()); // HTTP-22
        tokio::time::timeout(SOON, drain.drain(Duration::ZERO)).await.unwrap();
        let end = tokio::time::timeout(SOON, tcp.read(&mut [0])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}
