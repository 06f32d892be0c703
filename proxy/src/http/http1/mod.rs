//! HTTP/1.1 on one connection: by hyper while something is asked, and what comes after it.

mod late;
mod silence;

use std::{
    convert::Infallible,
    future::pending,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
};

use http::{HeaderValue, header};
use http_body::Body as _;
use hyper::{
    Request, Response, body::Incoming, server::conn::http1::Builder, service::service_fn,
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
};

use self::silence::{Awake, Silent};
pub(super) use self::silence::{Silence, Waits};
use super::{
    body::Body,
    lingering::{LONGEST, Lingering, Unread},
    serve::{MAX_HEAD, finish},
    together::in_turn,
    tunnel::Tunnel,
};
use crate::{CloseReason, Drain, authority::Authority, heard::Heard};

/// HTTP/1.1 whose memory, while nothing is asked, is that of the socket.
pub(super) fn now_and_then<IO, F>(
    mut io: Heard<IO>,
    waits: &'static Waits,
    drain: &Drain,
    answer: impl Fn(Request<Incoming>) -> F,
) -> impl Future<Output = ()>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut before = None;
    // An `async fn` would have room twice for what it is given.
    async move {
        loop {
            let silence = Silence::new(waits, before);
            let Some(silent) = Box::pin(awake(io, silence, (drain, None), &answer)).await else {
                return;
            };
            let broken;
            (io, broken) = silent.into_parts();
            before.insert(broken).by(&mut io, drain).await;
        }
    }
}

/// HTTP/1.1 by hyper, until the connection is over or silent.
pub(super) async fn awake<IO, F>(
    io: IO,
    silence: Silence,
    (drain, authority): (&Drain, Option<&Authority>),
    answer: &impl Fn(Request<Incoming>) -> F,
) -> Option<Silent<IO>>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (after, queue) = mpsc::channel(1); // HTTP ends with the first
    let is_our_workload = authority.is_none();
    let (unread, asked) = (Unread::default(), AtomicBool::new(false));
    unread.set(silence.is_heard()); // should it be no request, more of it may come
    let service = service_fn(|request: Request<Incoming>| {
        let (after, unread) = (after.clone(), unread.clone());
        let upgrade = request.extensions().get::<OnUpgrade>().cloned();
        let last = request.headers().contains_key(header::UPGRADE);
        asked.fetch_or(last, Ordering::Relaxed);
        unread.set(last || !request.body().is_end_stream());
        silence.asked();
        let response = answer(request);
        async move {
            let mut response = response.await;
            if is_our_workload {
                in_turn().await; // hyper writes it at once
            }
            if let Some(tunnel) = response.body_mut().tunnel() {
                unread.set(false); // what comes now is the other protocol's
                let _ = after.try_send(After::Tunnel(tunnel));
                return Ok(response);
            }
            if let Some(upgrade) = upgrade {
                let _ = after.try_send(After::Nothing(upgrade));
            }
            if last {
                // HTTP-12: not granted, and who asked may go on in the other protocol all the same.
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let io = Lingering::new(io, unread.clone(), silence.clone());
    let connection = silence
        .waiting(&mut Builder::new())
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    // What asks for an upgrade is the last request anyway, and hyper would drop what is left to
    // write of its 101, and go on in the other protocol behind half of it.
    let leave = |connection: Pin<&mut Awake<_, _>>| {
        if !asked.load(Ordering::Relaxed) {
            connection.leave();
        }
    };
    let mut next = Next { queue, after: None };
    let connection = Awake::new(connection, silence.clone());
    let end = match finish(connection, (drain, authority), leave, next.ended()).await {
        Ok(Some(silent)) => return Some(silent),
        Ok(None) => Ok(()),
        Err(reason) => Err(reason),
    };
    // Here, so that it has its connection's place among the others, and is proved anew.
    if let Some(after) = next.taken() {
        Box::pin(after.run(end, drain, authority)).await;
    }
    None
}

/// What becomes of a connection whose caller asked to go on in another protocol.
#[derive(Debug)]
enum After {
    Tunnel(Box<Tunnel>),
    /// It was not granted. hyper lets go of the connection without a word, and TLS has one for it.
    Nothing(OnUpgrade),
}

impl After {
    /// Once `http` has ended: of itself, or because it was cut.
    async fn run(
        self,
        http: Result<(), CloseReason>,
        drain: &Drain,
        authority: Option<&Authority>,
    ) {
        match (self, http) {
            (Self::Tunnel(tunnel), Ok(())) => tunnel.run(drain).await,
            (Self::Tunnel(tunnel), Err(reason)) => tunnel.cut(reason),
            (Self::Nothing(upgrade), _) => {
                let _ = finish(closed(upgrade), (drain, authority), |_| {}, pending()).await;
            }
        }
    }
}

/// What comes after HTTP on one connection, as soon as that is known.
struct Next {
    queue: mpsc::Receiver<After>,
    after: Option<After>,
}

impl Next {
    /// Resolves when a tunnel has ended before it began: a caller that does not read its 101 keeps
    /// nothing open by that (AZ-10).
    async fn ended(&mut self) -> CloseReason {
        self.after = self.queue.recv().await;
        match &self.after {
            Some(After::Tunnel(tunnel)) => tunnel.authority.ended().await,
            Some(After::Nothing(_)) | None => pending().await,
        }
    }

    fn taken(mut self) -> Option<After> {
        self.after.or_else(|| self.queue.try_recv().ok())
    }
}

/// Says that no more comes, which hyper leaves to whoever goes on, and lets the caller hear it.
async fn closed(upgrade: OnUpgrade) -> hyper::Result<()> {
    let closed = async {
        if let Ok(io) = upgrade.await {
            let _ = TokioIo::new(io).shutdown().await; // it may be gone
        }
    };
    let _ = tokio::time::timeout(LONGEST, closed).await;
    Ok(())
}

#[cfg(test)]
mod tests;
