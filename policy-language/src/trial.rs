//! Runs the tests that stand in the documents.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::SystemTime,
};

use cellwall_policy::{
    By, Call, CallDocument, Callers, Decision, RequestPath, Snapshot, Tls, Tolerated, Verdict,
};
use serde::{Deserialize, Serialize};
use spiffe::SpiffeId;

use crate::{
    CompileError, PolicySet,
    model::{Rule, Test, WorkloadNumber},
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
    /// Rules without a deny neighbour: a passed test of their callee, with one of their callers or
    /// one of their calls, that was not allowed.
    #[serde(default)]
    pub unbounded_rules: Vec<String>,
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

impl Answer {
    /// Whether a rule about this callee has this caller, or this call.
    fn is_beside(&self, rule: &Rule, asked: &Asked) -> bool {
        let route = self.decision.route.as_deref();
        let is_call = |call: &CallDocument| match (call, asked) {
            (CallDocument::Http { methods, path }, Asked::Http { method, .. }) => {
                methods.contains(method) && Some(path.as_str()) == route
            }
            (CallDocument::Grpc { service, method }, Asked::Grpc { .. }) => {
                Some(format!("{service}/{method}").as_str()) == route
            }
            (CallDocument::Tcp { port }, Asked::Tcp { port: asked }) => port == asked,
            _ => false,
        };
        rule.from.members.contain(self.caller) || rule.calls.iter().any(|item| is_call(&item.call))
    }
}

/// The policies that were asked so far, each compiled once.
#[derive(Debug, Default)]
struct Compiled(BTreeMap<(WorkloadNumber, String, Grants), Snapshot>);

/// Whether grants count.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Grants {
    Counted,
    LeftOut,
}

impl PolicySet {
    /// Runs the tests of all files. The policies of the callees are compiled as they would be sent,
    /// and asked as a proxy asks.
    pub fn run_tests(&self) -> TestReport {
        let mut report = TestReport { rules: self.rules.len(), ..TestReport::default() };
        let (mut allowed, mut refused) = (BTreeSet::new(), BTreeSet::new());
        let mut compiled = Compiled::default();
        for test in &self.tests {
            let (result, answer) = self.run(test, &mut compiled);
            if result.passed {
                report.passed += 1;
            } else {
                report.failed += 1;
            }
            match answer.filter(|_| result.passed) {
                Some(Answer { decision: Decision { by: By::Rule(name), .. }, .. }) => {
                    allowed.insert(name.to_string());
                }
                Some(answer) if answer.decision.verdict != Verdict::Allow => {
                    let near = self.index.rules(answer.callee).filter_map(|at| self.rules.get(at));
                    let near = near.filter(|rule| answer.is_beside(rule, &test.question.call));
                    refused.extend(near.map(|rule| rule.name.clone()));
                }
                _ => {}
            }
            report.results.push(result);
        }
        let missing = |known: &BTreeSet<String>| {
            let names = self.rules.iter().map(|rule| rule.name.clone());
            names.filter(|name| !known.contains(name)).collect()
        };
        report.untested_rules = missing(&allowed);
        report.unbounded_rules = missing(&refused);
        report
    }

    fn run(&self, test: &Test, compiled: &mut Compiled) -> (TestResult, Option<Answer>) {
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
        let answer = match self.ask(&test.question, test.at, compiled) {
            Ok(answer) => answer,
            Err(error) => {
                result.by = error.to_string();
                return (result, None);
            }
        };
        let Decision { verdict, by, .. } = &answer.decision;
        result.verdict = verdict.as_str().to_owned();
        result.by = by.to_string();
        let by_fits = test.by.as_ref().is_none_or(|expected| *expected == result.by);
        result.passed = *verdict == test.expect && by_fits;
        (result, Some(answer))
    }

    /// Asks the callee's policy, at a time or as if there were no grants.
    pub(crate) fn answer(
        &self,
        question: &Question,
        at: Option<SystemTime>,
    ) -> Result<Answer, CompileError> {
        self.ask(question, at, &mut Compiled::default())
    }

    fn ask(
        &self,
        question: &Question,
        at: Option<SystemTime>,
        compiled: &mut Compiled,
    ) -> Result<Answer, CompileError> {
        let (caller, caller_id) = self.side(&question.caller)?;
        let (callee, _) = self.side(&question.callee)?;
        let grants = if at.is_some() { Grants::Counted } else { Grants::LeftOut };
        let environment = &question.callee.environment;
        let snapshot = match compiled.0.entry((callee, environment.clone(), grants)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(self.snapshot(callee, environment, grants)?),
        };
        let unread = || CompileError::UnknownCallee(question.call_text.clone());
        let now = at.unwrap_or(SystemTime::UNIX_EPOCH);
        let decision = ask(snapshot, &caller_id, &question.call, now).ok_or_else(unread)?;
        Ok(Answer { decision, caller, callee })
    }

    fn snapshot(
        &self,
        callee: WorkloadNumber,
        environment: &str,
        grants: Grants,
    ) -> Result<Snapshot, CompileError> {
        let mut document = self.compiler().compile(callee, environment)?;
        if grants == Grants::LeftOut {
            // They go on declaring their calls.
            for grant in &mut document.grants {
                grant.rule.from = Callers::default();
            }
        }
        Ok(Snapshot::new(document)?)
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
    let path = RequestPath::tolerating(path, Tolerated::EncodedSlash).ok()?;
    let call = match asked {
        Asked::Http { method, .. } => Call::Http { method, path: &path },
        Asked::Grpc { service, method } => Call::Grpc { service, method },
        Asked::Tcp { port } => Call::Tcp { port: *port },
    };
    Some(snapshot.decide(caller, &Tls::default(), &call, now))
}
