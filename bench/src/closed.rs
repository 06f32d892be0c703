//! Closed loop: each client waits for its answer before it asks again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Control, LoadError, Report, Target,
    connection::{CLOSING, Connection},
    crowd::{AGAIN, Crowd},
    measure::{Outcome, Recorder},
};

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
    let (target, crowd, tasks) = (Arc::new(target), Crowd::new(control)?, TaskTracker::new());
    for _ in 0..load.clients {
        let connection = Connection::new(target.clone(), crowd.recorder(), tasks.clone());
        crowd.add(client(connection, crowd.recorder(), load.connections, crowd.stop()));
    }
    let report = crowd.run(load.duration).await;
    tasks.close();
    // A server that does not close its end is not worth waiting for: all is measured.
    drop(tokio::time::timeout(CLOSING, tasks.wait()).await);
    Ok(report)
}

async fn client(
    mut connection: Connection,
    recorder: Recorder,
    connections: Connections,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
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
