//! What sidecars report of their decisions, and how a test answers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use cellwall_api::distribution::{FlowBatch, FlowReceipt};
use tokio::sync::watch;
use tonic::{Code, Status};

/// One batch as it came, each time it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Reported {
    /// The SPIFFE ID of the sidecar's certificate.
    pub id: String,
    /// The batch.
    pub batch: FlowBatch,
    /// Whether it was acknowledged.
    pub acknowledged: bool,
}

/// How a batch is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportAnswer {
    /// It is acknowledged.
    Keep,
    /// It is answered with this status.
    Refuse(Code),
    /// There is no answer.
    Never,
}

#[derive(Debug)]
pub(super) struct Reports {
    inner: Mutex<Inner>,
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct Inner {
    answer: ReportAnswer,
    forgets: bool,
    came: Vec<Reported>,
}

impl Default for Reports {
    fn default() -> Self {
        let inner = Inner { answer: ReportAnswer::Keep, forgets: false, came: Vec::new() };
        Self { inner: Mutex::new(inner), changes: watch::Sender::default() }
    }
}

impl Reports {
    /// Takes a batch down and answers as the test wants.
    pub(super) async fn came(&self, id: &str, batch: FlowBatch) -> Result<FlowReceipt, Status> {
        let sequence = batch.sequence;
        let answer = {
            let mut inner = self.lock();
            let answer = inner.answer;
            if !inner.forgets {
                let acknowledged = answer == ReportAnswer::Keep;
                inner.came.push(Reported { id: id.to_owned(), batch, acknowledged });
            }
            answer
        };
        self.changes.send_replace(());
        match answer {
            ReportAnswer::Keep => Ok(FlowReceipt { sequence }),
            ReportAnswer::Refuse(code) => Err(Status::new(code, "as the test wants")),
            ReportAnswer::Never => std::future::pending().await,
        }
    }

    pub(super) fn answer(&self, answer: ReportAnswer) {
        self.lock().answer = answer;
    }

    pub(super) fn forget(&self) {
        self.lock().forgets = true;
    }

    pub(super) fn all(&self) -> Vec<Reported> {
        self.lock().came.clone()
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
