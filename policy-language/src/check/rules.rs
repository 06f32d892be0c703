//! Rules and guards, looked up.

use std::collections::{BTreeMap, BTreeSet};

use cellwall_policy::CallDocument;

use super::Checker;
use crate::{
    codes::Code,
    finding::Problem,
    model::{Guard, Rule, WorkloadNumber},
    place::Place,
    suggest::nearest,
    syntax::{CallItem, GuardItem, Listener, RoleItem, RuleItem, Target, Text},
};

/// To whom a rule opens, and what.
struct Opened {
    to: BTreeSet<WorkloadNumber>,
    calls: Vec<CallItem>,
}

impl Checker<'_> {
    pub(super) fn rules(&mut self, items: &[RuleItem], roles: &BTreeMap<&str, &RoleItem>) {
        let mut places: BTreeMap<&str, Place> = BTreeMap::new();
        for item in items {
            match places.get(item.name.value.as_str()) {
                Some(first) => self.twice("rule", &item.name, *first),
                None => {
                    places.insert(&item.name.value, item.name.place);
                }
            }
            let from = self.who(&item.from);
            let target = self.target(&item.target, roles);
            let (Some(from), Some(Opened { to, calls })) = (from, target) else { continue };
            self.parts.rules.push(Rule {
                name: item.name.value.clone(),
                place: item.name.place,
                from,
                from_place: item.from.place,
                to,
                role: None,
                calls,
                when: None,
                across: BTreeSet::new(),
                why: item.why.clone(),
                stewardship: item.stewardship.clone(),
            });
        }
    }

    fn target(&mut self, target: &Target, roles: &BTreeMap<&str, &RoleItem>) -> Option<Opened> {
        match target {
            Target::Role(name) => {
                let role = self.role(name, roles)?;
                let to = self.parts.by_name.get(&role.to.as_ref()?.value)?;
                Some(Opened { to: [*to].into(), calls: role.can.clone() })
            }
            Target::Calls(to, calls) => {
                let to = self.who(to)?;
                let to = self.each(&to);
                self.protocols(&to, calls);
                Some(Opened { to, calls: calls.clone() })
            }
        }
    }

    fn role<'d>(
        &mut self,
        name: &Text,
        roles: &BTreeMap<&'d str, &'d RoleItem>,
    ) -> Option<&'d RoleItem> {
        let role = roles.get(name.value.as_str()).copied();
        if role.is_none() {
            let message = format!("unknown role `{}`", name.value);
            let problem = Problem::error(Code::UnknownRole, name.place, message)
                .label("not in `roles`")
                .suggest(nearest(&name.value, roles.keys().copied()));
            self.problems.push(problem);
        }
        role
    }

    /// Each callee must be able to receive each call (AZ-03).
    pub(super) fn protocols(&mut self, callees: &BTreeSet<WorkloadNumber>, calls: &[CallItem]) {
        for callee in callees {
            let Some(callee) = self.parts.workloads.get(callee.0) else { continue };
            let Some(listens) = callee.listens.first() else { continue };
            for call in calls {
                if let Some(mismatch) = mismatch(&call.call, listens) {
                    let problem = Problem::error(Code::ProtocolMismatch, call.place, mismatch.0)
                        .label(format!("can never match on `{}`", callee.name))
                        .help(mismatch.1)
                        .related(listens.place, "declared here");
                    self.problems.push(problem);
                }
            }
        }
    }

    pub(super) fn guards(&mut self, items: &[GuardItem]) {
        let mut places: BTreeMap<&str, Place> = BTreeMap::new();
        for item in items {
            match places.get(item.name.value.as_str()) {
                Some(first) => self.twice("guard", &item.name, *first),
                None => {
                    places.insert(&item.name.value, item.name.place);
                }
            }
            let (from, to) = (self.who(&item.from), self.who(&item.to));
            let except = match &item.except {
                Some(selector) => self.who(selector).map(|who| self.each(&who)),
                None => Some(BTreeSet::new()),
            };
            let (Some(from), Some(to), Some(except)) = (from, to, except) else { continue };
            self.parts.guards.push(Guard {
                name: item.name.value.clone(),
                place: item.name.place,
                from,
                to,
                except,
                except_foreign: BTreeSet::new(),
                calls: item.calls.clone(),
                when: None,
                mode: item.mode,
                why: item.why.clone(),
                stewardship: item.stewardship.clone(),
            });
        }
    }
}

/// Why a listener can never receive a call, and what to do.
fn mismatch(call: &CallDocument, listens: &Listener) -> Option<(String, String)> {
    let (have, want) = (listens.protocol.as_str(), call.protocol().as_str());
    let port = listens.port;
    if have != want {
        let help = format!("write a `{have}` call, or declare `listens: {{{want}: {port}}}`");
        return Some((format!("`{want}` call on a `{have}` port"), help));
    }
    match call {
        CallDocument::Tcp { port: wanted } if *wanted != port => {
            Some((format!("port {wanted} is not the declared port"), format!("use `tcp: {port}`")))
        }
        CallDocument::Tcp { .. } | CallDocument::Http { .. } | CallDocument::Grpc { .. } => None,
    }
}
