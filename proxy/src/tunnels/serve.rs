//! The side that accepted: one session, whose streams are calls.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{Builder, SendResponse},
};
use http::{HeaderValue, Request, Response, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep, timeout},
};

use super::{
    LAST_WORDS, MAX_FRAME, MAX_HEAD, MAX_HELD, MAX_STREAMS, SESSION_WINDOW, STREAM_WINDOW,
    stream::Stream,
};
use crate::{
    Drain,
    authority::{Authority, late},
    decision_id::DecisionId,
    flow::Outcome,
    http::OUTCOME,
    upstream::HANDSHAKE_DEADLINE,
};

/// How long a session without a stream stays open (RES-03).
const IDLE: Duration = Duration::from_secs(300);

/// Streams that the other side may reset before we have looked at them (RES-04).
const MAX_RESET: usize = 50;

/// A stream that was asked for, and is neither taken nor refused yet.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request<RecvStream>,
    pub(crate) respond: SendResponse<Bytes>,
}

impl Asked {
    /// Takes it.
    pub(crate) fn take(mut self) -> Result<Stream, h2::Error> {
        let send = self.respond.send_response(Response::new(()), false)?;
        Ok(Stream::new(send, self.request.into_body()))
    }

    /// Answers that there will be none, and by which decision. Says little (TLS-08 in spirit).
    pub(crate) fn refuse(mut self, status: StatusCode, decision: Option<DecisionId>) {
        let mut answer = Response::new(());
        *answer.status_mut() = status;
        let not_done = HeaderValue::from_static(Outcome::NotDone.as_str());
        answer.headers_mut().insert(OUTCOME, not_done);
        let decision = decision.and_then(|id| HeaderValue::from_str(&id.to_string()).ok());
        if let Some(id) = decision {
            answer.headers_mut().insert("cellwall-decision", id);
        }
        let _ = self.respond.send_response(answer, true); // whoever asked may be gone
    }

    /// Leaves it to be asked for elsewhere: nothing of it was looked at (RFC 9113 §8.7).
    pub(crate) fn leave(mut self) {
        self.respond.send_reset(Reason::REFUSED_STREAM);
    }
}

/// Hands each stream of a session to `answer`, as a task of `drain`, until the other side closes, or
/// until a drain or the session's `authority` lets the last streams finish.
pub(crate) async fn serve<IO, F>(
    io: IO,
    (drain, authority): (&Drain, &Authority),
    answer: impl Fn(Asked) -> F,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(Ok(mut session)) = timeout(HANDSHAKE_DEADLINE, builder().handshake(io)).await else {
        return;
    };
    let watch = drain.watch();
    let mut ended = std::pin::pin!(authority.ended());
    let mut stop = std::pin::pin!(async {
        tokio::select! {
            () = watch.stopping() => {}
            () = late(Some(authority)) => {}
        }
    });
    let mut stopping = false;
    let mut quiet = std::pin::pin!(sleep(IDLE));
    let mut is_used = false;
    loop {
        tokio::select! {
            asked = session.accept() => {
                let Some(Ok((request, respond))) = asked else { return };
                is_used = true;
                drain.spawn(answer(Asked { request, respond }));
            }
            () = stop.as_mut(), if !stopping => {
                stopping = true;
                session.graceful_shutdown();
            }
            () = quiet.as_mut(), if !stopping => {
                stopping = !is_used && !session.has_streams();
                if stopping {
                    session.graceful_shutdown();
                }
                is_used = false;
                quiet.as_mut().reset(Instant::now() + IDLE);
            }
            _ = ended.as_mut() => {
                // GOAWAY, and a moment for its streams to say that they are cut.
                session.graceful_shutdown();
                let _ = timeout(LAST_WORDS, poll_fn(|cx| session.poll_closed(cx))).await;
                return;
            }
            () = watch.cut() => return,
        }
    }
}

/// HTTP/2 within our limits.
fn builder() -> Builder {
    let mut http2 = Builder::new();
    http2
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(SESSION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(MAX_HEAD)
        .max_send_buffer_size(MAX_HELD)
        .max_pending_accept_reset_streams(MAX_RESET)
        .max_local_error_reset_streams(Some(2 * MAX_RESET));
    http2
}
