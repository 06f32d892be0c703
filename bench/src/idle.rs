//! Connections that have been used once and are then held open.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::{
    Connections, Control, LoadError, Loopback, Report, crowd::Crowd, echo, lean, line::Line,
    measure::Recorder,
};

/// What each connection carries before it is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// One request of HTTP/1.1.
    Http,
    /// One message to an echo.
    Tcp,
}

/// How many connections are being opened at once: more is a storm, which is another question.
const AT_ONCE: usize = 32;

/// Connections that are open and at rest. Dropping it closes them.
#[derive(Debug)]
pub struct Idle {
    crowd: Crowd,
    opened: usize,
    failed: usize,
}

impl Idle {
    /// Opens so many, each with one exchange.
    ///
    /// # Errors
    /// If the histogram of the exchanges cannot be made.
    pub async fn open(
        server: Loopback,
        spoken: Spoken,
        connections: usize,
    ) -> Result<Self, LoadError> {
        let crowd = Crowd::new(Control::default())?;
        let dialogue = match spoken {
            Spoken::Http => lean::dialogue(server, Connections::Kept),
            Spoken::Tcp => echo::dialogue(),
        };
        let (done, mut outcomes) = tokio::sync::mpsc::channel(AT_ONCE);
        let (mut opened, mut failed, mut begun) = (0, 0, 0);
        while opened + failed < connections {
            while begun < connections && begun - opened - failed < AT_ONCE {
                let (recorder, stop) = (crowd.recorder(), crowd.stop());
                let line = Line::new(server, dialogue.clone(), Connections::Kept);
                crowd.add(held(line, recorder, stop, done.clone()));
                begun += 1;
            }
            match outcomes.recv().await {
                Some(true) => opened += 1,
                Some(false) | None => failed += 1,
            }
        }
        Ok(Self { crowd, opened, failed })
    }

    /// How many are open.
    pub const fn opened(&self) -> usize {
        self.opened
    }

    /// How many could not be opened, or got no right answer.
    pub const fn failed(&self) -> usize {
        self.failed
    }

    /// Closes all, and says how the exchanges went.
    pub async fn close(self) -> Report {
        self.crowd.run(Some(Duration::ZERO)).await
    }
}

/// One exchange, and then nothing until the stop.
async fn held(
    mut line: Line,
    recorder: Recorder,
    stop: CancellationToken,
    done: tokio::sync::mpsc::Sender<bool>,
) {
    let start = Instant::now();
    recorder.sent(Duration::ZERO);
    let outcome = line.exchange(&recorder).await;
    recorder.ended(&outcome, start.elapsed());
    let is_right = outcome.is_ok();
    // Nobody listens once the run is over.
    let _ = done.send(is_right).await;
    if is_right {
        stop.cancelled().await;
    }
}
