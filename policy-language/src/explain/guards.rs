//! What each guard of the callee says of one case.

use cellwall_policy::{By, Callers, Mode, Snapshot, Truth};

use super::{Case, ExplainedSide, ExplainedStatement, reasons::calls};
use crate::{
    CompileError, PolicySet,
    model::{Guard, Members, WorkloadNumber},
    trial::ask,
};

impl PolicySet {
    pub(super) fn guard_line(
        &self,
        guard: &Guard,
        case: &Case<'_>,
    ) -> Result<ExplainedStatement, CompileError> {
        let (applies, because) = self.guard_says(guard, case)?;
        Ok(ExplainedStatement { name: guard.name.clone(), applies, because, nearest: false })
    }

    fn guard_says(&self, guard: &Guard, case: &Case<'_>) -> Result<(bool, String), CompileError> {
        let ExplainedSide { workload, spiffe_id, .. } = &case.sides.0;
        if case.caller.is_some_and(|caller| guard.except.contains(&caller))
            || guard.except_foreign.contains(spiffe_id)
        {
            let name = if workload.is_empty() { spiffe_id } else { workload };
            return Ok((false, format!("{name} is an exception")));
        }
        if !among(&guard.from.members, case.caller) && !guard.from.foreign.contains(spiffe_id) {
            return Ok((false, format!("caller is not {}", guard.from.text)));
        }
        if !guard.calls.is_empty() && !self.guards_call(guard, case)? {
            return Ok((false, format!("call is not {}", calls(&guard.calls))));
        }
        let mut because = format!("denies {} -> {}", guard.from.text, guard.to.text);
        if let Some(when) = &guard.when {
            match self.truth(when, case) {
                Truth::Fails => return Ok((false, format!("`{}` does not hold", when.text))),
                Truth::Holds => because.push_str(&format!(" when `{}`", when.text)),
                Truth::Unknown => because
                    .push_str(&format!(", and `{}` cannot be said of this caller", when.text)),
            }
        }
        if !guard.mode.is_enforce() {
            because.push_str(", in audit: recorded only");
        }
        Ok((true, because))
    }

    /// Asks the callee's policy whether this guard alone, for everyone, denies the call.
    fn guards_call(&self, guard: &Guard, case: &Case<'_>) -> Result<bool, CompileError> {
        let mut document = self.compiler().compile(case.callee, &case.sides.1.environment)?;
        document.guards.retain(|other| other.name == guard.name);
        document.guards.truncate(1);
        for guard in &mut document.guards {
            (guard.from, guard.when, guard.mode) = (Callers::Any, None, Mode::Enforce);
            guard.except.clear();
        }
        let snapshot = Snapshot::new(document)?;
        let decision = ask(&snapshot, snapshot.callee(), case.call, case.now);
        Ok(decision.is_some_and(|decision| matches!(decision.by, By::Guard(_))))
    }
}

/// Whether somebody is kept out by a guard on these. `any` is also whoever is unknown (AZ-02).
fn among(members: &Members, caller: Option<WorkloadNumber>) -> bool {
    match (members, caller) {
        (Members::Any, _) => true,
        (Members::Some(_), None) => false,
        (Members::Some(members), Some(caller)) => members.contains(&caller),
    }
}
