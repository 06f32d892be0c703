//! `tests`: each question must be one, and what decides must exist. Running them comes later.

use std::collections::BTreeSet;

use cellwall_policy::{Protocol, Tolerated};

use super::Checker;
use crate::{
    codes::Code,
    finding::Problem,
    model::{Test, WorkloadNumber},
    question::{self, Asked, Question, Side},
    syntax::{Documents, Text},
};

impl Checker<'_> {
    pub(super) fn tests(&mut self, documents: &Documents) {
        let deciders = self.deciders(documents);
        for item in &documents.tests {
            let question = match question::parse(&item.call.value) {
                Ok(question) => question,
                Err(error) => {
                    let place = self.inside(&item.call, &error.range);
                    let problem = Problem::error(Code::BadQuestion, place, error.message);
                    self.problems.push(problem.help(
                        "a test asks `ENV/A -> ENV/B METHOD /path`, `... pkg.Service/Method` or \
                         `... tcp:PORT`, with the path as it is after all decoding",
                    ));
                    continue;
                }
            };
            let before = self.problems.len();
            self.side(&item.call, &question.caller);
            let callee = self.side(&item.call, &question.callee);
            if let Some(callee) = callee {
                self.port(&item.call, &question, callee);
                self.readable(&item.call, &question, callee);
            }
            if let Some(by) = &item.by {
                self.decider(by, &deciders);
            }
            if self.problems.len() == before {
                let (file, line) = self.files.line(item.call.place);
                self.parts.tests.push(Test {
                    file,
                    line,
                    expect: item.expect,
                    text: item.call.value.clone(),
                    question,
                    at: item.at,
                    by: item.by.as_ref().map(|by| by.value.clone()),
                });
            }
        }
    }

    fn side(&mut self, call: &Text, side: &Side) -> Option<WorkloadNumber> {
        let place = self.inside(call, &side.range);
        let number = self.workload(&Text { value: side.workload.clone(), place })?;
        let environment = Text { value: side.environment.clone(), place };
        if !self.environment(&environment) {
            return None;
        }
        let shape = self.parts.workloads.get(number.0)?.shape.as_ref()?;
        match self.parts.template.as_ref()?.id(shape, &side.environment) {
            Ok(_) => Some(number),
            Err(error) => {
                self.bad_identity(place, &error);
                None
            }
        }
    }

    /// A connection to another port never reaches this workload's sidecar.
    fn port(&mut self, call: &Text, question: &Question, callee: WorkloadNumber) {
        let Asked::Tcp { port } = question.call else { return };
        let Some(callee) = self.parts.workloads.get(callee.0) else { return };
        let tcp: Vec<_> = callee.listens.iter().filter(|it| it.protocol == Protocol::Tcp).collect();
        let Some(first) = tcp.first().filter(|_| tcp.iter().all(|it| it.port != port)) else {
            return;
        };
        let place = self.inside(call, &question.call_range);
        let which = if tcp.len() == 1 { "the declared port" } else { "a declared port" };
        let ports: Vec<_> = tcp.iter().map(|it| format!("`tcp:{}`", it.port)).collect();
        let problem =
            Problem::error(Code::ProtocolMismatch, place, format!("port {port} is not {which}"))
                .help(format!("use {}", ports.join(" or ")))
                .related(first.place, "declared here");
        self.problems.push(problem);
    }

    /// A path that its callee does not tolerate never reaches the policy.
    fn readable(&mut self, call: &Text, question: &Question, callee: WorkloadNumber) {
        let declared = self.about(callee).flat_map(|rule| &rule.calls).map(|item| &item.call);
        if let Some(message) = question.refused(Tolerated::of(declared)) {
            let place = self.inside(call, &question.call_range);
            let problem = Problem::error(Code::BadQuestion, place, message).help(
                "where the callee reads `%2F` as a part of one segment, the template of a rule says \
                 so: `/v1/{name%2F}`",
            );
            self.problems.push(problem);
        }
    }

    /// Whatever can decide a call, also rules and guards with a mistake in them.
    fn deciders(&self, documents: &Documents) -> BTreeSet<String> {
        let rules = documents.rules.iter().map(|rule| rule.name.value.clone());
        let guards = documents.guards.iter().map(|guard| format!("guard/{}", guard.name.value));
        let grants = documents.grants.iter();
        let grants = grants.map(|grant| format!("grant/{}", grant.rule.name.value));
        let variables = self.parts.template.iter().flat_map(|template| template.variables());
        let boundaries = variables.map(|name| format!("boundary/{name}"));
        rules.chain(guards).chain(grants).chain(boundaries).chain(["default".to_owned()]).collect()
    }

    fn decider(&mut self, by: &Text, known: &BTreeSet<String>) {
        if !known.contains(&by.value) {
            let message = format!("nothing is called `{}`", by.value);
            let near = Self::meant(&mut self.suggestions, &by.value, known.iter());
            let problem = Problem::error(Code::UnknownDecider, by.place, message).suggest(near);
            self.problems.push(problem);
        }
    }
}
