//! Runs the tests that stand in the documents.

use std::{collections::BTreeSet, time::SystemTime};

use cellwall_policy::{By, Call, Callers, Decision, RequestPath, Snapshot, Tls};
use serde::{Deserialize, Serialize};
use spiffe::SpiffeId;

use crate::{
    CompileError, PolicySet,
    model::{Test, WorkloadNumber},
    question::{Asked, Question, Side},
};

/// What became of the tests.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TestReport {
    /// Each test, in the order of the files.
    pub results: Vec<TestResult>,
    passed: usize,
    failed: usize,
    /// Rules that no passed test was allowed by.
    pub untested_rules: Vec<String>,
    /// How many rules there are.
    pub rules: usize,
}

impl TestReport {
    /// How many passed.
    pub const fn passed(&self) -> usize {
        self.passed
    }

    /// How many did not.
    pub const fn failed(&self) -> usize {
        self.failed
    }
}

/// What became of one test.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TestResult {
    /// The file it stands in.
    pub file: String,
    /// The line of its `call`.
    pub line: usize,
    /// The question.
    pub call: String,
    /// The verdict that is expected.
    pub expect: String,
    /// What is expected to decide, if the test says so.
    pub expect_by: Option<String>,
    /// The verdict.
    pub verdict: String,
    /// What decided.
    pub by: String,
    /// Whether both are as expected.
    pub passed: bool,
}

/// An answer to a question, and from what.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) decision: Decision,
    pub(crate) caller: WorkloadNumber,
    pub(crate) callee: WorkloadNumber,
}

impl PolicySet {
    /// Runs the tests of all files. The policies of the callees are compiled as they would be sent,
    /// and asked as a proxy asks.
    pub fn run_tests(&self) -> TestReport {
        let mut report = TestReport { rules: self.rules.len(), ..TestReport::default() };
        let mut tested = BTreeSet::new();
        for test in &self.tests {
            let (result, rule) = self.run(test);
            if result.passed {
                report.passed += 1;
                tested.extend(rule);
            } else {
                report.failed += 1;
            }
            report.results.push(result);
        }
        let names = self.rules.iter().map(|rule| rule.name.clone());
        report.untested_rules = names.filter(|name| !tested.contains(name)).collect();
        report
    }

    fn run(&self, test: &Test) -> (TestResult, Option<String>) {
        let mut result = TestResult {
            file: test.file.clone(),
            line: test.line,
            call: test.text.clone(),
            expect: test.expect.as_str().to_owned(),
            expect_by: test.by.clone(),
            verdict: String::new(),
            by: String::new(),
            passed: false,
        };
        let answer = match self.answer(&test.question, test.at) {
            Ok(answer) => answer,
            Err(error) => {
                result.by = error.to_string();
                return (result, None);
            }
        };
        let Decision { verdict, by, .. } = answer.decision;
        result.verdict = verdict.as_str().to_owned();
        result.by = by.to_string();
        let by_fits = test.by.as_ref().is_none_or(|expected| *expected == result.by);
        result.passed = verdict == test.expect && by_fits;
        let rule = match by {
            By::Rule(name) => Some(name.to_string()),
            By::Grant(_) | By::Guard(_) | By::Boundary(_) | By::Default => None,
        };
        (result, rule)
    }

    /// Asks the callee's policy, at a time or as if there were no grants.
    pub(crate) fn answer(
        &self,
        question: &Question,
        at: Option<SystemTime>,
    ) -> Result<Answer, CompileError> {
        let (caller, caller_id) = self.side(&question.caller)?;
        let (callee, _) = self.side(&question.callee)?;
        let mut document = self.compiler().compile(callee, &question.callee.environment)?;
        let now = at.unwrap_or(SystemTime::UNIX_EPOCH);
        if at.is_none() {
            for grant in &mut document.grants {
                grant.rule.from = Callers::default();
            }
        }
        let snapshot = Snapshot::new(document)?;
        let unread = || CompileError::UnknownCallee(question.call_text.clone());
        let decision = ask(&snapshot, &caller_id, &question.call, now).ok_or_else(unread)?;
        Ok(Answer { decision, caller, callee })
    }

    pub(crate) fn side(&self, side: &Side) -> Result<(WorkloadNumber, SpiffeId), CompileError> {
        let unknown = || CompileError::UnknownCallee(side.workload.clone());
        let number = *self.by_name.get(&side.workload).ok_or_else(unknown)?;
        let shape = self.workload(number).and_then(|workload| workload.shape.as_ref());
        let id = self.template.id(shape.ok_or_else(unknown)?, &side.environment)?;
        Ok((number, id))
    }
}

/// Asks a snapshot. `None` for a path that is not canonical, which no question has.
pub(crate) fn ask(
    snapshot: &Snapshot,
    caller: &SpiffeId,
    asked: &Asked,
    now: SystemTime,
) -> Option<Decision> {
    let path = match asked {
        Asked::Http { path, .. } => path.as_str(),
        Asked::Grpc { .. } | Asked::Tcp { .. } => "/",
    };
    let path = RequestPath::parse(path).ok()?;
    let call = match asked {
        Asked::Http { method, .. } => Call::Http { method, path: &path },
        Asked::Grpc { service, method } => Call::Grpc { service, method },
        Asked::Tcp { port } => Call::Tcp { port: *port },
    };
    Some(snapshot.decide(caller, &Tls::default(), &call, now))
}
