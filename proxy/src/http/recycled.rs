//! HTTP/1.1 connections to our workload: one call at a time, kept open between calls.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use http::Version;
use hyper::{Request, Response, client::conn::http1};

use super::{
    body::Body,
    canonical::Upgrade,
    client::{Over, Unsent, answered},
    fate::SendError,
    interim,
    patience::patience,
    received::Received,
};
use crate::{CloseReason, Drain};

/// Idle connections kept.
const MAX_IDLE: usize = 256;

/// One connection.
#[derive(Debug)]
pub(crate) struct Line {
    pub(super) sender: http1::SendRequest<Body>,
    pub(super) over: Over,
}

/// The connections that wait for their next call.
#[derive(Debug)]
pub(crate) struct Recycled {
    idle: Arc<ArrayQueue<Line>>,
    drain: Drain,
}

impl Recycled {
    pub(crate) fn new(drain: Drain) -> Self {
        Self { idle: Arc::new(ArrayQueue::new(MAX_IDLE)), drain }
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
            if !line.sender.is_ready() {
                continue;
            }
            match exchange(&mut line, request).await {
                Ok(response) => return Ok(self.recycle(line, response)),
                Err(Unsent::Returned(back)) => request = *back,
                Err(Unsent::Gone(error)) => return Err(error),
            }
        }
        let mut line = Box::pin(open()).await.map_err(SendError::not_done)?;
        match exchange(&mut line, request).await {
            Ok(response) => Ok(self.recycle(line, response)),
            Err(Unsent::Returned(_)) => Err(SendError::not_done(CloseReason::ConnectFailed)),
            Err(Unsent::Gone(error)) => Err(error),
        }
    }

    /// Takes the connection back once both bodies are through (HTTP-22).
    fn recycle(&self, mut line: Line, response: Response<Received>) -> Response<Received> {
        // Where HTTP/1.0 was spoken hyper goes on in it: it has no chunks, and a body of unknown
        // length would be left out in silence (HTTP-10).
        if response.version() != Version::HTTP_11 {
            return response;
        }
        let (idle, watch) = (self.idle.clone(), self.drain.watch());
        if line.sender.is_ready() && !watch.is_stopping() {
            let _ = idle.push(line); // full: one connection fewer
            return response;
        }
        self.drain.services().spawn(async move {
            tokio::select! {
                () = watch.stopping() => {}
                ready = line.sender.ready() => {
                    if ready.is_ok() {
                        let _ = idle.push(line); // full: one connection fewer
                    }
                }
            }
        });
        response
    }
}

/// One call on a connection of its own for as long as it takes. A connection that has no answer for
/// it is dropped, and so closed.
pub(super) async fn exchange(
    Line { sender, over }: &mut Line,
    mut request: Request<Body>,
) -> Result<Response<Received>, Unsent> {
    let too_many = interim::bounded(&mut request);
    let waits = (patience(request.headers()), Upgrade::of(request.headers()));
    tokio::select! {
        biased; // an answer behind too many others is none
        Ok(()) = too_many => {
            Err(Unsent::Gone(SendError::unknown(CloseReason::AnswerAmbiguous)))
        }
        answer = answered(waits, over, sender.try_send_request(request)) => answer,
    }
}
