//! Compiles each callee once, so that no later compilation can fail for what the files say.

use cellwall_policy::Snapshot;

use super::{Checker, Parts};
use crate::{
    codes::Code,
    compile::Compiler,
    finding::Problem,
    model::{Workload, WorkloadNumber},
};

/// The most rules and grants, and the most guards, about one callee (AZ-07).
const MAX_STATEMENTS: usize = 10_000;

impl Checker<'_> {
    pub(super) fn compiles(&mut self) {
        let Parts { template, rules, grants, guards, probes, index, .. } = &self.parts;
        let Some(template) = template else { return };
        let compiler = Compiler {
            template,
            workloads: &self.parts.workloads,
            segments: &self.parts.segments,
            rules,
            grants,
            guards,
            probes,
            index,
        };
        // Any values will do: what is compiled differs in nothing else.
        let environment = vec!["x"; template.variables().count()].join("/");
        let mut problems = Vec::new();
        for (number, workload) in self.parts.workloads.iter().enumerate() {
            let number = WorkloadNumber(number);
            let many = [
                (index.rules(number).count() + index.grants(number).count(), "rules and grants"),
                (index.guards(number).count(), "guards"),
            ];
            if let Some((_, what)) = many.iter().find(|(count, _)| *count > MAX_STATEMENTS) {
                problems.push(too_many(workload, what));
                continue;
            }
            let compiled = compiler
                .compile_named(number, &environment)
                .and_then(|document| Ok(Snapshot::new(document)?));
            if let Err(error) = compiled {
                problems.push(refused(workload, &error));
            }
        }
        problems.into_iter().for_each(|problem| self.problems.push(problem));
    }
}

fn too_many(workload: &Workload, what: &str) -> Problem {
    let message = format!("more than {MAX_STATEMENTS} {what} are about `{}`", workload.name);
    Problem::error(Code::TooMuch, workload.place, message)
        .help("let one rule name several callers, or a segment of them")
}

fn refused(workload: &Workload, error: &dyn std::error::Error) -> Problem {
    let mut message = format!("the policy of `{}` does not compile", workload.name);
    let mut cause = Some(error);
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    Problem::error(Code::TooMuch, workload.place, message)
}
