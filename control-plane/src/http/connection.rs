//! One connection, one request, a deadline for both.

use std::time::Duration;

use axum::Router;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

const MAX_HEADER_BYTES: usize = 32 * 1024;

/// How long a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until the head of the request is read.
    pub head: Duration,
    /// For everything.
    pub whole: Duration,
}

/// Serves one request, with what `mark` puts into its extensions.
pub async fn converse<IO>(
    io: IO,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
    mark: impl Fn(&mut http::Extensions),
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        mark(request.extensions_mut());
        let mut router = router.clone();
        async move { router.call(request).await }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .keep_alive(false)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(io), service);
    // Cancelling is right: the client sees a connection that ended, and asks again.
    tokio::select! {
        _ended = tokio::time::timeout(limits.whole, serving) => {}
        () = stop.cancelled() => {}
    }
}
