//! The reasons, one by one.

use std::time::SystemTime;

use cellwall_policy::{
    By, CallDocument, CallerDocument, Callers, Decision, Snapshot, SnapshotDocument, Tolerated,
    Verdict,
};

use super::{
    Case, ExplainError, ExplainedBoundary, ExplainedSide, ExplainedStatement, Explanation,
    conditions::term,
};
use crate::{
    CompileError, PolicySet,
    model::Rule,
    question::{Asked, Question, Side},
    suggest::nearest,
    syntax::CallItem,
    trial::ask,
};

/// How many calls of a rule are spelled out.
const SHOWN_CALLS: usize = 3;

/// How a rule's calls stand to the call that is asked about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fit {
    /// The rule names the template that the call belongs to.
    Named,
    /// It names one that matches, but another one of this callee is more specific.
    LessSpecific,
    /// It names none that matches.
    No,
}

impl PolicySet {
    pub(super) fn must_be_known(&self, side: &Side) -> Result<(), ExplainError> {
        if self.by_name.contains_key(&side.workload) {
            return Ok(());
        }
        let nearest = nearest(&side.workload, self.workloads());
        Err(ExplainError::UnknownWorkload {
            name: side.workload.clone(),
            nearest: nearest.map(str::to_owned),
        })
    }

    /// A connection to another port never reaches the callee's sidecar.
    pub(super) fn must_be_listened(&self, question: &Question) -> Result<(), ExplainError> {
        let workload = &question.callee.workload;
        let callee = self.by_name.get(workload).and_then(|number| self.workload(*number));
        let listens = callee.map_or(&[][..], |callee| &callee.listens);
        match &question.call {
            Asked::Tcp { port } if !listens.iter().any(|listener| listener.port == *port) => {
                let ports: Vec<_> = listens
                    .iter()
                    .map(|it| format!("{}: {}", it.protocol.as_str(), it.port))
                    .collect();
                Err(ExplainError::Port {
                    workload: workload.clone(),
                    listens: ports.join(", "),
                    asked: *port,
                })
            }
            Asked::Tcp { .. } | Asked::Http { .. } | Asked::Grpc { .. } => Ok(()),
        }
    }

    /// A path that the callee does not tolerate never reaches its policy.
    pub(super) fn must_be_readable(&self, question: &Question) -> Result<(), ExplainError> {
        let callee = self.by_name.get(&question.callee.workload);
        let tolerated = callee.map_or(Tolerated::Nothing, |number| self.tolerated(*number));
        match question.refused(tolerated) {
            Some(message) => Err(ExplainError::Question(message)),
            None => Ok(()),
        }
    }

    pub(super) fn explained(&self, side: &Side) -> Result<ExplainedSide, CompileError> {
        let (_, id) = self.side(side)?;
        Ok(ExplainedSide {
            workload: side.workload.clone(),
            environment: side.environment.clone(),
            spiffe_id: id.to_string(),
        })
    }

    /// Whoever answers for what decided.
    pub(super) fn owner(&self, by: &By) -> Option<String> {
        let stewardship = match by {
            By::Rule(name) => &self.rules.iter().find(|rule| *rule.name == **name)?.stewardship,
            By::Grant(name) => {
                &self.grants.iter().find(|grant| *grant.rule.name == **name)?.rule.stewardship
            }
            By::Guard(name) => &self.guards.iter().find(|it| *it.name == **name)?.stewardship,
            By::Boundary(_) | By::Default => return None,
        };
        stewardship.owner.clone()
    }

    pub(super) fn why(&self, by: &By) -> Option<String> {
        match by {
            By::Rule(name) => {
                self.rules.iter().find(|rule| *rule.name == **name).map(|rule| rule.why.clone())
            }
            By::Grant(name) => {
                let grant = self.grants.iter().find(|grant| *grant.rule.name == **name);
                grant.map(|grant| grant.rule.why.clone())
            }
            By::Guard(name) => self
                .guards
                .iter()
                .find(|guard| *guard.name == **name)
                .map(|guard| guard.why.clone()),
            By::Boundary(_) | By::Default => None,
        }
    }

    pub(super) fn boundaries(
        &self,
        caller: &ExplainedSide,
        callee: &ExplainedSide,
    ) -> Vec<ExplainedBoundary> {
        // An ID of another trust domain has no values.
        let theirs = caller.environment.split('/').chain(std::iter::repeat(""));
        self.template
            .variables()
            .zip(theirs.zip(callee.environment.split('/')))
            .map(|(variable, (caller, callee))| ExplainedBoundary {
                variable: variable.to_owned(),
                crossed: caller != callee,
                caller: caller.to_owned(),
                callee: callee.to_owned(),
            })
            .collect()
    }

    pub(super) fn rule_lines(
        &self,
        case: &Case<'_>,
    ) -> Result<Vec<ExplainedStatement>, CompileError> {
        let mut document = self.compiler().compile(case.callee, &case.sides.1.environment)?;
        // Only the calls are of interest here.
        document.guards.clear();
        let (mut lines, mut fits) = (Vec::new(), Vec::new());
        let rules = self.rules.iter().map(|rule| (rule, None));
        let grants = self.grants.iter().map(|grant| (&grant.rule, Some(grant)));
        for (rule, grant) in rules.chain(grants).filter(|(it, _)| it.to.contains(&case.callee)) {
            // `any` means every workload of the policy, and nobody else.
            let caller_fits = case.caller.is_some_and(|caller| rule.from.members.contain(caller))
                || rule.from.foreign.contains(&case.sides.0.spiffe_id);
            let fit = self.fit(&document, (&rule.name, grant.is_some()), case.call)?;
            let mut obstacles = self.obstacles(rule, case);
            obstacles.extend(grant.and_then(|grant| term(grant, case.now)));
            let is_open = obstacles.is_empty() && grant.is_none();
            let mut line = rule_line(rule, caller_fits, (fit, obstacles), case.decision);
            if grant.is_some() {
                line.name = format!("grant/{}", line.name);
            }
            lines.push(line);
            fits.push((is_open && caller_fits, is_open && fit == Fit::Named));
        }
        if case.decision.by == By::Default {
            let near = |wanted| fits.iter().position(|fit| *fit == wanted);
            let nearest = near((false, true)).or_else(|| near((true, false)));
            if let Some(line) = nearest.and_then(|at| lines.get_mut(at)) {
                line.nearest = true;
            }
        }
        Ok(lines)
    }

