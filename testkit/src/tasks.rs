//! The tasks of one scripted server: they end with it.

use std::{future::Future, sync::Arc};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Owns tasks; dropping the last owner tells them to end.
#[derive(Clone, Debug)]
pub(crate) struct Tasks(Arc<Owner>);

#[derive(Debug)]
struct Owner {
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Owner { stop: CancellationToken::new(), tracker: TaskTracker::new() }))
    }

    /// Runs `task` until it ends or this owner stops; cut at any await, which only loses what a
    /// peer of a stopped test would have got.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stopped();
        self.0.tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Runs a task that ends by itself, and in its own way, once the owner stops.
    pub(crate) fn spawn_graceful(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.tracker.spawn(task);
    }

    /// Resolves when the owner stops.
    pub(crate) fn stopped(&self) -> CancellationToken {
        self.0.stop.clone()
    }

    /// Tells all tasks to end and waits for them.
    pub(crate) async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tracker.close();
        self.0.tracker.wait().await;
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
