//! The first answer through a pair of proxies.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::rows::Traffic;
use crate::{
    Connections, Exchange, Loopback,
    backend::SEND,
    echo, lean,
    line::{Line, connect},
    measure::{Outcome, Recorder},
    streams,
};

/// How long proxies may take to serve.
const SERVES: Duration = Duration::from_secs(20);

/// How often they are tried.
const AGAIN: Duration = Duration::from_millis(1);

/// Waits for a right answer of the kind that the row is about; what came last, if there is none.
pub(crate) async fn answered(entry: Loopback, traffic: Traffic) -> Result<(), String> {
    let end = Instant::now() + SERVES;
    loop {
        let outcome = once(entry, traffic).await;
        if outcome.is_ok() {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(format!("no answer in {SERVES:?}, at last {outcome:?}"));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn once(entry: Loopback, traffic: Traffic) -> Outcome {
    let Ok(recorder) = Recorder::new(Instant::now()) else { return Outcome::Connect };
    match traffic {
        Traffic::Http1 => {
            let dialogue = lean::dialogue(entry, Connections::PerRequest);
            Line::new(entry, dialogue, Connections::PerRequest).exchange(&recorder).await
        }
        Traffic::Grpc => streams::once(entry, Exchange::Grpc).await,
        Traffic::Echo => {
            Line::new(entry, echo::dialogue(), Connections::PerRequest).exchange(&recorder).await
        }
        Traffic::Bulk => bytes(entry).await.unwrap_or(Outcome::Closed),
    }
}

async fn bytes(entry: Loopback) -> Option<Outcome> {
    let mut stream = connect(entry).await?;
    stream.write_all(&[SEND]).await.ok()?;
    stream.read_u8().await.ok().map(|_| Outcome::Done)
}
