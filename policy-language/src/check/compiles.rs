//! Compiles each callee, so that no later compilation can fail for what the files say.

use cellwall_policy::Snapshot;

use super::{Checker, Parts};
use crate::{
    codes::Code,
    compile::Compiler,
    finding::Problem,
    model::{Workload, WorkloadNumber},
    reach::{Compared, Environments},
    syntax::Text,
};

/// The most rules and grants, and the most guards, about one callee (AZ-07).
const MAX_STATEMENTS: usize = 10_000;

impl Checker<'_> {
    pub(super) fn compiles(&mut self, identity: Option<&Text>) {
        let Parts { template, rules, grants, guards, probes, index, .. } = &self.parts;
        let (Some(template), Some(identity)) = (template, identity) else { return };
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
        let problems = match Environments::combined(vec![Compared::of(&compiler)]) {
            Ok(environments) => refused(&compiler, &environments),
            Err(error) => vec![
                Problem::error(Code::TooMuch, identity.place, error.to_string())
                    .help("compare the variables of IDs with fewer values"),
            ],
        };
        problems.into_iter().for_each(|problem| self.problems.push(problem));
    }
}

/// What is wrong with each callee, in the environments that its statements can tell apart.
fn refused(compiler: &Compiler<'_>, environments: &Environments) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, workload) in compiler.workloads.iter().enumerate() {
        let (number, index) = (WorkloadNumber(at), compiler.index);
        let many = [
            (index.rules(number).count() + index.grants(number).count(), "rules and grants"),
            (index.guards(number).count(), "guards"),
        ];
        if let Some((_, what)) = many.iter().find(|(count, _)| *count > MAX_STATEMENTS) {
            problems.push(too_many(workload, what));
            continue;
        }
        let different =
            if compiler.looks_at_environment(number) { environments.callees } else { 1 };
        let refused = environments.names.iter().take(different).find_map(|environment| {
            let compiled = compiler.compiled_at(number, environment);
            let made = compiled.and_then(|it| Ok(it.map(Snapshot::new).transpose()?));
            Some((environment, made.err()?))
        });
        if let Some((environment, error)) = refused {
            problems.push(does_not_compile(workload, (environment, different), &error));
        }
    }
    problems
}

fn too_many(workload: &Workload, what: &str) -> Problem {
    let message = format!("more than {MAX_STATEMENTS} {what} are about `{}`", workload.name);
    Problem::error(Code::TooMuch, workload.place, message)
        .help("let one rule name several callers, or a segment of them")
}

fn does_not_compile(
    workload: &Workload,
    (environment, different): (&str, usize),
    error: &dyn std::error::Error,
) -> Problem {
    let mut message = format!("the policy of `{}` does not compile", workload.name);
    if different > 1 {
        message.push_str(&format!(" in {environment}"));
    }
    let mut cause = Some(error);
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    Problem::error(Code::TooMuch, workload.place, message)
}
