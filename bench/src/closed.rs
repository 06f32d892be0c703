//! Closed loop: each client waits for its answer before it asks again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::task::TaskTracker;

use crate::{
    Control, LoadError, Report, Target,
    connection::{CLOSING, Connection},
    measure::{Outcome, Recorder, watch},
};

/// How long a client waits before it tries again where nobody listens.
const AGAIN: Duration = Duration::from_millis(10);

/// Clients that never pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedLoop {
    /// How many.
    pub clients: usize,
    /// What they do with their connections.
    pub connections: Connections,
    /// How long; until stopped if not given.
    pub duration: Option<Duration>,
}

/// What a client does with its connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// Keeps it for the next request.
    Kept,
    /// Ends it, and opens one for each request.
    PerRequest,
}

/// Runs clients for a while, or until stopped.
///
/// # Errors
/// If there is no client.
pub async fn closed_loop(
    target: Target,
    load: ClosedLoop,
    control: Control,
) -> Result<Report, LoadError> {
    if load.clients == 0 {
        return Err(LoadError::Setting("clients must be above 0"));
    }
    let recorder = Recorder::new(Instant::now())?;
    let (target, clients, tasks) = (Arc::new(target), TaskTracker::new(), TaskTracker::new());
    // The end of the time stops this run alone, not others with the same control.
    let control = Control { stop: control.stop.child_token(), ..control };
    for _ in 0..load.clients {
        let connection = Connection::new(target.clone(), recorder.clone(), tasks.clone());
        clients.spawn(client(connection, recorder.clone(), load.connections, control.clone()));
    }
    clients.close();
    let all = clients.wait();
    let timed = async {
        match load.duration {
            Some(duration) => {
                tokio::time::sleep(duration).await;
                control.stop.cancel();
            }
            None => control.stop.cancelled().await,
        }
        all.await;
    };
    watch(&recorder, &control, timed).await;
    let report = recorder.report(None);
    tasks.close();
    // A server that does not close its end is not worth waiting for: all is measured.
    drop(tokio::time::timeout(CLOSING, tasks.wait()).await);
    Ok(report)
}

async fn client(
    mut connection: Connection,
    recorder: Recorder,
    connections: Connections,
    control: Control,
) {
    while !control.stop.is_cancelled() {
        let start = Instant::now();
        recorder.sent(Duration::ZERO);
        let outcome = connection.exchange().await;
        recorder.ended(&outcome, start.elapsed());
        match (connections, outcome) {
            (_, Outcome::Connect) => tokio::time::sleep(AGAIN).await,
            (Connections::PerRequest, _) => connection.give_up(),
            (Connections::Kept, _) => {}
        }
    }
}
