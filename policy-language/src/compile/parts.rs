//! A statement for one callee: its condition filled in, which may take it apart by caller.

use std::collections::{BTreeMap, BTreeSet};

use cellwall_policy::{
    CallDocument, Callers, Condition as Left, GrantDocument, GuardDocument, RuleDocument,
};

use super::{Compiler, facts::Caller};
use crate::{
    condition::{Attribute, Condition, Decided, Fact, Folded},
    model::{Grant, Guard, Members, Rule, Who, Workload, WorkloadNumber},
    syntax::CallItem,
};

/// Makes the parts, and remembers whom they name.
pub(super) struct Parts<'a> {
    pub(super) compiler: &'a Compiler<'a>,
    pub(super) callee: &'a Workload,
    /// The callee's values of the identity template's variables.
    pub(super) variables: BTreeMap<&'a str, &'a str>,
    pub(super) named: BTreeSet<WorkloadNumber>,
    /// The IDs of other trust domains that any statement about this callee names.
    pub(super) foreign: BTreeSet<String>,
}

/// Callers who share what is left of a condition.
struct Part {
    from: Callers,
    when: Option<Left>,
}

impl<'a> Parts<'a> {
    pub(super) fn new(
        compiler: &'a Compiler<'a>,
        (number, callee): (WorkloadNumber, &'a Workload),
        environment: &'a str,
    ) -> Self {
        let values = environment.split('/').filter(|_| !environment.is_empty());
        let mut foreign = BTreeSet::new();
        let Compiler { index, rules, grants, guards, .. } = compiler;
        for rule in index.rules(number).filter_map(|at| rules.get(at)) {
            foreign.extend(rule.from.foreign.iter().cloned());
        }
        for grant in index.grants(number).filter_map(|at| grants.get(at)) {
            foreign.extend(grant.rule.from.foreign.iter().cloned());
        }
        for guard in index.guards(number).filter_map(|at| guards.get(at)) {
            foreign.extend(guard.from.foreign.iter().chain(&guard.except_foreign).cloned());
        }
        Self {
            compiler,
            callee,
            variables: compiler.template.variables().zip(values).collect(),
            named: BTreeSet::new(),
            foreign,
        }
    }

    /// At least one part: a rule that lets nobody in declares its calls all the same.
    pub(super) fn rule(&mut self, rule: &Rule) -> Vec<RuleDocument> {
        let calls = calls(&rule.calls);
        let across: Vec<_> = rule.across.iter().cloned().collect();
        let nobody = Part { from: Callers::Named(Vec::new()), when: None };
        let mut parts = self.rule_parts(rule);
        if parts.is_empty() {
            parts.push(nobody);
        }
        let part = |Part { from, when }| RuleDocument {
            name: rule.name.clone(),
            from,
            calls: calls.clone(),
            when,
            across: across.clone(),
        };
        parts.into_iter().map(part).collect()
    }

    pub(super) fn grant(&mut self, grant: &Grant) -> Vec<GrantDocument> {
        let Grant { starts, expires, .. } = *grant;
        let rules = self.rule(&grant.rule);
        rules.into_iter().map(|rule| GrantDocument { rule, starts, expires }).collect()
    }

    pub(super) fn guard(&mut self, guard: &Guard) -> Vec<GuardDocument> {
        let receives = |item: &&CallItem| self.receives(&item.call);
        let received: Vec<_> =
            guard.calls.iter().filter(receives).map(|item| item.call.clone()).collect();
        // None of these calls can come here.
        if received.is_empty() && !guard.calls.is_empty() {
            return Vec::new();
        }
        let mut except = self.names(&guard.except);
        except.extend(guard.except_foreign.iter().cloned());
        let part = |Part { from, when }| GuardDocument {
            name: guard.name.clone(),
            from,
            except: except.clone(),
            calls: received.clone(),
            when,
            mode: guard.mode,
        };
        self.guard_parts(guard).into_iter().map(part).collect()
    }

    fn receives(&self, call: &CallDocument) -> bool {
        let port = match call {
            CallDocument::Tcp { port } => Some(*port),
            CallDocument::Http { .. } | CallDocument::Grpc { .. } => None,
        };
        self.callee.listens.iter().any(|listener| listener.receives(call.protocol(), port))
    }

    fn rule_parts(&mut self, rule: &Rule) -> Vec<Part> {
        let Some(when) = &rule.when else {
            return vec![Part { from: self.callers(&rule.from), when: None }];
        };
        let groups = self.groups(&rule.from, &when.condition, Some(&rule.across));
        // What cannot be said is no yes.
        self.parts(groups, |decided| decided == Decided::Holds)
    }

    fn guard_parts(&mut self, guard: &Guard) -> Vec<Part> {
        let Some(when) = &guard.when else {
            return vec![Part { from: self.callers(&guard.from), when: None }];
        };
        let mut groups = self.groups(&guard.from, &when.condition, None);
        // Everyone taken apart: who is nobody here, and who is of another trust domain, stand alone.
        if matches!(guard.from.members, Members::Any) && groups.any.is_none() {
            groups.unknown = Some(self.fold(&when.condition, Caller::Unknown, None));
            let foreign = self.fold(&when.condition, Caller::Foreign, None);
            groups.foreign.entry(foreign).or_default().extend(self.foreign.iter().cloned());
            // Every workload that is known is no stranger, also where the guard does not deny it.
            self.named.extend((0..self.compiler.workloads.len()).map(WorkloadNumber));
        }
        // AZ-02: what cannot be said does not open a guard.
        self.parts(groups, |decided| decided != Decided::Fails)
    }

    /// The callers of a statement by what is left of its condition.
    fn groups(
        &self,
        who: &Who,
        condition: &Condition,
        across: Option<&BTreeSet<String>>,
    ) -> Groups {
        let mut groups = Groups::default();
        match (&who.members, by_caller(condition)) {
            // Of whom nothing is known but the ID.
            (Members::Any, false) => {
                groups.any = Some(self.fold(condition, Caller::Anybody, across));
            }
            (Members::Some(members), false) => {
                let folded = self.fold(condition, Caller::Anybody, across);
                groups.members.entry(folded).or_default().extend(members);
            }
            (members, true) => {
                for number in self.each(members) {
                    let Some(workload) = self.compiler.workloads.get(number.0) else { continue };
                    let folded = self.fold(condition, Caller::Workload(workload), across);
                    groups.members.entry(folded).or_default().insert(number);
                }
            }
        }
        if !who.foreign.is_empty() {
            let folded = self.fold(condition, Caller::Foreign, across);
            groups.foreign.entry(folded).or_default().extend(who.foreign.iter().cloned());
        }
        groups
    }

    fn fold(
        &self,
        condition: &Condition,
        caller: Caller<'_>,
        across: Option<&BTreeSet<String>>,
    ) -> Folded {
        condition.fold(&|attribute| self.known(attribute, caller, across))
    }

    fn parts(&mut self, groups: Groups, applies: impl Fn(Decided) -> bool) -> Vec<Part> {
        let when = |folded: Folded| match folded {
            Folded::Left(left) => Some(Some(left)),
            Folded::Decided(decided) => applies(decided).then_some(None),
        };
        let mut parts = Vec::new();
        let mut push = |from: Callers, folded: Folded| {
            parts.extend(when(folded).map(|when| Part { from, when }));
        };
        if let Some(folded) = groups.any {
            push(Callers::Any, folded);
        }
        if let Some(folded) = groups.unknown {
            push(Callers::Unknown, folded);
        }
        for (folded, members) in groups.members {
            push(Callers::Named(self.names(&members)), folded);
        }
        for (folded, foreign) in groups.foreign.into_iter().filter(|(_, ids)| !ids.is_empty()) {
            push(Callers::Named(foreign.into_iter().collect()), folded);
        }
        parts
    }

    fn each(&self, members: &Members) -> BTreeSet<WorkloadNumber> {
        match members {
            Members::Any => (0..self.compiler.workloads.len()).map(WorkloadNumber).collect(),
            Members::Some(members) => members.clone(),
        }
    }

    fn callers(&mut self, who: &Who) -> Callers {
        match &who.members {
            Members::Any => Callers::Any,
            Members::Some(members) => {
                let mut names = self.names(members);
                names.extend(who.foreign.iter().cloned());
                Callers::Named(names)
            }
        }
    }

    fn names(&mut self, members: &BTreeSet<WorkloadNumber>) -> Vec<String> {
        self.named.extend(members);
        let workloads = self.compiler.workloads;
        let name = |number: &WorkloadNumber| Some(workloads.get(number.0)?.name.clone());
        members.iter().filter_map(name).collect()
    }
}

/// Callers by what is left of a condition.
#[derive(Default)]
struct Groups {
    any: Option<Folded>,
    unknown: Option<Folded>,
    members: BTreeMap<Folded, BTreeSet<WorkloadNumber>>,
    foreign: BTreeMap<Folded, BTreeSet<String>>,
}

/// Whether a condition differs by caller before the call is there.
fn by_caller(condition: &Condition) -> bool {
    condition.attributes().into_iter().any(|attribute| match attribute {
        Attribute::Caller(fact) => !matches!(fact, Fact::Variable(_)),
        Attribute::Callee(_) | Attribute::Tls(_) => false,
    })
}

fn calls(items: &[CallItem]) -> Vec<CallDocument> {
    items.iter().map(|item| item.call.clone()).collect()
}
