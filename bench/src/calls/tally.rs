//! System calls by name.

use std::{collections::BTreeMap, iter::Sum};

use serde::{Deserialize, Serialize};

/// What one side did while it was watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// System calls by name.
    pub by_name: BTreeMap<String, Count>,
    /// The same by the name of the thread first; nothing where the counting program does not tell.
    pub by_thread: BTreeMap<String, BTreeMap<String, Count>>,
    /// How often a thread gave its core away or lost it; none where nobody tells.
    pub switches: Option<u64>,
}

/// How often something was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// All.
    pub calls: u64,
    /// Those of them that returned an error, `EAGAIN` among them.
    pub failed: u64,
}

impl Tally {
    /// All system calls.
    pub fn total(&self) -> Count {
        self.by_name.values().copied().sum()
    }

    pub(super) fn add(&mut self, name: &str, count: Count) {
        add(&mut self.by_name, name, count);
    }

    pub(super) fn add_of(&mut self, thread: &str, name: &str, count: Count) {
        if count != Count::default() {
            add(self.by_thread.entry(thread.to_owned()).or_default(), name, count);
        }
        self.add(name, count);
    }
}

fn add(counts: &mut BTreeMap<String, Count>, name: &str, count: Count) {
    if count != Count::default() {
        let entry = counts.entry(name.to_owned()).or_default();
        entry.calls += count.calls;
        entry.failed += count.failed;
    }
}

impl Sum for Count {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, count| Self {
            calls: sum.calls + count.calls,
            failed: sum.failed + count.failed,
        })
    }
}
