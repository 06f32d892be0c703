//! The calls of one connection: how many are open, and whether there have been none for long.

use std::time::Duration;

use tokio::sync::watch;

/// Counts the open calls of one connection. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Calls {
    open: watch::Sender<usize>,
}

/// Counts as a call for as long as it lives.
#[derive(Debug)]
pub struct OpenCall {
    calls: Calls,
}

impl Default for Calls {
    fn default() -> Self {
        Self { open: watch::Sender::new(0) }
    }
}

impl Calls {
    /// One more.
    pub fn open(&self) -> OpenCall {
        self.open.send_modify(|open| *open += 1);
        OpenCall { calls: self.clone() }
    }

    /// Resolves when there has been no call for so long.
    pub async fn idle(&self, pause: Duration) {
        let mut open = self.open.subscribe();
        loop {
            // Never an error: `self` holds the sender.
            let _ = open.wait_for(|open| *open == 0).await;
            let busy = open.wait_for(|open| *open > 0);
            if tokio::time::timeout(pause, busy).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.calls.open.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, timeout};

    use super::Calls;

    const PAUSE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_once_its_last_call_is_long_over() {
        let calls = Calls::default();
        let (one, two) = (calls.open(), calls.open());
        let start = Instant::now();
        assert!(timeout(10 * PAUSE, calls.idle(PAUSE)).await.is_err());
        drop(one);
        assert!(timeout(10 * PAUSE, calls.idle(PAUSE)).await.is_err());
        drop(two);
        calls.idle(PAUSE).await;
        assert_eq!(start.elapsed(), 21 * PAUSE);
    }
}
