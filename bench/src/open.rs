//! Open loop: a fixed schedule over a fixed number of connections.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::task::TaskTracker;

use crate::{
    Connections, Control, LoadError, Loopback, Report, Target,
    connection::{CLOSING, Connection},
    lean,
    line::Line,
    measure::{Outcome, Recorder, watch},
    pacer::{Pacer, Schedule},
};

/// A schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpenLoop {
    /// Requests per second.
    pub rate: f64,
    /// Connections that share them. While all are busy the schedule goes on, and what is late
    /// counts from when it should have started.
    pub connections: usize,
    /// How long; until stopped if not given.
    pub duration: Option<Duration>,
}

/// Runs a schedule to its end, or until stopped.
///
/// # Errors
/// If the settings make no sense, or there is no thread for the schedule.
pub async fn open_loop(
    target: Target,
    load: OpenLoop,
    control: Control,
) -> Result<Report, LoadError> {
    let (target, tasks) = (Arc::new(target), TaskTracker::new());
    let connection = |recorder: &Recorder| {
        let connection = Connection::new(target.clone(), recorder.clone(), tasks.clone());
        Channel::Parsed(connection)
    };
    let report = scheduled(load, control, connection).await?;
    tasks.close();
    // A server that does not close its end is not worth waiting for: all is measured.
    drop(tokio::time::timeout(CLOSING, tasks.wait()).await);
    Ok(report)
}

/// The same to a [`crate::Backend`], or to proxies before one, for less CPU: what comes back is
/// compared and not parsed.
///
/// # Errors
/// As [`open_loop`].
pub async fn lean_open(
    server: Loopback,
    load: OpenLoop,
    control: Control,
) -> Result<Report, LoadError> {
    let line = |recorder: &Recorder| {
        let dialogue = lean::dialogue(server, Connections::Kept);
        let line = Line::new(server, dialogue, Connections::Kept);
        Channel::Lean(Box::new((line, recorder.clone())))
    };
    scheduled(load, control, line).await
}

/// What carries one request after another.
enum Channel {
    Parsed(Connection),
    Lean(Box<(Line, Recorder)>),
}

impl Channel {
    async fn exchange(&mut self) -> Outcome {
        match self {
            Self::Parsed(connection) => connection.exchange().await,
            Self::Lean(lean) => {
                let (line, recorder) = &mut **lean;
                line.exchange(recorder).await
            }
        }
    }
}

async fn scheduled(
    load: OpenLoop,
    control: Control,
    channel: impl Fn(&Recorder) -> Channel,
) -> Result<Report, LoadError> {
    if !(load.rate.is_finite() && load.rate > 0.0) || load.connections == 0 {
        return Err(LoadError::Setting("rate and connections must be above 0"));
    }
    let began = Instant::now();
    let recorder = Recorder::new(began)?;
    let interval = Duration::from_secs_f64(1.0 / load.rate);
    let length = load.duration.map_or(u64::MAX, |duration| {
        let requests = duration.as_nanos() / interval.as_nanos().max(1);
        u64::try_from(requests).unwrap_or(u64::MAX)
    });
    let pacer = Pacer::start(Schedule { began, interval, length }).map_err(LoadError::Pacer)?;
    let (pacer, clients) = (Arc::new(pacer), TaskTracker::new());
    for _ in 0..load.connections {
        let channel = channel(&recorder);
        clients.spawn(client(channel, recorder.clone(), pacer.clone(), control.clone()));
    }
    clients.close();
    watch(&recorder, &control, clients.wait()).await;
    Ok(recorder.report(Some(load.rate)))
}

async fn client(mut channel: Channel, recorder: Recorder, pacer: Arc<Pacer>, control: Control) {
    loop {
        let intended = tokio::select! {
            intended = pacer.due() => intended,
            () = control.stop.cancelled() => return,
        };
        let Some(intended) = intended else { return };
        if control.stop.is_cancelled() {
            return;
        }
        recorder.sent(intended.elapsed());
        let outcome = channel.exchange().await;
        recorder.ended(&outcome, intended.elapsed());
    }
}
