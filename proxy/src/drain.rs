//! Stopping in order: stop accepting, let work finish for a grace period, then cut.

use std::{future::Future, time::Duration};

use hyper::rt::Executor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Ends all work of the process. The owner of every task: nothing is spawned elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    watch: DrainWatch,
    /// The last work has ended.
    ended: CancellationToken,
    tasks: TaskTracker,
    services: TaskTracker,
}

/// What a task sees of a [`Drain`].
#[derive(Clone, Debug, Default)]
pub struct DrainWatch {
    stop: CancellationToken,
    cut: CancellationToken,
}

impl Drain {
    /// Starts a task that [`Drain::drain`] waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// For what has to go on while work is being drained, such as identity and health: its tasks
    /// are told to stop when the last work has ended, and nobody waits for them before.
    #[must_use]
    pub fn services(&self) -> Self {
        let end = self.ended.clone();
        Self {
            watch: DrainWatch { stop: end.clone(), cut: end.clone() },
            ended: end,
            tasks: self.services.clone(),
            services: self.services.clone(),
        }
    }

    /// The number of tasks that have not ended.
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// The signals to hand to a task.
    pub fn watch(&self) -> DrainWatch {
        self.watch.clone()
    }

    /// Stops, waits at most `grace` for the tasks to end, cuts those that remain, then ends the
    /// services.
    pub async fn drain(&self, grace: Duration) {
        self.watch.stop.cancel();
        self.tasks.close();
        self.services.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), ?grace, "grace period over, cutting");
        }
        self.watch.cut.cancel();
        self.tasks.wait().await;
        self.ended.cancel(); // not before: what ends last has a record, too
        self.services.wait().await;
    }
}

impl DrainWatch {
    /// Resolves when no new work may start.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// Whether no new work may start.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Resolves when work in progress must end at once.
    pub async fn cut(&self) {
        self.cut.cancelled().await;
    }
}

/// hyper's HTTP/2 streams are tasks too.
impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Drain {
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}
