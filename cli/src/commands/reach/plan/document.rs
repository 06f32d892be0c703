//! A plan for programs.

use cellwall_policy_language::Turn;
use serde_json::{Value, json};

use super::Planned;

/// The plan as a document.
pub(super) fn document(planned: &Planned) -> Value {
    let difference = &planned.difference;
    let count = |turn| difference.count(turn);
    let failures: Vec<_> = difference.tests.results.iter().filter(|it| !it.passed).collect();
    let calls = |count: fn(&super::Replay) -> u64| planned.replay.as_ref().map(count);
    json!({
        "schema_version": 1,
        "old": planned.old,
        "new": planned.new,
        "environments": difference.environments,
        "changes": difference.changes,
        "modes": difference.modes,
        "guards": difference.statements.guards,
        "never": difference.statements.never,
        "idempotent": difference.statements.idempotent,
        "governance": difference.statements.governance,
        "tests": {
            "passed": difference.tests.passed(),
            "failed": difference.tests.failed(),
            "failures": failures,
        },
        "approvals": difference.approvals,
        "replay": planned.replay,
        "summary": {
            "opened": count(Turn::Opened),
            "closed": count(Turn::Closed),
            "changed": count(Turn::Changed),
            "mode": difference.modes.len(),
            "untested": difference.untested().count(),
            "denied_calls": calls(super::Replay::denied_calls),
            "allowed_calls": calls(super::Replay::allowed_calls),
            "undecided_calls": calls(super::Replay::undecided_calls),
        },
        "blocked": planned.blocks(),
    })
}
