//! Clients beside each other, until the time is over.

use std::time::{Duration, Instant};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Control, LoadError, Report,
    measure::{Recorder, watch},
};

/// How long a client waits before it tries again where nobody listens.
pub(crate) const AGAIN: Duration = Duration::from_millis(10);

/// How long an answer may take where the caller does not say.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);

/// The clients of one run, and what they record.
#[derive(Debug)]
pub(crate) struct Crowd {
    recorder: Recorder,
    control: Control,
    clients: TaskTracker,
}

impl Crowd {
    pub(crate) fn new(control: Control) -> Result<Self, LoadError> {
        // The end of the time stops this run alone, not others with the same control.
        let control = Control { stop: control.stop.child_token(), ..control };
        let recorder = Recorder::new(Instant::now())?;
        Ok(Self { recorder, control, clients: TaskTracker::new() })
    }

    pub(crate) fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Cancelled when clients have to end.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.control.stop.clone()
    }

    /// Starts a client. It ends soon after the stop, with its last exchange done or cut.
    pub(crate) fn add(&self, client: impl Future<Output = ()> + Send + 'static) {
        self.clients.spawn(client);
    }

    /// Waits for the end of the time, or the stop, and then for all clients.
    pub(crate) async fn run(self, duration: Option<Duration>) -> Report {
        self.clients.close();
        let stop = &self.control.stop;
        let timed = async {
            match duration {
                Some(duration) => {
                    // Whichever comes first ends the run.
                    let stopped = tokio::time::timeout(duration, stop.cancelled()).await;
                    if stopped.is_err() {
                        stop.cancel();
                    }
                }
                None => stop.cancelled().await,
            }
            self.clients.wait().await;
        };
        watch(&self.recorder, &self.control, timed).await;
        self.recorder.report(None)
    }
}
