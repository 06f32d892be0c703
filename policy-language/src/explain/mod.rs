//! Why a call is decided as it is: each guard, boundary and rule of the callee, with its reason.

mod conditions;
mod decided;
mod fix;
mod guards;
mod reasons;
mod show;

use std::time::SystemTime;

use cellwall_policy::{Decision, Mode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use decided::{DecidedCall, PastCall};
pub use fix::Fix;
pub use show::Clauses;

use crate::{CompileError, PolicySet, model::WorkloadNumber, question, question::Asked};

/// The answer to a question, with all its reasons.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Explanation {
    /// The form of this document: 1.
    pub schema_version: u32,
    /// `allow`, `deny` or `audit`.
    pub verdict: String,
    /// What decided: a rule's name, `grant/NAME`, `guard/NAME`, `boundary/VARIABLE` or `default`.
    pub by: String,
    /// The `why` of the rule or guard that decided.
    pub why: Option<String>,
    /// Whoever answers for it.
    #[serde(default)]
    pub owner: Option<String>,
    /// What is called.
    pub call: String,
    /// The declared template that the call belongs to.
    pub route: Option<String>,
    /// Who calls.
    pub caller: ExplainedSide,
    /// Who is called.
    pub callee: ExplainedSide,
    /// The callee's segment.
    pub segment: String,
    /// Its mode: `enforce` or `audit`.
    pub mode: String,
    /// The guards about this callee.
    pub guards: Vec<ExplainedStatement>,
    /// The variables that must be equal on both sides.
    pub boundaries: Vec<ExplainedBoundary>,
    /// The rules about this callee, and the grants: `grant/NAME`.
    pub rules: Vec<ExplainedStatement>,
    /// The outcome in a few words.
    pub so: String,
    /// The smallest change of the documents that would allow it, where that was looked for.
    #[serde(default)]
    pub fix: Option<Fix>,
}

/// One side of a call. A caller that the policy does not know has no name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExplainedSide {
    /// The workload's name.
    pub workload: String,
    /// Its environment.
    pub environment: String,
    /// Its SPIFFE ID.
    pub spiffe_id: String,
}

/// What a guard or rule says about a call.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExplainedStatement {
    /// Its name.
    pub name: String,
    /// Whether it applies to the call.
    pub applies: bool,
    /// Why not, or why.
    pub because: String,
    /// Whether this rule is the one that nearly allows the call.
    pub nearest: bool,
}

/// A variable of the identity template.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExplainedBoundary {
    /// Its name.
    pub variable: String,
    /// Its value in the caller's ID.
    pub caller: String,
    /// Its value in the callee's ID.
    pub callee: String,
    /// Whether the two differ, which denies the call.
    pub crossed: bool,
}

/// Why a question has no answer.
#[derive(Debug, Error)]
pub enum ExplainError {
    /// The text is no question.
    #[error("{0}")]
    Question(String),
    /// A workload is not known.
    #[error("unknown workload `{name}`{}", did_you_mean(.nearest.as_deref()))]
    UnknownWorkload {
        /// The name.
        name: String,
        /// One that is near to it.
        nearest: Option<String>,
    },
    /// The callee does not listen there.
    #[error("`{workload}` listens on {listens}, not on port {asked}")]
    Port {
        /// The callee.
        workload: String,
        /// Its ports.
        listens: String,
        /// The port asked for.
        asked: u16,
    },
    /// There is no policy to ask.
    #[error("cannot be asked")]
    Compile(#[from] CompileError),
    /// The callee speaks something else by these documents.
    #[error("`{workload}` does not speak {asked} in this policy")]
    Protocol {
        /// The callee.
        workload: String,
        /// What was spoken.
        asked: &'static str,
    },
    /// Whether a template matches depends on the path, and paths are not recorded.
    #[error("the path was not recorded, and by it this policy may decide in one way or another")]
    Path,
}

/// A decision, and all that its reasons are made from.
struct Case<'a> {
    /// The caller, if the policy knows it.
    caller: Option<WorkloadNumber>,
    callee: WorkloadNumber,
    /// The caller's and the callee's.
    sides: (ExplainedSide, ExplainedSide),
    call: &'a Asked,
    call_text: &'a str,
    decision: &'a Decision,
    /// When.
    now: SystemTime,
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}

impl PolicySet {
    /// Answers `ENV/A -> ENV/B CALL`, where CALL is `METHOD /path`, `pkg.Service/Method` or
    /// `tcp:PORT`, as the callee's sidecar would at `now`, and says why.
    ///
    /// # Errors
    ///
    /// [`ExplainError`] when the text is no such question, or names a workload that is not known.
    pub fn explain(&self, call: &str, now: SystemTime) -> Result<Explanation, ExplainError> {
        let question =
            question::parse(call).map_err(|error| ExplainError::Question(error.message))?;
        for side in [&question.caller, &question.callee] {
            self.must_be_known(side)?;
        }
        self.must_be_listened(&question)?;
        self.must_be_readable(&question)?;
        let answer = self.answer(&question, Some(now))?;
        self.reasoned(&Case {
            caller: Some(answer.caller),
            callee: answer.callee,
            sides: (self.explained(&question.caller)?, self.explained(&question.callee)?),
            call: &question.call,
            call_text: &question.call_text,
            decision: &answer.decision,
            now,
        })
    }

    /// Every reason of one decision.
    fn reasoned(&self, case: &Case<'_>) -> Result<Explanation, ExplainError> {
        let Case { callee, decision, .. } = *case;
        let segment = self.workload(callee).and_then(|it| self.segments.get(it.segment));
        let guards = self.guards.iter().filter(|guard| guard.to.members.contain(callee));
        let mode = segment.map_or(Mode::Enforce, |segment| segment.mode);
        let (caller_side, callee_side) = case.sides.clone();
        let mut explanation = Explanation {
            schema_version: 1,
            verdict: decision.verdict.as_str().to_owned(),
            by: decision.by.to_string(),
            why: self.why(&decision.by),
            owner: self.owner(&decision.by),
            call: case.call_text.to_owned(),
            route: decision.route.as_deref().map(str::to_owned),
            boundaries: self.boundaries(&caller_side, &callee_side),
            caller: caller_side,
            callee: callee_side,
            segment: segment.map_or_else(String::new, |segment| segment.name.clone()),
            mode: mode.as_str().to_owned(),
            guards: guards.map(|guard| self.guard_line(guard, case)).collect::<Result<_, _>>()?,
            rules: self.rule_lines(case)?,
            so: String::new(),
            fix: None,
        };
        explanation.so = reasons::so(&explanation, decision);
        Ok(explanation)
    }
}