    /// Asks what the callee's policy would say if everybody were a caller of this rule only.
    fn fit(
        &self,
        document: &SnapshotDocument,
        (rule, is_grant): (&str, bool),
        call: &Asked,
    ) -> Result<Fit, CompileError> {
        let now = SystemTime::UNIX_EPOCH;
        let opened = |from: Callers| {
            let mut document = document.clone();
            // Grants become rules, for as long as this is asked.
            let grants = document.grants.drain(..).map(|grant| (grant.rule, true));
            let rules = document.rules.drain(..).map(|rule| (rule, false));
            let statements: Vec<_> = rules.chain(grants).collect();
            for (mut other, granted) in statements {
                let open = other.name == rule && granted == is_grant;
                other.from = if open { from.clone() } else { Callers::Named(Vec::new()) };
                other.name = if open { "open".to_owned() } else { "shut".to_owned() };
                other.when = None;
                document.rules.push(other);
            }
            document.callers = vec![CallerDocument {
                name: document.workload.clone(),
                id: self.override_of(&document.workload),
            }];
            document
        };
        let among = opened(Callers::Any);
        let mut alone = among.clone();
        alone.rules.retain(|other| other.name == "open");
        if allowed(among, call, now)? {
            Ok(Fit::Named)
        } else if allowed(alone, call, now)? {
            Ok(Fit::LessSpecific)
        } else {
            Ok(Fit::No)
        }
    }

    fn override_of(&self, workload: &str) -> Option<String> {
        self.workload(*self.by_name.get(workload)?)?.id.clone()
    }
}

/// Whether the callee itself, as caller, may make the call.
fn allowed(
    document: SnapshotDocument,
    call: &Asked,
    now: SystemTime,
) -> Result<bool, CompileError> {
    let snapshot = Snapshot::new(document)?;
    let decision = ask(&snapshot, snapshot.callee(), call, now);
    Ok(decision.is_some_and(|decision| decision.verdict == Verdict::Allow))
}

fn rule_line(
    rule: &Rule,
    caller_fits: bool,
    (fit, obstacles): (Fit, Vec<String>),
    decision: &Decision,
) -> ExplainedStatement {
    let mut reasons = Vec::new();
    if !caller_fits {
        reasons.push(format!("caller is not {}", rule.from.text));
    }
    match fit {
        Fit::Named => {}
        Fit::LessSpecific => {
            let route = decision.route.as_deref().unwrap_or("another template");
            reasons.push(format!("the call belongs to {route}, which is more specific"));
        }
        Fit::No => reasons.push(format!("call is not {}", calls(&rule.calls))),
    }
    reasons.extend(obstacles);
    let applies = reasons.is_empty();
    let because = match (applies, &decision.by) {
        (false, _) => reasons.join(", "),
        (true, By::Rule(_) | By::Grant(_)) => "allows it".to_owned(),
        (true, By::Guard(_) | By::Boundary(_) | By::Default) => "would allow it".to_owned(),
    };
    ExplainedStatement { name: rule.name.clone(), applies, because, nearest: false }
}

pub(super) fn calls(items: &[CallItem]) -> String {
    let text = |call: &CallDocument| match call {
        CallDocument::Http { methods, path } => format!("{} {path}", methods.join(",")),
        CallDocument::Grpc { service, method } => format!("{service}/{method}"),
        CallDocument::Tcp { port } => format!("tcp:{port}"),
    };
    let mut shown: Vec<_> = items.iter().take(SHOWN_CALLS).map(|item| text(&item.call)).collect();
    if items.len() > SHOWN_CALLS {
        shown.push(format!("{} more", items.len() - SHOWN_CALLS));
    }
    shown.join(" or ")
}

/// The outcome in a few words.
pub(super) fn so(explanation: &Explanation, decision: &Decision) -> String {
    let Explanation { segment, mode, .. } = explanation;
    match (&decision.by, decision.verdict) {
        (By::Rule(name), _) => format!("allowed by {name}"),
        (By::Grant(name), _) => format!("allowed by grant {name}, for a while"),
        (By::Guard(name), Verdict::Audit) => {
            format!("guard {name} would deny it; it passes and is recorded (the guard is in audit)")
        }
        (By::Guard(name), _) => format!("denied by guard {name}, which no rule can overrule"),
        (By::Boundary(variable), _) => {
            let crossed = explanation.boundaries.iter().find(|it| *it.variable == **variable);
            let sides = crossed.map(|it| format!(": {} is not {}", it.caller, it.callee));
            format!("denied by the boundary {variable}{}", sides.unwrap_or_default())
        }
        (By::Default, Verdict::Audit) => {
            format!("no rule allows it; it passes and is recorded (segment {segment}: {mode})")
        }
        (By::Default, _) => format!("default deny (segment {segment}: {mode})"),
    }
}
