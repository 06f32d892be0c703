//! A policy in Cedar's language: rules and grants permit, guards forbid.
//!
//! Cedar knows no path templates and no order of them, so each kind of call that a callee tells
//! apart is an action of its own. An attribute that is not there would be an error in Cedar, and
//! errors do not absorb as ours do: conditions are written so that none occurs.

mod entities;
mod expressions;

use std::collections::BTreeMap;

use cellwall_policy::{CallDocument, Mode, Snapshot, Tls, wire_method};
use serde::Serialize;
use serde_json::Value;

use self::expressions::{fails, holds, quoted};
use super::{
    calls::{Declared, Example, Kind},
    survey::{Versions, any_other},
};
use crate::{
    CompileError, PolicySet,
    model::{Grant, Guard, Members, Rule, Who, WorkloadNumber},
};

/// What Cedar needs to decide as we do.
#[derive(Clone, Debug, Serialize)]
pub struct Cedar {
    /// The form of this document: 1.
    pub schema_version: u32,
    /// The policies.
    pub policies: String,
    /// Their schema.
    pub schema: Value,
    /// The workloads in each environment that the documents write.
    pub entities: Value,
    /// What each action stands for.
    pub actions: Vec<CedarAction>,
}

/// An action: one kind of call to one callee.
#[derive(Clone, Debug, Serialize)]
pub struct CedarAction {
    /// The action's name: `payments#3`.
    pub action: String,
    /// The workload that is called.
    pub callee: String,
    /// The template that owns such calls: `POST /v1/payments`.
    pub call: String,
    /// An example of such a call: `POST /v1/payments`, `pkg.Service/Method`, `tcp:5432`.
    pub example: String,
    /// Every template that matches such calls, the owner first.
    pub templates: Vec<String>,
    /// Every template that matches them, too, but does not take an encoded slash of the path. The most
    /// specific of these and of `templates` decides whether anything owns such calls.
    pub refusing: Vec<String>,
    /// Every template of a guard that matches them but for a slash at the end of the path.
    pub but_for_slash: Vec<String>,
}

const HEADER: &str = "\
// Made by `cellwall policy export --format cedar`. A request is (principal: the caller, action: the
// kind of call, resource: the callee), with context {now, tls_version, tls_group}.
// Not expressible: `mode: audit`. What passes in audit of a segment is denied here, and a guard in
// audit is left out. Boundaries stand in each permit, because `across` is said by rules.
";

/// The kinds of calls of one callee.
struct Callee<'a> {
    name: &'a str,
    kinds: Vec<Owned>,
}

/// A kind of call, with the template that owns it.
struct Owned {
    kind: Kind,
    owner: Option<String>,
}

/// Which statement a policy is of.
struct Head<'a> {
    effect: &'static str,
    name: &'a str,
    why: &'a str,
}

impl PolicySet {
    /// The policy in Cedar's language.
    ///
    /// # Errors
    ///
    /// [`CompileError`] when a callee has no policy, which loading would have found.
    pub fn cedar(&self) -> Result<Cedar, CompileError> {
        let versions = Versions::new(&[self])?;
        let mut callees = BTreeMap::new();
        for (at, workload) in self.workloads.iter().enumerate() {
            let number = WorkloadNumber(at);
            let environment = versions.environments.names.first().map_or("", String::as_str);
            let document = self.compiler().compile_named(number, environment)?;
            let snapshot = Snapshot::new(document)?;
            let owner = |kind: &Kind| {
                let call = kind.example.call();
                let now = std::time::SystemTime::UNIX_EPOCH;
                let decision = snapshot.decide(snapshot.callee(), &Tls::default(), &call, now);
                decision.route.as_deref().map(str::to_owned)
            };
            let kinds = Declared::of(&versions.sets, &workload.name).kinds()?.into_iter();
            let kinds = kinds.map(|kind| Owned { owner: owner(&kind), kind }).collect();
            callees.insert(number, Callee { name: &workload.name, kinds });
        }
        let mut policies = HEADER.to_owned();
        for rule in &self.rules {
            policies.push_str(&self.permit(rule, None, &callees));
        }
        for grant in &self.grants {
            policies.push_str(&self.permit(&grant.rule, Some(grant), &callees));
        }
        for guard in self.guards.iter().filter(|guard| guard.mode == Mode::Enforce) {
            policies.push_str(&self.forbid(guard, &callees));
        }
        let actions: Vec<CedarAction> = callees.values().flat_map(Callee::actions).collect();
        Ok(Cedar {
            schema_version: 1,
            policies,
            schema: self.cedar_schema(&actions),
            entities: self.cedar_entities(&versions),
            actions,
        })
    }

    fn permit(
        &self,
        rule: &Rule,
        grant: Option<&Grant>,
        callees: &BTreeMap<WorkloadNumber, Callee<'_>>,
    ) -> String {
        let mut actions = Vec::new();
        for callee in rule.to.iter().filter_map(|number| callees.get(number)) {
            for (at, Owned { kind, owner }) in callee.kinds.iter().enumerate() {
                let Some(owner) = owner else { continue };
                if rule.calls.iter().any(|item| names(&item.call, kind, owner)) {
                    actions.push(format!("{}#{at}", callee.name));
                }
            }
        }
        let mut clauses = vec![self.who("principal", &rule.from, false)];
        for variable in self.template.variables().filter(|it| !rule.across.contains(*it)) {
            let key = quoted(&format!("var.{variable}"));
            clauses.push(format!(
                "principal has {key} && resource has {key} && principal[{key}] == resource[{key}]"
            ));
        }
        if let Some(Grant { starts, expires, .. }) = grant {
            clauses.push(format!("context.now >= {starts} && context.now < {expires}"));
        }
        clauses.extend(rule.when.as_ref().map(|when| holds(&when.condition)));
        let head = Head { effect: "permit", name: &rule.name, why: &rule.why };
        policy(&head, Some(&actions), &clauses)
    }

