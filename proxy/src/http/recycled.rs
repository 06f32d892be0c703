//! HTTP/1.1 connections to our workload: one call at a time, kept open between calls. Each is driven
//! by the call that has it: no task and no queue lies between the two.

use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use crossbeam_queue::ArrayQueue;
use http::{Request, Response, Version};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{
    body::Body,
    canonical::Upgrade,
    client::{Unsent, read},
    fate::SendError,
    interim::Interim,
    patience::patience,
    received::Received,
};
use crate::{CloseReason, Drain};

/// Idle connections kept.
const MAX_IDLE: usize = 256;

/// How often those are looked at: nobody else sees that the workload has closed one.
const LOOK: Duration = Duration::from_secs(1);

type Connection = http1::Connection<TokioIo<TcpStream>, Body>;

/// One connection.
pub(crate) struct Line {
    sender: SendRequest<Body>,
    connection: Box<Connection>,
    is_over: bool,
}

/// The connections that wait for their next call.
#[derive(Debug)]
pub(crate) struct Recycled {
    idle: Arc<ArrayQueue<Line>>,
    /// Somebody looks at them.
    watched: AtomicBool,
    drain: Drain,
}

impl Line {
    /// Speaks HTTP/1.1 as a client on `io`.
    pub(crate) async fn new(io: TcpStream) -> Result<Self, CloseReason> {
        let handshake = http1::Builder::new().handshake(TokioIo::new(io)).await;
        let (sender, connection) = handshake.map_err(|_| CloseReason::ConnectFailed)?;
        Ok(Self { sender, connection: Box::new(connection), is_over: false })
    }

    /// Sends and reads what there is. Ready when the connection is over.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_over {
            self.is_over = Pin::new(&mut *self.connection).poll(cx).is_ready();
        }
        if self.is_over { Poll::Ready(()) } else { Poll::Pending }
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

    /// Whether another call may begin on it now.
    async fn is_free(&mut self) -> bool {
        let is_over = poll_fn(|cx| Poll::Ready(self.poll_over(cx).is_ready())).await;
        !is_over && self.sender.is_ready()
    }

    /// One call. A connection that has no answer for it is dropped, and so closed.
    async fn exchange(&mut self, mut request: Request<Body>) -> Result<Response<Received>, Unsent> {
        let interim = Interim::of(&mut request);
        let (patience, asked) = (patience(request.headers()), Upgrade::of(request.headers()));
        let mut sent = pin!(self.sender.try_send_request(request));
        let answer = poll_fn(|cx| {
            let is_over = Pin::new(&mut *self.connection).poll(cx).is_ready();
            self.is_over = is_over;
            if interim.are_too_many() {
                // An answer behind too many others is none.
                return Poll::Ready(Err(SendError::unknown(CloseReason::AnswerAmbiguous)));
            }
            match sent.as_mut().poll(cx) {
                Poll::Ready(told) => Poll::Ready(Ok(told)),
                // It lies in a queue that nobody reads any more (hyperium/hyper #4122).
                Poll::Pending if is_over => {
                    Poll::Ready(Err(SendError::unknown(CloseReason::UpstreamFailed)))
                }
                Poll::Pending => Poll::Pending,
            }
        });
        let answer = match patience {
            Some(patience) => tokio::time::timeout(patience, answer).await,
            None => Ok(answer.await),
        };
        let late = |_| Unsent::Gone(SendError::unknown(CloseReason::UpstreamTimeout));
        read(answer.map_err(late)?.map_err(Unsent::Gone)?, asked.as_ref())
    }
}

impl Recycled {
    pub(crate) fn new(drain: Drain) -> Self {
        let idle = Arc::new(ArrayQueue::new(MAX_IDLE));
        Self { idle, watched: AtomicBool::new(false), drain }
    }

    /// Sends `request` on an idle connection, or on a new one from `open`.
    pub(crate) async fn send<F>(
        &self,
        mut request: Request<Body>,
        open: impl Fn() -> F,
    ) -> Result<Response<Received>, SendError>
    where
        F: Future<Output = Result<Line, CloseReason>>,
    {
        // Any number of idle connections may have been closed by the workload meanwhile.
        while let Some(mut line) = self.idle.pop() {
            if !line.is_free().await {
                continue;
            }
            match line.exchange(request).await {
                Ok(response) => return Ok(self.recycle(line, response)),
                Err(Unsent::Returned(back)) => request = *back,
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
        let (idle, watch) = (self.idle.clone(), self.drain.watch());
        if is_wanted && !line.is_over && line.sender.is_ready() && !watch.is_stopping() {
            let _ = idle.push(line); // full: one connection fewer
            return response;
        }
        self.drain.services().spawn(async move {
            let freed = tokio::select! {
                freed = line.freed() => freed,
                () = watch.cut() => false,
            };
            if freed && is_wanted && !watch.is_stopping() {
                let _ = idle.push(line); // full: one connection fewer
            }
        });
        response
    }

    /// Closes what the workload has closed, for as long as we run.
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
                for _ in 0..idle.len() {
                    let Some(mut line) = idle.pop() else { break };
                    if line.is_free().await {
                        let _ = idle.push(line); // full: one connection fewer
                    }
                }
            }
        });
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("is_over", &self.is_over).finish_non_exhaustive()
    }
}
