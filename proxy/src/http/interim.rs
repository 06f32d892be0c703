//! Interim answers (1xx, HTTP-20): none is handed on, and a call gets only so many.

use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::{Request, ext::on_informational};
use tokio_util::sync::CancellationToken;

use super::body::Body;

/// Interim answers that a call may get. An honest workload sends one or two.
const MAX_INTERIM: usize = 8;

/// Counts what comes before the answer to `request` over HTTP/1.1, where hyper passes over any
/// number of them. Cancelled by one too many, before whatever answer follows it.
pub(super) fn bounded(request: &mut Request<Body>) -> CancellationToken {
    let (seen, too_many) = (AtomicUsize::new(0), CancellationToken::new());
    let told = too_many.clone();
    on_informational(request, move |_| {
        if seen.fetch_add(1, Ordering::Relaxed) >= MAX_INTERIM {
            told.cancel();
        }
    });
    too_many
}