    fn forbid(&self, guard: &Guard, callees: &BTreeMap<WorkloadNumber, Callee<'_>>) -> String {
        let mut actions = Vec::new();
        for callee in callees.values() {
            for (at, Owned { kind, .. }) in callee.kinds.iter().enumerate() {
                if guard.calls.iter().any(|item| is_about(&item.call, kind)) {
                    actions.push(format!("{}#{at}", callee.name));
                }
            }
        }
        let mut clauses =
            vec![self.who("principal", &guard.from, true), self.who("resource", &guard.to, true)];
        let except = Who {
            members: Members::Some(guard.except.clone()),
            foreign: guard.except_foreign.clone(),
            text: String::new(),
        };
        if !guard.except.is_empty() || !guard.except_foreign.is_empty() {
            clauses.push(format!("!({})", self.who("principal", &except, true)));
        }
        // What cannot be said does not open a guard.
        clauses.extend(guard.when.as_ref().map(|when| format!("!({})", fails(&when.condition))));
        let head = Head { effect: "forbid", name: &guard.name, why: &guard.why };
        policy(&head, (!guard.calls.is_empty()).then_some(&actions), &clauses)
    }

    /// `is_everyone`: whether `any` is also whoever is no workload.
    fn who(&self, side: &str, who: &Who, is_everyone: bool) -> String {
        let members = match &who.members {
            Members::Any if is_everyone => return "true".to_owned(),
            Members::Any => format!("{side} has workload"),
            Members::Some(members) => {
                let names = members.iter().filter_map(|number| self.workload(*number));
                let names: Vec<_> = names.map(|workload| quoted(&workload.name)).collect();
                if names.is_empty() {
                    "false".to_owned()
                } else {
                    format!(
                        "{side} has workload && [{}].contains({side}.workload)",
                        names.join(", ")
                    )
                }
            }
        };
        if who.foreign.is_empty() {
            return members;
        }
        let ids: Vec<_> = who.foreign.iter().map(|id| quoted(id)).collect();
        format!("({members}) || [{}].contains({side}.id)", ids.join(", "))
    }
}

impl Callee<'_> {
    fn actions(&self) -> Vec<CedarAction> {
        let action = |(at, Owned { kind, owner }): (usize, &Owned)| {
            let example = match &kind.example {
                Example::Http { method, path } => format!("{method} {}", path.as_str()),
                Example::Grpc { service, method } => format!("{service}/{method}"),
                Example::Tcp { port } => format!("tcp:{port}"),
            };
            let call = match (owner, kind.example.method()) {
                (Some(owner), Some(method)) => format!("{method} {owner}"),
                (Some(owner), None) => owner.clone(),
                (None, _) => any_other(kind.protocol, false),
            };
            CedarAction {
                action: format!("{}#{at}", self.name),
                callee: self.name.to_owned(),
                call,
                example,
                templates: kind.templates.clone(),
                refusing: kind.refusing.clone(),
                but_for_slash: kind.but_for_slash.clone(),
            }
        };
        self.kinds.iter().enumerate().map(action).collect()
    }
}

/// Whether a call of a rule names the template that owns calls of this kind.
fn names(call: &CallDocument, kind: &Kind, owner: &str) -> bool {
    match (call, &kind.example) {
        (CallDocument::Http { methods, path }, Example::Http { method, .. }) => {
            methods.contains(method) && path == owner
        }
        (CallDocument::Grpc { service, method }, Example::Grpc { .. }) => {
            format!("{service}/{method}") == owner
        }
        (CallDocument::Tcp { port: wanted }, Example::Tcp { port }) => wanted == port,
        _ => false,
    }
}

/// Whether a call of a guard is about calls of this kind.
fn is_about(call: &CallDocument, kind: &Kind) -> bool {
    match (call, &kind.example) {
        (CallDocument::Http { methods, path }, Example::Http { method, .. }) => {
            methods.iter().any(|it| it == wire_method(method)) && kind.is_guarded_by(path)
        }
        (CallDocument::Grpc { service, method }, Example::Grpc { .. }) => {
            kind.templates.contains(&format!("{service}/{method}"))
        }
        (CallDocument::Tcp { port: wanted }, Example::Tcp { port }) => wanted == port,
        _ => false,
    }
}

fn policy(head: &Head<'_>, actions: Option<&Vec<String>>, clauses: &[String]) -> String {
    let Head { effect, name, why } = head;
    if actions.is_some_and(Vec::is_empty) {
        // Cedar has no empty set, and such a policy would say nothing.
        return format!(
            "\n// {effect} {name}: other calls are more specific than all of its own.\n"
        );
    }
    let actions = actions.map_or_else(
        || "action".to_owned(),
        |actions| {
            let each: Vec<_> = actions.iter().map(|it| format!("Action::{}", quoted(it))).collect();
            format!("action in [{}]", each.join(", "))
        },
    );
    let clauses: Vec<_> = clauses.iter().map(|clause| format!("  ({clause})")).collect();
    format!(
        "\n@id({})\n@why({})\n{effect}(principal, {actions}, resource) when {{\n{}\n}};\n",
        quoted(&format!("{effect} {name}")),
        quoted(why),
        clauses.join(" &&\n")
    )
}
