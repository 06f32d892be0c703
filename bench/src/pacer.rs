//! A thread that says when the next request is due, more exactly than in whole milliseconds.
//!
//! Tokio's timers are rounded up to the next millisecond. In an open loop that would count as
//! latency of the server.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

/// A fixed schedule that many clients share.
#[derive(Debug)]
pub(crate) struct Pacer {
    schedule: Schedule,
    /// Requests that are due and that nobody has begun. Bounded by the length of the schedule:
    /// when all clients are busy it grows, and that is the point of an open loop.
    due: Arc<Semaphore>,
    begun: AtomicU64,
    thread: Thread,
    over: Arc<AtomicBool>,
}

/// From when on, how often, how many times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) began: Instant,
    pub(crate) interval: Duration,
    pub(crate) length: u64,
}

impl Schedule {
    fn at(&self, index: u64) -> Option<Instant> {
        let nanoseconds = self.interval.as_nanos().checked_mul(u128::from(index))?;
        self.began.checked_add(Duration::from_nanos(u64::try_from(nanoseconds).ok()?))
    }
}

impl Pacer {
    /// Starts the thread.
    pub(crate) fn start(schedule: Schedule) -> io::Result<Self> {
        let (due, over) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicBool::new(false)));
        let (semaphore, flag) = (due.clone(), over.clone());
        let pace = move || pace(schedule, &semaphore, &flag);
        let handle = thread::Builder::new().name("pacer".to_owned()).spawn(pace)?;
        let (begun, thread) = (AtomicU64::new(0), handle.thread().clone());
        Ok(Self { schedule, due, begun, thread, over })
    }

    /// Waits until a request is due: when it should start, or none when the schedule is over.
    pub(crate) async fn due(&self) -> Option<Instant> {
        let index = self.begun.fetch_add(1, Ordering::Relaxed);
        if index >= self.schedule.length {
            return None;
        }
        self.due.acquire().await.ok()?.forget();
        self.schedule.at(index)
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

fn pace(schedule: Schedule, due: &Semaphore, over: &AtomicBool) {
    for index in 0..schedule.length {
        let Some(instant) = schedule.at(index) else { return };
        while let Some(left) = instant.checked_duration_since(Instant::now()) {
            if over.load(Ordering::Relaxed) {
                return;
            }
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left);
        }
        if over.load(Ordering::Relaxed) {
            return;
        }
        due.add_permits(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_are_due_one_interval_after_another_and_never_early() {
        let (began, interval) = (Instant::now(), Duration::from_micros(700));
        let pacer = Pacer::start(Schedule { began, interval, length: 3 }).unwrap();

        for index in 0..3 {
            let instant = pacer.due().await.unwrap();
            assert_eq!(instant, began + interval * index);
            assert!(Instant::now() >= instant);
        }
        assert_eq!(pacer.due().await, None);
    }
}
