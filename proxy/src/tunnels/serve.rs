//! The side that accepted: one session, whose streams are calls.

use std::{future::poll_fn, sync::Arc, time::Duration};

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
    authority::{Authority, ended, late},
    decision_id::DecisionId,
    flow::Outcome,
    http::OUTCOME,
    places::{FRAMING, PULSE, Place, Places, Pulse, RESET_KEPT, RESETS, silent},
    upstream::HANDSHAKE_DEADLINE,
};

/// How long a session without a permitted stream stays open (RES-03).
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Until the first one: others would hold a place of the listener for nothing.
    pub(super) first: Duration,
    /// After the last one.
    pub(super) idle: Duration,
    /// Once it was told to go.
    pub(super) leaving: Duration,
    pub(super) pulse: Pulse,
}

pub(super) const PATIENCE: Patience = Patience {
    first: Duration::from_secs(10),
    idle: Duration::from_secs(300),
    leaving: Duration::from_secs(5),
    pulse: PULSE,
};

/// Streams that the other side may reset before we have looked at them (RES-04, CVE-2023-44487). Apps
/// that go as soon as they have come are no attack: as many as come at once, several times.
const MAX_RESET: usize = 1024;

/// A stream that was asked for, and is neither taken nor refused yet.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    permitted: Arc<Places>,
}

impl Asked {
    /// Its place among those that are permitted: they keep their session open.
    pub(crate) fn permitted(&self) -> Option<Place> {
        self.permitted.take(usize::MAX)
    }

    /// Resolves when whoever asked does not want it any more.
    pub(crate) async fn reset(&mut self) {
        let _ = poll_fn(|cx| self.respond.poll_reset(cx)).await; // or the session is over
    }

    /// Takes it.
    pub(crate) fn take(mut self, place: Place) -> Result<Stream, h2::Error> {
        let send = self.respond.send_response(Response::new(()), false)?;
        Ok(Stream::new(send, self.request.into_body(), place))
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
    serve_for(io, (drain, authority), answer, PATIENCE).await;
}

/// The same, with another patience.
pub(super) async fn serve_for<IO, F>(
    io: IO,
    (drain, authority): (&Drain, &Authority),
    answer: impl Fn(Asked) -> F,
    patience: Patience,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(Ok(mut session)) = timeout(HANDSHAKE_DEADLINE, builder().handshake(io)).await else {
        return;
    };
    let permitted = Arc::<Places>::default();
    let mut ended = std::pin::pin!(ended(Some(authority))); // its streams rely on that
    let mut silent = std::pin::pin!(silent(session.ping_pong(), &permitted, patience.pulse));
    let mut stop = std::pin::pin!(async {
        tokio::select! {
            () = drain.stopping() => {}
            () = late(Some(authority)) => {}
        }
    });
    let mut stopping = false;
    let mut quiet = std::pin::pin!(sleep(patience.first));
    loop {
        tokio::select! {
            asked = session.accept() => {
                let Some(Ok((request, respond))) = asked else { return };
                drain.spawn(answer(Asked { request, respond, permitted: permitted.clone() }));
            }
            () = stop.as_mut(), if !stopping => {
                stopping = true;
                session.graceful_shutdown();
            }
            () = permitted.freed() => {
                let wait = if stopping { patience.leaving } else { patience.idle };
                quiet.as_mut().reset(Instant::now() + wait);
            }
            () = quiet.as_mut() => {
                let mut wait = patience.idle;
                if permitted.taken() == 0 {
                    if stopping {
                        return; // GOAWAY was said, what is asked for now is asked for elsewhere
                    }
                    stopping = true;
                    session.graceful_shutdown();
                    wait = patience.leaving;
                }
                quiet.as_mut().reset(Instant::now() + wait);
            }
            () = silent.as_mut() => return,
            _ = ended.as_mut() => {
                // GOAWAY, and a moment for its streams to say that they are cut.
                session.graceful_shutdown();
                let _ = timeout(LAST_WORDS, poll_fn(|cx| session.poll_closed(cx))).await;
                return;
            }
            () = drain.cut() => return,
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
        .data_frame_budget(FRAMING)
        .max_pending_accept_reset_streams(MAX_RESET)
        .max_concurrent_reset_streams(RESETS)
        .reset_stream_duration(RESET_KEPT)
        .max_local_error_reset_streams(Some(RESETS));
    http2
}
