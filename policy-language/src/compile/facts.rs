//! What is known of each side when a policy is compiled.

use std::collections::BTreeSet;

use cellwall_policy::Operand;

use super::parts::Parts;
use crate::{
    condition::{Attribute, Fact, Known},
    model::Workload,
};

/// Whose facts are filled in.
#[derive(Clone, Copy)]
pub(super) enum Caller<'a> {
    /// This workload's.
    Workload(&'a Workload),
    /// Anybody's: only what shows with the call.
    Anybody,
    /// Those of somebody who is no workload of these documents.
    Unknown,
    /// Those of a workload of another trust domain.
    Foreign,
}

impl Parts<'_> {
    /// What is known of an attribute. A rule crosses no variable that is not in `across`, so there
    /// both sides have the callee's value; guards come before the boundary.
    pub(super) fn known<'w>(
        &'w self,
        attribute: &Attribute,
        caller: Caller<'w>,
        across: Option<&BTreeSet<String>>,
    ) -> Known<'w> {
        match (attribute, caller) {
            (Attribute::Tls(fact), _) => Known::Later(Operand::Tls(*fact)),
            (Attribute::Callee(Fact::Variable(name)), _) => self.variable(name),
            (Attribute::Callee(fact), _) => self.fact(self.callee, fact),
            (Attribute::Caller(Fact::Variable(_)), Caller::Foreign) => Known::Absent,
            (Attribute::Caller(Fact::Variable(name)), _) => match across {
                Some(across) if !across.contains(name) => self.variable(name),
                _ => Known::Later(Operand::Caller(name.clone())),
            },
            (Attribute::Caller(fact), Caller::Workload(workload)) => self.fact(workload, fact),
            (Attribute::Caller(_), Caller::Anybody | Caller::Unknown | Caller::Foreign) => {
                Known::Absent
            }
        }
    }

    fn variable(&self, name: &str) -> Known<'_> {
        self.variables.get(name).map_or(Known::Absent, |value| Known::Text(value))
    }

    fn fact<'w>(&'w self, workload: &'w Workload, fact: &Fact) -> Known<'w> {
        workload.fact(fact, self.compiler.segments).map_or(Known::Absent, Known::Text)
    }
}
