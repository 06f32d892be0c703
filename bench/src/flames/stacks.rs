//! What `perf script` prints, summed: how often each stack was seen.

use std::collections::BTreeMap;

/// A frame and all that was called from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// How often it was seen, in its own code or below it.
    pub(super) samples: u64,
    /// Whether it is the kernel's.
    pub(super) is_kernel: bool,
    pub(super) calls: BTreeMap<String, Self>,
}

/// The stacks of some processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stacks {
    /// The outermost frames.
    pub(super) root: Frame,
    /// How often the kernel was what ran.
    pub(super) in_kernel: u64,
}

/// Addresses from here on are the kernel's, on every architecture that we build for.
const KERNEL: u64 = 0xffff_0000_0000_0000;

impl Stacks {
    /// Of the samples in `text` those of these processes. A sample is a line with the process, then a
    /// line for each frame, the innermost first: its address and its name.
    pub(super) fn of(text: &str, processes: &[u32]) -> Self {
        let mut stacks = Self::default();
        for sample in text.split("\n\n") {
            let mut lines = sample.lines().filter(|line| !line.trim().is_empty());
            let process = lines.next().and_then(|line| line.trim().parse::<u32>().ok());
            if process.is_some_and(|process| processes.contains(&process)) {
                stacks.add(&lines.filter_map(frame).collect::<Vec<_>>());
            }
        }
        stacks
    }

    fn add(&mut self, frames: &[(bool, &str)]) {
        let Some((is_kernel, _)) = frames.first() else { return };
        self.in_kernel += u64::from(*is_kernel);
        let mut at = &mut self.root;
        at.samples += 1;
        for (is_kernel, name) in frames.iter().rev() {
            at = at.calls.entry((*name).to_owned()).or_default();
            at.samples += 1;
            at.is_kernel = *is_kernel;
        }
    }
}

/// Whether it is the kernel's, and what it is called.
fn frame(line: &str) -> Option<(bool, &str)> {
    let (address, name) = line.trim().split_once(' ')?;
    let address = u64::from_str_radix(address, 16).ok()?;
    Some((address >= KERNEL, name.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_of_a_process_are_summed_from_the_outermost_frame_on() {
        let text = "  11 \n\
            \tffffffff81000130 do_send\n\
            \t          10ab59 __send\n\
            \t          5d4e51 <A as B<C>>::poll\n\
            \n\
            12 \n\
            \t          1 else_where\n\
            \n\
            11 \n\
            \t          627dd6 inner\n\
            \t          5d4e51 <A as B<C>>::poll\n\
            \n\
            13 \n";

        let Stacks { root, in_kernel } = Stacks::of(text, &[11, 13]);

        assert_eq!((root.samples, in_kernel), (2, 1));
        let poll = &root.calls["<A as B<C>>::poll"];
        assert_eq!((root.calls.len(), poll.samples, poll.is_kernel), (1, 2, false));
        let below = poll.calls.iter().map(|(name, frame)| (name.as_str(), frame.samples));
        assert_eq!(below.collect::<Vec<_>>(), [("__send", 1), ("inner", 1)]);
        assert!(poll.calls["__send"].calls["do_send"].is_kernel);
    }
}
