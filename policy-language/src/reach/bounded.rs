//! Whether the kinds of calls of each callee can be looked at (CW0010): what `never`, the edges, a plan
//! and the export to Cedar are made of.

use cellwall_policy::Tolerated;

use super::calls::Declared;
use crate::{
    Checked,
    codes::Code,
    finding::{Problem, Problems},
    model::WorkloadNumber,
    place::Files,
};

/// Takes a set back that has a callee whose encoded slashes have too many readings.
pub(crate) fn bounded(checked: Checked, files: &Files<'_>) -> Checked {
    let Some(set) = &checked.set else { return checked };
    let compiler = set.compiler();
    let mut problems = Problems::default();
    for (at, workload) in set.workloads.iter().enumerate() {
        if compiler.tolerated(WorkloadNumber(at)) == Tolerated::Nothing {
            continue;
        }
        if let Err(error) = Declared::of(&[set], &workload.name).kinds() {
            let message = format!("`{}` cannot be looked at: {error}", workload.name);
            problems.push(Problem::error(Code::TooMuch, workload.place, message).help(
                "where a parameter takes `%2F`, guard prefixes of literals: `/v1/secret/{rest...}`",
            ));
        }
    }
    checked.without(problems, files)
}
