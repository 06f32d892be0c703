//! The tasks of one scripted server: they end with it.

use std::future::Future;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Owns tasks; dropping it tells them to end.
#[derive(Debug)]
pub(crate) struct Tasks(Spawner);

/// Starts tasks that end with the [`Tasks`] it came from. Tasks may hold one.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self(Spawner { stop: CancellationToken::new(), tracker: TaskTracker::new() })
    }

    pub(crate) const fn spawner(&self) -> &Spawner {
        &self.0
    }

    /// Tells all tasks to end and waits for them.
    pub(crate) async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tracker.close();
        self.0.tracker.wait().await;
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.stop.cancel();
    }
}

impl Spawner {
    /// Runs `task` until it ends or its owner stops; cut at any await, which only loses what a
    /// peer of a stopped server would have got.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Runs a task that ends by itself, and in its own way, once the owner stops.
    pub(crate) fn spawn_graceful(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    /// Resolves when the owner stops.
    pub(crate) fn stopped(&self) -> CancellationToken {
        self.stop.clone()
    }
}
