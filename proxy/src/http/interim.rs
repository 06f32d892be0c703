//! Interim answers (1xx, HTTP-20): none is handed on, and a call gets only so many.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hyper::{Request, ext::on_informational};
use tokio::sync::Notify;

use super::body::Body;

/// Interim answers that a call may get. An honest workload sends one or two.
const MAX_INTERIM: usize = 8;

/// Counts what comes before the answer to a request over HTTP/1.1, where hyper passes over any number
/// of them.
#[derive(Debug)]
pub(super) struct Interim(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    answers: AtomicUsize,
    too_many: Notify,
}

impl Interim {
    pub(super) fn of(request: &mut Request<Body>) -> Self {
        let seen = Arc::<Seen>::default();
        let counted = seen.clone();
        on_informational(request, move |_| {
            if counted.answers.fetch_add(1, Ordering::Relaxed) == MAX_INTERIM {
                counted.too_many.notify_one();
            }
        });
        Self(seen)
    }

    /// For whoever reads the connection.
    pub(super) fn are_too_many(&self) -> bool {
        self.0.answers.load(Ordering::Relaxed) > MAX_INTERIM
    }

    /// Resolves when there are, for whoever does not.
    pub(super) async fn too_many(&self) {
        self.0.too_many.notified().await;
    }
}
