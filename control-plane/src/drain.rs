//! Stopping in order: no new work, what runs comes to its end, and then what is left is cut.

use std::time::Duration;

use hyper::rt::Executor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Owns every task of the process.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Drain {
    /// Starts a task that [`Drain::drain`] waits for. It ends by itself on [`Drain::stop`].
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Starts a task without which the process is no use: its end is the process's.
    pub fn spawn_vital(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            task.await;
            if !stop.is_cancelled() {
                tracing::error!(name, "ended unexpectedly, stopping");
                stop.cancel();
            }
        });
    }

    /// Cancelled when the process stops.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// The tasks, for a crate that spawns its own.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Stops and waits at most `grace` for the tasks to end.
    pub async fn drain(&self, grace: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), ?grace, "not all work ended in time");
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Drain {
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}
