//! What the proxy writes: its own log on stderr, one access-log line per flow on stdout.

mod line;

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use crossbeam_queue::ArrayQueue;
use metrics::counter;
use tracing_subscriber::{filter::Targets, prelude::*};

use crate::flow::FlowRecord;

/// Lines that wait for the writer. When it is full a line is dropped and counted (OBS-03).
const QUEUE: usize = 16 * 1024;

/// Written lines whose memory is kept for the next ones: as many as come in one look of a busy sidecar.
const SPARE: usize = 512;

/// Lines for which the writer is woken: few enough that what it does at once holds up nobody on its core.
const FULL: usize = 256;

/// How long a line may wait in the queue, unless that fills up or the writer sleeps.
const LOOK: Duration = Duration::from_millis(100);

/// About how many bytes are written at once.
const BATCH: usize = 64 * 1024;

/// About as long as a line is.
const LINE: usize = 1024;

/// Longest method or RPC name in a line (OBS-01).
const MAX_TEXT: usize = 256;

/// Starts the proxy's own log: JSON on stderr, `info` and above unless `filter` says otherwise.
///
/// # Errors
///
/// When `filter` is not a list of `target=level` directives.
pub fn init(filter: &str) -> anyhow::Result<()> {
    let filter = targets(filter)?;
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_ansi(false)
        .with_writer(io::stderr);
    tracing_subscriber::registry().with(filter).with(lines).init();
    Ok(())
}

/// Reads `LEVEL` and `TARGET=LEVEL`. By itself `Targets` takes what is misspelt for a target, and
/// nothing for `error`: a comma too many would silence the log.
fn targets(filter: &str) -> anyhow::Result<Targets> {
    let said = filter.split(',').map(str::trim).filter(|one| !one.is_empty());
    let is_name = |byte| matches!(byte, b'_' | b':' | b'-') || byte.is_ascii_alphanumeric();
    let mut parts = said.clone().flat_map(|one| one.split('='));
    if let Some(odd) = parts.find(|part| part.is_empty() || !part.bytes().all(is_name)) {
        anyhow::bail!("`{odd}` is neither a target nor a level");
    }
    Ok(said.collect::<Vec<_>>().join(",").parse()?)
}

/// The access log: never waits, never blocks a call. A call pushes its line and goes on. The writer
/// looks by itself while there are lines, so only the first one after a pause pays for waking it.
#[derive(Clone, Debug)]
pub struct AccessLog {
    handle: Arc<Handle>,
}

/// What the clones of a log have in common. With the last of them the writer ends.
#[derive(Debug)]
struct Handle {
    queue: Arc<Queue>,
    writer: Thread,
}

/// Lines on their way to the writer.
#[derive(Debug)]
struct Queue {
    lines: ArrayQueue<Vec<u8>>,
    /// Written, and empty again: what one thread allocates and another frees is dear for both. Full:
    /// freed all the same.
    spare: ArrayQueue<Vec<u8>>,
    /// The writer sleeps until somebody wakes it.
    asleep: AtomicBool,
    closed: AtomicBool,
}

impl AccessLog {
    /// Starts the thread that writes to `out`. It ends when the last handle is gone.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<(Self, thread::JoinHandle<()>)> {
        let queue = Arc::new(Queue {
            lines: ArrayQueue::new(QUEUE),
            spare: ArrayQueue::new(SPARE),
            asleep: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        let lines = queue.clone();
        let writer = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || lines.write_all(out))?;
        let handle = Handle { queue, writer: writer.thread().clone() };
        Ok((Self { handle: Arc::new(handle) }, writer))
    }

    pub(crate) fn write(&self, record: &FlowRecord) {
        let Handle { queue, writer } = &*self.handle;
        let mut line = queue.spare.pop().unwrap_or_else(|| Vec::with_capacity(LINE));
        line::append(record, &mut line);
        if queue.lines.push(line).is_err() {
            counter!("cellwall_log_dropped_total").increment(1);
        }
        if queue.wants_to_be_looked_at() {
            writer.unpark();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.closed.store(true, Ordering::SeqCst);
        self.writer.unpark();
    }
}

impl Queue {
    /// Whether the writer has to be woken for what was just pushed.
    fn wants_to_be_looked_at(&self) -> bool {
        self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst)
            || self.lines.len() >= FULL
    }

    /// Writes to `out` until the log is closed.
    fn write_all(&self, out: impl Write) {
        let mut batch = Batch::new(out);
        loop {
            // Before the lines: what was pushed before the last handle went is still written.
            let is_last = self.closed.load(Ordering::SeqCst);
            let mut is_quiet = true;
            while let Some(mut line) = self.lines.pop() {
                is_quiet = false;
                batch.push(&line);
                line.clear();
                if line.capacity() <= LINE {
                    let _ = self.spare.push(line);
                }
            }
            batch.write();
            if is_last {
                return;
            }
            if is_quiet {
                while self.spare.pop().is_some() {}
                self.sleep();
            } else {
                thread::park_timeout(LOOK);
            }
        }
    }

    /// Sleeps until a line comes, or the log is closed.
    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        // Whoever pushes after this look sees that we are asleep.
        if self.lines.is_empty() && !self.closed.load(Ordering::SeqCst) {
            thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

/// Lines that go to `out` at once.
struct Batch<W> {
    lines: Vec<u8>,
    out: W,
    /// The last line that was begun has no end.
    is_torn: bool,
}

impl<W: Write> Batch<W> {
    fn new(out: W) -> Self {
        Self { lines: Vec::with_capacity(BATCH), out, is_torn: false }
    }

    fn push(&mut self, line: &[u8]) {
        if self.is_torn && self.lines.is_empty() {
            self.lines.push(b'\n'); // what follows is whole again
        }
        self.lines.extend_from_slice(line);
        if self.lines.len() >= BATCH {
            self.write();
        }
    }

    /// Writes what has come together. What cannot be written is lost, and counted.
    fn write(&mut self) {
        let mut written = 0;
        while let Some(left) = self.lines.get(written..).filter(|left| !left.is_empty()) {
            match self.out.write(left) {
                Ok(0) => break,
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = self.out.flush(); // what it took is no longer ours to count
        let (whole, left) = self.lines.split_at_checked(written).unwrap_or_default();
        if let Some(last) = whole.last() {
            self.is_torn = *last != b'\n';
        }
        let lost = left.iter().filter(|byte| **byte == b'\n').count();
        if lost > 0 {
            counter!("cellwall_log_dropped_total").increment(lost as u64);
        }
        self.lines.clear();
    }
}

/// As much of it as is kept.
pub(crate) fn shortened(text: &str) -> &str {
    text.get(..MAX_TEXT).unwrap_or(text)
}

#[cfg(test)]
mod tests;
