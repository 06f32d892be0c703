//! A value that one task replaces while many read it: the only shared state of the proxy.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

/// Shares the newest `T`, or the fact that there is none. Reading takes no lock; waiting costs
/// nothing until the value changes.
#[derive(Debug)]
pub struct Live<T> {
    value: ArcSwapOption<T>,
    published: watch::Sender<u64>,
}

impl<T> Default for Live<T> {
    fn default() -> Self {
        Self { value: ArcSwapOption::empty(), published: watch::Sender::new(0) }
    }
}

impl<T> Live<T> {
    /// Replaces the value, then wakes every waiter.
    pub fn publish(&self, value: impl Into<Arc<T>>) {
        self.replace(Some(value.into()));
    }

    /// Takes the value away, then wakes every waiter.
    pub fn withdraw(&self) {
        self.replace(None);
    }

    fn replace(&self, value: Option<Arc<T>>) {
        self.published.send_modify(|count| {
            self.value.store(value); // inside: a woken reader finds it
            *count += 1;
        });
    }

    /// The newest value. What is loaded stays whole, however long it is held.
    pub fn load(&self) -> Option<Arc<T>> {
        self.value.load_full()
    }

    /// Follows the value: [`Watch::changed`] resolves after each publication.
    pub fn watch(&self) -> Watch {
        Watch { published: self.published.subscribe() }
    }

    /// Resolves once there is a value; at once, if there is one already.
    pub async fn present(&self) {
        // Subscribe first: a value published between the look and the wait must not be missed.
        let mut watch = self.watch();
        while self.value.load().is_none() {
            watch.changed().await;
        }
    }
}

/// Resolves when a [`Live`] is published to.
#[derive(Clone, Debug)]
pub struct Watch {
    published: watch::Receiver<u64>,
}

impl Watch {
    /// Resolves once something was published since this last resolved, or since it was made.
    /// Never, when the value is gone for good.
    pub async fn changed(&mut self) {
        if self.published.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::Live;

    #[tokio::test]
    async fn a_value_published_after_the_watch_began_is_not_missed() {
        let live = Arc::new(Live::default());
        for round in 0..1_000 {
            let mut watch = live.watch();
            live.publish(round);
            tokio::time::timeout(Duration::from_secs(5), watch.changed()).await.unwrap();
            assert_eq!(live.load().as_deref(), Some(&round));
        }
    }

    #[test]
    fn what_was_loaded_stays_whole() {
        let live = Live::default();
        live.publish("old");
        let held = live.load();
        live.withdraw();
        assert_eq!((held.as_deref(), live.load()), (Some(&"old"), None));
    }
}
