//! Which processes and threads are the caller's side, and which the callee's.

use std::{collections::BTreeMap, fs};

use crate::process;

/// The processes of both sides, those that they started included, and their threads.
#[derive(Debug)]
pub(super) struct Sides {
    processes: [Vec<u32>; 2],
    threads: BTreeMap<u32, usize>,
}

impl Sides {
    pub(super) fn of(roots: &[Vec<u32>; 2]) -> Self {
        let processes = roots.each_ref().map(|roots| process::family_of(roots));
        let mut threads = BTreeMap::new();
        for (side, processes) in processes.iter().enumerate() {
            let all = processes.iter().flat_map(|process| tasks(*process));
            threads.extend(all.map(|thread| (thread, side)));
        }
        Self { processes, threads }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// The processes of each side.
    pub(super) const fn processes(&self) -> &[Vec<u32>; 2] {
        &self.processes
    }

    /// All threads, with their sides.
    pub(super) fn threads(&self) -> impl Iterator<Item = (u32, usize)> {
        self.threads.iter().map(|(thread, side)| (*thread, *side))
    }

    /// 0 for the caller's side, 1 for the callee's.
    pub(super) fn side(&self, thread: u32) -> Option<usize> {
        self.threads.get(&thread).copied()
    }
}

fn tasks(process: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_belongs_to_the_side_of_its_process() {
        let sides = Sides::of(&[vec![], vec![std::process::id()]]);

        assert_eq!(sides.processes()[1][0], std::process::id());
        assert_eq!(sides.side(std::process::id()), Some(1));
        assert_eq!(sides.side(0), None);
        // A test has a thread of its own beside the main one.
        assert!(sides.threads.len() > 1 && !sides.is_empty());
        assert!(Sides::of(&[vec![], vec![]]).is_empty());
    }
}
