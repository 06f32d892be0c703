//! The policy language and its tools: what the issue asks to show.

pub(crate) mod fuzz;

use anyhow::bail;

use super::{Effort, Item, Shown, steps};

/// In the order of the issue.
pub(super) const ITEMS: &[Item] = &[
    Item { title: "the manual's example: its tests, and a plan with replayed calls", run: absent },
    Item { title: "properties on random policies", run: absent },
    Item { title: "what a decision and a compilation cost", run: absent },
    Item { title: "fuzzers: documents, path templates, the formatter", run: fuzz::targets },
    Item { title: "mutants of the policy and its language", run: absent },
    Item { title: "broken policies, each with its whole output", run: absent },
];

fn absent(_: Effort) -> anyhow::Result<Shown> {
    bail!("this item of `policy` does not exist yet; 4 does")
}
