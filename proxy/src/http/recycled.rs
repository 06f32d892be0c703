//! HTTP/1.1 connections to our workload: one call at a time, kept open between calls.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use http::Version;
use hyper::{Request, Response, body::Incoming, client::conn::http1};

use super::{
    body::Body,
    canonical::Upgrade,
    client::{Unsent, answered},
    fate::SendError,
    interim,
    patience::patience,
};
use crate::{CloseReason, Drain};

/// Idle connections kept.
const MAX_IDLE: usize = 256;

/// The connections that wait for their next call.
#[derive(Debug)]
pub(crate) struct Recycled {
    idle: Arc<ArrayQueue<http1::SendRequest<Body>>>,
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
    ) -> Result<Response<Incoming>, SendError>
    where
        F: Future<Output = Result<http1::SendRequest<Body>, CloseReason>>,
    {
        // Any number of idle connections may have been closed by the workload meanwhile.
        while let Some(mut sender) = self.idle.pop() {
            if !sender.is_ready() {
                continue;
            }
            match exchange(&mut sender, request).await {
                Ok(response) => return Ok(self.recycle(sender, response)),
                Err(Unsent::Returned(back)) => request = *back,
                Err(Unsent::Gone(error)) => return Err(error),
            }
        }
        let mut sender = open().await.map_err(SendError::not_done)?;
        match exchange(&mut sender, request).await {
            Ok(response) => Ok(self.recycle(sender, response)),
            Err(Unsent::Returned(_)) => Err(SendError::not_done(CloseReason::ConnectFailed)),
            Err(Unsent::Gone(error)) => Err(error),
        }
    }

    /// Takes the connection back once both bodies are through (HTTP-22).
    fn recycle(
        &self,
        mut sender: http1::SendRequest<Body>,
        response: Response<Incoming>,
    ) -> Response<Incoming> {
        // Where HTTP/1.0 was spoken hyper goes on in it: it has no chunks, and a body of unknown
        // length would be left out in silence (HTTP-10).
        if response.version() != Version::HTTP_11 {
            return response;
        }
        let (idle, watch) = (self.idle.clone(), self.drain.watch());
        self.drain.services().spawn(async move {
            tokio::select! {
                () = watch.stopping() => {}
                ready = sender.ready() => {
                    if ready.is_ok() {
                        let _ = idle.push(sender); // full: one connection fewer
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
    sender: &mut http1::SendRequest<Body>,
    mut request: Request<Body>,
) -> Result<Response<Incoming>, Unsent> {
    let too_many = interim::bounded(&mut request);
    let waits = (patience(request.headers()), Upgrade::of(request.headers()));
    tokio::select! {
        biased; // an answer behind too many others is none
        Ok(()) = too_many => {
            Err(Unsent::Gone(SendError::unknown(CloseReason::AnswerAmbiguous)))
        }
        answer = answered(waits, sender.try_send_request(request)) => answer,
    }
}
