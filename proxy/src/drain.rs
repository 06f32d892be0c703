//! Stopping in order: stop accepting, let work finish for a grace period, then cut.

use std::{future::Future, sync::Arc, time::Duration};

use hyper::rt::Executor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Ends all work of the process. The owner of every task: nothing is spawned elsewhere. Cheap to clone,
/// for each call is a task.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    all: Arc<All>,
}

#[derive(Debug, Default)]
struct All {
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
        self.all.tasks.spawn(task);
    }

    /// For what has to go on while work is being drained, such as identity and health: its tasks
    /// are told to stop when the last work has ended, and nobody waits for them before.
    #[must_use]
    pub fn services(&self) -> Self {
        let end = self.all.ended.clone();
        let services = || self.all.services.clone();
        let watch = DrainWatch { stop: end.clone(), cut: end.clone() };
        Self { all: Arc::new(All { watch, ended: end, tasks: services(), services: services() }) }
    }

    /// The number of tasks that have not ended.
    pub fn tasks(&self) -> usize {
        self.all.tasks.len()
    }

    /// Whether no new work may start.
    pub fn is_stopping(&self) -> bool {
        self.all.watch.is_stopping()
    }

    /// Resolves when no new work may start.
    pub fn stopping(&self) -> impl Future<Output = ()> {
        self.all.watch.stopping()
    }

    /// Resolves when work in progress must end at once.
    pub fn cut(&self) -> impl Future<Output = ()> {
        self.all.watch.cut()
    }

    /// The signals to hand to a task.
    pub fn watch(&self) -> DrainWatch {
        self.all.watch.clone()
    }

    /// Stops, waits at most `grace` for the tasks to end, cuts those that remain, then ends the
    /// services.
    pub async fn drain(&self, grace: Duration) {
        self.all.watch.stop.cancel();
        self.all.tasks.close();
        self.all.services.close();
        if tokio::time::timeout(grace, self.all.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.all.tasks.len(), ?grace, "grace period over, cutting");
        }
        self.all.watch.cut.cancel();
        self.all.tasks.wait().await;
        self.all.ended.cancel(); // not before: what ends last has a record, too
        self.all.services.wait().await;
    }
}

impl DrainWatch {
    /// Resolves when no new work may start.
    pub fn stopping(&self) -> impl Future<Output = ()> {
        self.stop.cancelled()
    }

    /// Whether no new work may start.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Resolves when work in progress must end at once.
    pub fn cut(&self) -> impl Future<Output = ()> {
        self.cut.cancelled()
    }
}

/// hyper's HTTP/2 streams are tasks too.
impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Drain {
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}
