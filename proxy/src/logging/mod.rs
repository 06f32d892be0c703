//! What the proxy writes: its own log on stderr, one access-log line per flow on stdout.

mod line;

use std::{
    cell::RefCell,
    io::{self, Write},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use metrics::counter;
use tracing_subscriber::{filter::Targets, prelude::*};

use crate::flow::FlowRecord;

/// Bytes of lines that wait for the writer. A line that finds no room is dropped and counted (OBS-03).
const HELD: usize = 8 * 1024 * 1024;

/// Bytes for which the writer is woken: few enough that what it does at once holds up nobody on its core.
const FULL: usize = 192 * 1024;

/// How long a line may wait, unless there are that many, or the writer sleeps.
const LOOK: Duration = Duration::from_millis(100);

/// Of the memory of lines that were written, so much is kept for the next ones.
const KEPT: usize = 2 * FULL;

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

thread_local! {
    /// The line that a call writes: the lock is held for a copy of it, and for nothing that takes longer.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The access log: never waits, never blocks a call. A call leaves its line and goes on. The writer
/// looks by itself while there are lines, so only the first one after a pause pays for waking it.
#[derive(Clone, Debug)]
pub struct AccessLog {
    handle: Arc<Handle>,
}

/// What the clones of a log have in common. With the last of them the writer ends.
#[derive(Debug)]
struct Handle {
    lines: Arc<Lines>,
    writer: Thread,
}

/// Lines on their way to the writer.
#[derive(Debug, Default)]
struct Lines {
    waiting: Mutex<Vec<u8>>,
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
        let lines = Arc::new(Lines::default());
        let to_write = lines.clone();
        let writer = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || to_write.write_all(out))?;
        let handle = Handle { lines, writer: writer.thread().clone() };
        Ok((Self { handle: Arc::new(handle) }, writer))
    }

    pub(crate) fn write(&self, record: &FlowRecord) {
        let Handle { lines, writer } = &*self.handle;
        let is_wanted = LINE.with_borrow_mut(|line| {
            line.clear();
            line::append(record, line);
            lines.push(line)
        });
        if is_wanted {
            writer.unpark();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.lines.closed.store(true, Ordering::SeqCst);
        self.writer.unpark();
    }
}

impl Lines {
    fn waiting(&self) -> MutexGuard<'_, Vec<u8>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a line for the writer, and says whether that has to be woken.
    fn push(&self, line: &[u8]) -> bool {
        let mut waiting = self.waiting();
        let held = waiting.len();
        if held + line.len() > HELD {
            counter!("cellwall_log_dropped_total").increment(1);
        } else {
            make_room(&mut waiting, held + line.len());
            waiting.extend_from_slice(line);
        }
        let is_full = held < FULL && waiting.len() >= FULL;
        drop(waiting);
        is_full || self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst)
    }

    /// Writes to `out` until the log is closed.
    fn write_all(&self, out: impl Write) {
        let mut written = Written::to(out);
        let mut lines = Vec::new();
        loop {
            // Before the lines: what was left before the last handle went is still written.
            let is_last = self.closed.load(Ordering::SeqCst);
            mem::swap(&mut lines, &mut *self.waiting());
            written.write(&lines);
            if is_last {
                return;
            }
            let is_quiet = lines.is_empty();
            lines.clear();
            if is_quiet {
                lines = Vec::new();
                self.sleep();
            } else {
                lines.shrink_to(KEPT);
                thread::park_timeout(LOOK);
            }
        }
    }

    /// Sleeps until a line comes, or the log is closed. Holds nothing meanwhile.
    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        let mut waiting = self.waiting();
        // Whoever leaves a line after this look sees that we are asleep.
        if waiting.is_empty() && !self.closed.load(Ordering::SeqCst) {
            *waiting = Vec::new();
            drop(waiting);
            thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

/// Makes room in `waiting` for so many bytes in all, of `HELD` at most. As a `Vec` does it, by twice what
/// it has, but for the last time: it would take twice what may be held.
fn make_room(waiting: &mut Vec<u8>, needed: usize) {
    if needed > waiting.capacity() {
        let capacity = needed.max(waiting.capacity() * 2).min(HELD);
        waiting.reserve_exact(capacity - waiting.len());
    }
}

/// Where lines go, and how the last one ended.
struct Written<W> {
    out: W,
    /// The last line that was begun has no end.
    is_torn: bool,
}

impl<W: Write> Written<W> {
    fn to(out: W) -> Self {
        Self { out, is_torn: false }
    }

    /// Writes whole lines. What cannot be written is lost, and counted.
    fn write(&mut self, lines: &[u8]) {
        let torn: &[u8] = if self.is_torn && !lines.is_empty() { b"\n" } else { b"" };
        let left = match self.taken(torn) {
            [] => self.taken(lines), // what follows is whole again
            _ => lines,
        };
        let _ = self.out.flush(); // what it took is no longer ours to count
        let lost = left.iter().filter(|byte| **byte == b'\n').count();
        if lost > 0 {
            counter!("cellwall_log_dropped_total").increment(lost as u64);
        }
    }

    /// What is left of `bytes`.
    fn taken<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut left = bytes;
        while !left.is_empty() {
            match self.out.write(left) {
                Ok(taken @ 1..) => {
                    let (whole, more) = left.split_at_checked(taken).unwrap_or((left, &[]));
                    self.is_torn = whole.last() != Some(&b'\n');
                    left = more;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        left
    }
}

/// As much of it as is kept.
pub(crate) fn shortened(text: &str) -> &str {
    text.get(..MAX_TEXT).unwrap_or(text)
}

#[cfg(test)]
mod tests;
