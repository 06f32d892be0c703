//! The ledger: what sidecars report of their decisions, kept in few and small writes.
//!
//! The store's one writer also writes issuances, policies and their audit records. So of the
//! ledger's work there is never more than one piece in its queue, that piece is small, and after
//! each there is a pause.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use metrics::counter;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    report::chain,
    store::{Kept, LedgerReader, ReportRow, Store},
};

/// Batches that wait to be written. Full: refused, and the sidecar sends it again.
const QUEUE: usize = 64;

/// Batches of one identity that wait at once: one workload cannot take the whole queue.
const QUEUE_PER_ID: usize = 8;

/// Rows of one piece of work, about: milliseconds of the writer's time.
const ROWS: usize = 1500;

/// The pause after each piece of work, in which the writer does what is more important.
const PAUSE: Duration = Duration::from_millis(50);

/// How often what is too old or too much is forgotten.
const TRIM: Duration = Duration::from_secs(60);

/// Where sidecars' batches go. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    queue: mpsc::Sender<Entry>,
    waiting: Arc<Mutex<BTreeMap<String, usize>>>,
    /// Reads it.
    pub reader: LedgerReader,
}

/// Why a batch is not kept. The sidecar sends it again.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LedgerError {
    /// Too much is waiting already.
    #[error("the ledger is busy")]
    Busy,
    /// It could not be written.
    #[error("the ledger cannot be written")]
    Unwritten,
}

/// A batch on its way, and who waits for it.
#[derive(Debug)]
struct Entry {
    report: ReportRow,
    reply: oneshot::Sender<Result<Kept, LedgerError>>,
    _place: Place,
}

/// A place in the queue, of one identity.
#[derive(Debug)]
struct Place {
    waiting: Arc<Mutex<BTreeMap<String, usize>>>,
    callee: String,
}

/// Writes the ledger.
#[derive(Debug)]
pub struct LedgerWriter {
    queue: mpsc::Receiver<Entry>,
    store: Store,
}

impl Ledger {
    /// A ledger and what writes it.
    pub fn new(store: Store, reader: LedgerReader) -> (Self, LedgerWriter) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let ledger = Self { queue: sender, waiting: Arc::default(), reader };
        (ledger, LedgerWriter { queue, store })
    }

    /// Keeps a batch, and answers once it is on the disk.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]: whether it is kept is unknown, and the same batch may come again.
    pub async fn keep(&self, report: ReportRow) -> Result<Kept, LedgerError> {
        let place = self.place(&report.callee).ok_or(LedgerError::Busy)?;
        let (reply, answer) = oneshot::channel();
        let entry = Entry { report, reply, _place: place };
        self.queue.try_send(entry).map_err(|_| LedgerError::Busy)?;
        answer.await.unwrap_or(Err(LedgerError::Unwritten))
    }

    fn place(&self, callee: &str) -> Option<Place> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.entry(callee.to_owned()).or_default();
        if *count >= QUEUE_PER_ID {
            return None;
        }
        *count += 1;
        Some(Place { waiting: self.waiting.clone(), callee: callee.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.get_mut(&self.callee) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(waiting.remove(&self.callee)),
        }
    }
}

impl LedgerWriter {
    /// Writes until `stop`. What is not written then is not acknowledged, and comes again.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut trimmed = Instant::now();
        loop {
            let first = tokio::select! {
                () = stop.cancelled() => return,
                first = self.queue.recv() => first,
                () = tokio::time::sleep_until(trimmed + TRIM) => {
                    self.trim().await;
                    trimmed = Instant::now();
                    continue;
                }
            };
            let Some(first) = first else { return };
            let group = self.gather(first);
            self.write(group).await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// As many batches as make one piece of work.
    fn gather(&mut self, first: Entry) -> Vec<Entry> {
        let mut rows = first.rows();
        let mut group = vec![first];
        while rows < ROWS
            && let Ok(next) = self.queue.try_recv()
        {
            rows += next.rows();
            group.push(next);
        }
        group
    }

    async fn write(&self, group: Vec<Entry>) {
        let reports = group.iter().map(|entry| entry.report.clone()).collect();
        let kept = self.store.keep_reports(reports, SystemTime::now()).await;
        if let Err(error) = &kept {
            tracing::warn!(error = chain(error), "the ledger cannot be written");
        }
        let mut kept = kept.map(Vec::into_iter);
        for entry in group {
            let result = match &mut kept {
                Ok(kept) => kept.next().ok_or(LedgerError::Unwritten),
                Err(_) => Err(LedgerError::Unwritten),
            };
            // Who has gone sends it again, and it counts once.
            let _ = entry.reply.send(result);
        }
    }

    async fn trim(&self) {
        match self.store.trim_ledger(SystemTime::now()).await {
            Ok(trimmed) => {
                let forgotten = (trimmed.decisions + trimmed.edges) as u64;
                counter!("cellwall_ledger_forgotten_total").increment(forgotten);
            }
            Err(error) => tracing::warn!(error = chain(&error), "the ledger cannot be trimmed"),
        }
    }
}

impl Entry {
    fn rows(&self) -> usize {
        1 + self.report.edges.len() + self.report.decisions.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::{Ledger, LedgerError, QUEUE, QUEUE_PER_ID};
    use crate::store::{LedgerReader, ReportRow, Store};

    fn report(callee: usize) -> ReportRow {
        ReportRow {
            callee: callee.to_string(),
            instance: "a".into(),
            sequence: 1,
            dropped: 0,
            edges: Vec::new(),
            decisions: Vec::new(),
        }
    }

    #[tokio::test]
    async fn one_identity_does_not_take_the_whole_queue_and_the_queue_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.db");
        let (store, _thread) = Store::open(&path).unwrap();
        let (ledger, writer) = Ledger::new(store, LedgerReader::new(&path));
        // Nobody writes: what is taken waits, though nobody waits for it.
        let keep = async |callee| timeout(Duration::ZERO, ledger.keep(report(callee))).await;
        for callee in 0..QUEUE / QUEUE_PER_ID {
            for _ in 0..QUEUE_PER_ID {
                assert!(keep(callee).await.is_err(), "it waits");
            }
            assert_eq!(keep(callee).await, Ok(Err(LedgerError::Busy)));
        }
        assert_eq!(keep(QUEUE).await, Ok(Err(LedgerError::Busy)), "all places are taken");
        drop(writer);
        let waiting = ledger.waiting.lock().unwrap();
        assert!(waiting.is_empty(), "a place goes with its batch: {waiting:?}");
    }
}
