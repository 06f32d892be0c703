//! Rules and grants, looked up.

use std::collections::{BTreeMap, BTreeSet};

use super::{Checker, outsiders::Outsiders};
use crate::{
    codes::Code,
    finding::Problem,
    model::{Grant, Rule, WorkloadNumber},
    syntax::{CallItem, Documents, GrantItem, RoleItem, RuleItem, Target, Text},
};

/// The longest grant where `limits` says nothing, in seconds.
const GRANT_MAX: u64 = 8 * 3600;
/// How many different people must have approved a grant.
const APPROVALS: usize = 2;

/// To whom a rule opens, and what.
struct Opened {
    to: BTreeSet<WorkloadNumber>,
    role: Option<String>,
    calls: Vec<CallItem>,
}

impl Checker<'_> {
    pub(super) fn rules(&mut self, items: &[RuleItem], roles: &BTreeMap<&str, &RoleItem>) {
        self.unique("rule", items.iter().map(|item| &item.name));
        for item in items {
            if let Some(rule) = self.rule(item, roles) {
                self.parts.rules.push(rule);
            }
        }
    }

    pub(super) fn grants(&mut self, documents: &Documents, roles: &BTreeMap<&str, &RoleItem>) {
        self.unique("grant", documents.grants.iter().map(|item| &item.rule.name));
        let most = documents.governance.grant_max.unwrap_or(GRANT_MAX);
        for item in &documents.grants {
            self.term(item, most);
            self.approved(item);
            if let Some(rule) = self.rule(&item.rule, roles) {
                self.parts.grants.push(Grant {
                    rule,
                    starts: item.starts,
                    expires: item.expires,
                    expires_place: item.expires_place,
                    approved_by: item.approved_by.iter().map(|text| text.value.clone()).collect(),
                });
            }
        }
    }

    fn rule(&mut self, item: &RuleItem, roles: &BTreeMap<&str, &RoleItem>) -> Option<Rule> {
        let from = self.who(&item.from, Outsiders::Welcome);
        let target = self.target(&item.target, roles);
        let across = self.across(&item.across);
        let when = self.when(item.when.as_ref());
        if let (Some(from), Some(across)) = (&from, &across) {
            self.goes_far_enough(item, from, across);
        }
        let Opened { to, role, calls } = target?;
        Some(Rule {
            name: item.name.value.clone(),
            place: item.name.place,
            from: from?,
            from_place: item.from.place,
            to,
            role,
            calls,
            when: when.ok()?,
            across: across?,
            why: item.why.clone(),
            stewardship: item.stewardship.clone(),
        })
    }

    fn target(&mut self, target: &Target, roles: &BTreeMap<&str, &RoleItem>) -> Option<Opened> {
        match target {
            Target::Role(name) => {
                let role = self.role(name, roles)?;
                let to = self.parts.by_name.get(&role.to.as_ref()?.value)?;
                let calls = role.can.clone();
                Some(Opened { to: [*to].into(), role: Some(name.value.clone()), calls })
            }
            Target::Calls(to, calls) => {
                let to = self.who(to, Outsiders::Refused)?;
                let to = self.each(&to);
                self.receivable(&to, calls);
                self.upgradeable(&to, calls);
                Some(Opened { to, role: None, calls: calls.clone() })
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
            let names = roles.values().map(|role| &role.name.value);
            let problem = Problem::error(Code::UnknownRole, name.place, message)
                .label("not in `roles`")
                .suggest(Self::meant(&mut self.suggestions, &name.value, names));
            self.problems.push(problem);
        }
        role
    }

    /// A grant begins before it ends, and soon ends.
    fn term(&mut self, item: &GrantItem, most: u64) {
        let name = &item.rule.name.value;
        let length = item.expires.saturating_sub(item.starts);
        let problem = if length == 0 {
            let message = format!("grant `{name}` ends before it begins");
            Problem::error(Code::GrantTooLong, item.expires_place, message)
                .help("`expires` is the first second in which it holds no more")
        } else if length > most {
            let show = |seconds| {
                humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string()
            };
            let message = format!("grant `{name}` lasts {}", show(length));
            Problem::error(Code::GrantTooLong, item.expires_place, message)
                .label(format!("at most {} after `starts`", show(most)))
                .help("end it sooner, or write a rule; `limits.grant_max` is for all grants")
        } else {
            return;
        };
        self.problems.push(problem);
    }

    /// Four eyes: two people who are not one person in two spellings.
    fn approved(&mut self, item: &GrantItem) {
        let people: BTreeSet<String> =
            item.approved_by.iter().map(|person| person.value.to_ascii_lowercase()).collect();
        if people.len() >= APPROVALS {
            return;
        }
        let name = &item.rule.name;
        let message = match people.len() {
            0 => format!("grant `{}` is approved by nobody", name.value),
            _ => format!("grant `{}` is approved by one person", name.value),
        };
        let place = item.approved_by.first().map_or(name.place, |person| person.place);
        let problem = Problem::error(Code::NotApproved, place, message).help(
            "`approved_by` lists two different people: `[alice@pay.example, bob@pay.example]`",
        );
        self.problems.push(problem);
    }
}
