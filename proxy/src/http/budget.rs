//! How many calls to one destination may be made twice: retries must not be what a callee that is
//! short of breath has to bear on top.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

/// Calls in the same time for one that is made twice: a fifth of them may be.
const CALLS_FOR_ONE: u64 = 5;

/// So many may be made twice however few calls there are.
const ANYWAY: u64 = 10;

/// How long a call counts, in seconds.
const WINDOW: u64 = 10;

/// Seconds of the window, each with a count.
type Seconds = [AtomicU64; WINDOW as usize];

/// What of the declared calls to one destination has been made twice of late.
#[derive(Debug)]
pub(crate) struct Budget {
    began: Instant,
    calls: Seconds,
    retries: Seconds,
}

impl Default for Budget {
    fn default() -> Self {
        Self { began: Instant::now(), calls: Seconds::default(), retries: Seconds::default() }
    }
}

impl Budget {
    /// A call that may be made twice is made.
    pub(crate) fn call(&self) {
        self.call_at(self.second());
    }

    /// Whether one of them may be now; then it counts.
    pub(crate) fn take(&self) -> bool {
        self.take_at(self.second())
    }

    fn second(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    fn call_at(&self, second: u64) {
        add(&self.calls, second);
    }

    fn take_at(&self, second: u64) -> bool {
        // Counted before it is compared: of two that come at once none is overlooked.
        add(&self.retries, second);
        let allowed = ANYWAY + count(&self.calls, second) / CALLS_FOR_ONE;
        let within = count(&self.retries, second) <= allowed;
        if !within {
            give_back(&self.retries, second);
        }
        within
    }
}

/// A second and its count in one number, so that both change at once.
const COUNT_BITS: u32 = 32;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

fn slot(seconds: &Seconds, second: u64) -> Option<&AtomicU64> {
    seconds.get(usize::try_from(second % WINDOW).ok()?)
}

fn add(seconds: &Seconds, second: u64) {
    let Some(slot) = slot(seconds, second) else { return };
    let added = |known: u64| {
        let fresh = second << COUNT_BITS;
        Some(if known >> COUNT_BITS == second { known } else { fresh } + 1)
    };
    let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added); // never refuses
}

fn give_back(seconds: &Seconds, second: u64) {
    let Some(slot) = slot(seconds, second) else { return };
    let taken = |known: u64| (known >> COUNT_BITS == second).then(|| known - 1);
    let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken); // its second is over
}

/// What counts in the second `now`: that of the last ten.
fn count(seconds: &Seconds, now: u64) -> u64 {
    let of = |slot: &AtomicU64| {
        let known = slot.load(Ordering::Relaxed);
        let age = now.checked_sub(known >> COUNT_BITS);
        if age.is_some_and(|age| age < WINDOW) { known & COUNT } else { 0 }
    };
    seconds.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Budget;

    fn taken(budget: &Budget, second: u64) -> usize {
        (0..1_000).take_while(|_| budget.take_at(second)).count()
    }

    #[test]
    fn a_fifth_of_the_calls_of_ten_seconds_and_ten_more_may_be_made_twice() {
        let budget = Budget::default();
        assert_eq!(taken(&budget, 0), 10);
        (0..100).for_each(|_| budget.call_at(3));
        assert_eq!(taken(&budget, 4), 20);
        // What was refused does not count.
        assert_eq!(taken(&budget, 4), 0);
        // The retries of second 0 are over in second 10, the calls of second 3 in second 13.
        assert_eq!(taken(&budget, 9), 0);
        assert_eq!(taken(&budget, 10), 10);
        assert_eq!(taken(&budget, 13), 0);
        assert_eq!(taken(&budget, 14), 0);
        assert_eq!(taken(&budget, 20), 10);
        assert_eq!(taken(&budget, 1_000_000), 10);
    }

    #[test]
    fn a_call_counts_for_nine_seconds_after_its_own_and_no_longer() {
        for (second, expected) in [(3, 30), (12, 30), (13, 10), (14, 10)] {
            let budget = Budget::default();
            (0..100).for_each(|_| budget.call_at(3));
            assert_eq!(taken(&budget, second), expected, "{second}");
        }
    }

    #[test]
    fn calls_and_second_attempts_count_in_the_second_in_which_they_are_made() {
        let mut budget = Budget::default();
        let taken = |budget: &Budget| (0..1_000).take_while(|_| budget.take()).count();
        (0..50).for_each(|_| budget.call());
        assert_eq!(taken(&budget), 20);
        assert_eq!(taken(&budget), 0);
        budget.began = budget.began.checked_sub(Duration::from_secs(30)).unwrap();
        assert_eq!(taken(&budget), 10);
    }

    #[test]
    fn of_two_that_come_at_once_the_last_one_is_not_given_twice() {
        let budget = Budget::default();
        let taken: usize = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..4).map(|_| scope.spawn(|| taken(&budget, 7))).collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).sum()
        });
        assert!(taken <= 10, "{taken}");
    }
}
