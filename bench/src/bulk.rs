//! Bytes one way, as many as pass, or as many as a slow reader takes.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Control, LoadError, Loopback, Report,
    backend::{CHUNK, RECEIVE, SEND},
    crowd::{AGAIN, Crowd},
    line::connect,
    measure::{Outcome, Recorder},
};

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the server to us; counted as they arrive.
    Down,
    /// From us to the server; counted as our own kernel takes them.
    Up,
}

/// How fast a stream takes what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as it comes.
    Full,
    /// So many bytes, then a pause of 100 ms.
    Slow(usize),
}

/// Streams of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// How many.
    pub streams: usize,
    /// Which way.
    pub way: Way,
    /// How fast they are read; [`Way::Up`] is always full.
    pub pace: Pace,
    /// How long; until stopped if not given.
    pub duration: Option<Duration>,
}

/// How long a slow reader pauses.
const PAUSE: Duration = Duration::from_millis(100);

/// Moves bytes. A stream counts as one request, right if it was open to the end.
///
/// # Errors
/// If there is no stream, or a slow reader would read nothing.
pub async fn bulk(server: Loopback, load: Bulk, control: Control) -> Result<Report, LoadError> {
    if load.streams == 0 || load.pace == Pace::Slow(0) {
        return Err(LoadError::Setting("streams and bytes must be above 0"));
    }
    let crowd = Crowd::new(control)?;
    for _ in 0..load.streams {
        crowd.add(stream(server, load, crowd.recorder(), crowd.stop()));
    }
    Ok(crowd.run(load.duration).await)
}

async fn stream(server: Loopback, load: Bulk, recorder: Recorder, stop: CancellationToken) {
    while !stop.is_cancelled() {
        recorder.sent(Duration::ZERO);
        let outcome = match connect(server).await {
            Some(stream) => {
                recorder.opened();
                tokio::select! {
                    // Cutting loses what nobody counts: the run is over.
                    () = stop.cancelled() => Outcome::Done,
                    () = moved(stream, load, &recorder) => Outcome::Closed,
                }
            }
            None => Outcome::Connect,
        };
        recorder.ended(&outcome, Duration::ZERO);
        match outcome {
            Outcome::Connect => tokio::time::sleep(AGAIN).await,
            Outcome::Closed => recorder.closed(),
            _ => {}
        }
    }
}

/// Moves bytes until the connection ends.
async fn moved(mut stream: TcpStream, load: Bulk, recorder: &Recorder) {
    let ask = match load.way {
        Way::Down => SEND,
        Way::Up => RECEIVE,
    };
    if stream.write_all(&[ask]).await.is_err() {
        return;
    }
    let size = match load.pace {
        Pace::Full => CHUNK,
        Pace::Slow(bytes) => bytes,
    };
    let mut buffer = vec![0; size];
    loop {
        let moved = match load.way {
            Way::Down => stream.read(&mut buffer).await,
            Way::Up => stream.write(&buffer).await,
        };
        match moved {
            Ok(0) | Err(_) => return,
            Ok(bytes) => recorder.passed(bytes),
        }
        if load.way == Way::Down && load.pace != Pace::Full {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
