//! One keep-alive connection, opened again when it has ended.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use crate::{
    Target,
    measure::{Outcome, Recorder},
};

/// A client's connection. It counts as closed when it ends while somebody still wants it.
#[derive(Debug)]
pub(crate) struct Connection {
    target: Arc<Target>,
    recorder: Recorder,
    tasks: TaskTracker,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    wanted: Arc<AtomicBool>,
}

impl Open {
    /// Counts the connection as closed by the other end, unless that has been done already.
    fn lost(wanted: &AtomicBool, recorder: &Recorder) {
        if wanted.swap(false, Ordering::Relaxed) {
            recorder.closed();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
    }
}

impl Connection {
    pub(crate) const fn new(target: Arc<Target>, recorder: Recorder, tasks: TaskTracker) -> Self {
        Self { target, recorder, tasks, open: None }
    }

    /// One request and its whole answer, within the target's timeout. Never sent twice.
    pub(crate) async fn exchange(&mut self) -> Outcome {
        let timeout = self.target.timeout;
        let Ok(outcome) = tokio::time::timeout(timeout, self.exchange_unbounded()).await else {
            // An answer that still came would be taken for the next request's.
            self.give_up();
            return Outcome::Timeout;
        };
        outcome
    }

    /// Ends the connection, wanted no more.
    pub(crate) fn give_up(&mut self) {
        self.open = None;
    }

    async fn exchange_unbounded(&mut self) -> Outcome {
        let request = self.target.request();
        let recorder = self.recorder.clone();
        let Some(open) = self.ready().await else { return Outcome::Connect };
        match answer(&mut open.sender, request).await {
            Some(status) => Outcome::Status(status),
            None => {
                Open::lost(&open.wanted, &recorder);
                Outcome::Closed
            }
        }
    }

    /// The connection, if it has not ended since the last request, or a new one.
    async fn ready(&mut self) -> Option<&mut Open> {
        let usable = match &mut self.open {
            Some(open) => open.sender.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            if let Some(open) = self.open.take() {
                Open::lost(&open.wanted, &self.recorder);
            }
            let opened = self.connect().await?;
            self.open = Some(opened);
        }
        self.open.as_mut()
    }

    async fn connect(&self) -> Option<Open> {
        let stream = TcpStream::connect(self.target.address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
        self.recorder.opened();
        let wanted = Arc::new(AtomicBool::new(true));
        let (recorder, still_wanted) = (self.recorder.clone(), wanted.clone());
        self.tasks.spawn(async move {
            // How it ended shows in the request that was on it, if there was one.
            drop(connection.await);
            Open::lost(&still_wanted, &recorder);
        });
        Some(Open { sender, wanted })
    }
}

/// The status, once the whole body has come.
async fn answer(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Option<u16> {
    let response = sender.send_request(request).await.ok()?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.ok()?;
    }
    Some(status)
}

/// How long connections may take to end once nobody wants them.
pub(crate) const CLOSING: Duration = Duration::from_secs(1);
