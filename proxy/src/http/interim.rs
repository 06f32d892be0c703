//! Interim answers (1xx, HTTP-20): none is handed on, and a call gets only so many.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use hyper::{Request, ext::on_informational};
use tokio::sync::oneshot;

use super::body::Body;

/// Interim answers that a call may get. An honest workload sends one or two.
const MAX_INTERIM: usize = 8;

/// Counts what comes before the answer to `request` over HTTP/1.1, where hyper passes over any
/// number of them. Says so of one too many, before whatever answer follows it; otherwise it closes.
pub(super) fn bounded(request: &mut Request<Body>) -> oneshot::Receiver<()> {
    let (tell, too_many) = oneshot::channel();
    let (seen, tell) = (AtomicUsize::new(0), Mutex::new(Some(tell)));
    on_informational(request, move |_| {
        // The lock is for the type alone: one task reads the connection, and takes it once.
        if seen.fetch_add(1, Ordering::Relaxed) == MAX_INTERIM
            && let Ok(mut tell) = tell.lock()
            && let Some(tell) = tell.take()
        {
            let _ = tell.send(()); // nobody waits for an answer any more
        }
    });
    too_many
}
