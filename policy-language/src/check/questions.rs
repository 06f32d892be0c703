//! `tests`: each question must be one, and what decides must exist. Running them comes later.

use std::collections::BTreeSet;

use cellwall_policy::{Protocol, Snapshot};

use super::{Checker, Parts};
use crate::{
    codes::Code,
    compile::{Compiler, Index},
    finding::Problem,
    model::{Test, WorkloadNumber},
    place::Place,
    question::{self, Asked, Question, Side},
    suggest::nearest,
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
                    self.problems.push(Problem::error(Code::BadQuestion, place, error.message));
                    continue;
                }
            };
            let before = self.problems.len();
            self.side(&item.call, &question.caller);
            let callee = self.side(&item.call, &question.callee);
            if let Some(callee) = callee {
                self.port(&item.call, &question, callee);
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
        let listens =
            self.parts.workloads.get(callee.0).and_then(|workload| workload.listens.first());
        if let (Asked::Tcp { port }, Some(listens)) = (&question.call, listens)
            && listens.protocol == Protocol::Tcp
            && listens.port != *port
        {
            let place = self.inside(call, &question.call_range);
            let message = format!("port {port} is not the declared port");
            let problem = Problem::error(Code::ProtocolMismatch, place, message)
                .help(format!("use `tcp:{}`", listens.port))
                .related(listens.place, "declared here");
            self.problems.push(problem);
        }
    }

    /// Whatever can decide a call, also rules and guards with a mistake in them.
    fn deciders(&self, documents: &Documents) -> BTreeSet<String> {
        let rules = documents.rules.iter().map(|rule| rule.name.value.clone());
        let guards = documents.guards.iter().map(|guard| format!("guard/{}", guard.name.value));
        let variables = self.parts.template.iter().flat_map(|template| template.variables());
        let boundaries = variables.map(|name| format!("boundary/{name}"));
        rules.chain(guards).chain(boundaries).chain(["default".to_owned()]).collect()
    }

    fn decider(&mut self, by: &Text, known: &BTreeSet<String>) {
        if !known.contains(&by.value) {
            let message = format!("nothing is called `{}`", by.value);
            let problem = Problem::error(Code::UnknownDecider, by.place, message)
                .suggest(nearest(&by.value, known.iter().map(String::as_str)));
            self.problems.push(problem);
        }
    }

    /// A part of a text, where the file has the text as it is; else the whole.
    fn inside(&self, text: &Text, range: &std::ops::Range<usize>) -> Place {
        if self.files.text(text.place) == Some(text.value.as_str()) {
            Place::new(text.place.file, text.place.start + range.start, range.len())
        } else {
            text.place
        }
    }

    /// Compiles each callee once, so that no later compilation can fail for what the files say.
    pub(super) fn compiles(&mut self) {
        let Some(template) = &self.parts.template else { return };
        let Parts { rules, grants, guards, .. } = &self.parts;
        let index = Index::new(rules, grants, guards);
        let compiler = Compiler {
            template,
            workloads: &self.parts.workloads,
            segments: &self.parts.segments,
            rules,
            grants,
            guards,
            probes: &self.parts.probes,
            index: &index,
        };
        // Any values will do: what is compiled differs in nothing else.
        let environment = vec!["x"; template.variables().count()].join("/");
        let mut problems = Vec::new();
        for (number, workload) in self.parts.workloads.iter().enumerate() {
            let compiled = compiler
                .compile_named(WorkloadNumber(number), &environment)
                .and_then(|document| Ok(Snapshot::new(document)?));
            if let Err(error) = compiled {
                let mut message = format!("the policy of `{}` does not compile", workload.name);
                let mut cause: Option<&dyn std::error::Error> = Some(&error);
                while let Some(error) = cause {
                    message.push_str(&format!(": {error}"));
                    cause = error.source();
                }
                problems.push(Problem::error(Code::TooMuch, workload.place, message));
            }
        }
        for problem in problems {
            self.problems.push(problem);
        }
    }
}
