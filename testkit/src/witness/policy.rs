//! The policy as the witness understands it: guard, boundary, rule, default, in this order.

use std::collections::BTreeMap;

use super::{
    Judgement,
    document::{Call, Documents, Guard, Mode, Rule, Selector, Workload},
    matching::{Asked, ENCODED_SLASH, fit, http, is_granted, is_grpc, takes},
};

/// The variable that names the workload; all others are boundaries.
const WORKLOAD: &str = "{workload}";

#[derive(Clone, Debug)]
pub(super) struct Policy {
    documents: Documents,
    /// `spiffe://TRUST-DOMAIN`.
    trust_domain: String,
    guards: Vec<(Guard, Selector, Selector)>,
}

/// A workload in an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    workload: String,
    /// The values of the identity template's variables, without the workload.
    variables: BTreeMap<String, String>,
}

impl Policy {
    pub(super) fn new(documents: Documents) -> Result<Self, String> {
        let (trust_domain, _) = split_id(&documents.identity)?;
        let trust_domain = trust_domain.to_owned();
        let mut guards = Vec::new();
        for guard in &documents.guards {
            let (from, to) = guard
                .deny
                .split_once("->")
                .ok_or_else(|| format!("guard {}: no arrow in {:?}", guard.name, guard.deny))?;
            guards.push((guard.clone(), Selector::parse(from)?, Selector::parse(to)?));
        }
        for rule in &documents.rules {
            match (&rule.role, &rule.to) {
                (Some(role), None) if documents.roles.contains_key(role) => {}
                (None, Some(_)) => {}
                _ => return Err(format!("rule {}: neither a known role nor `to`", rule.name)),
            }
        }
        Ok(Self { documents, trust_domain, guards })
    }

    /// Who has this SPIFFE ID.
    pub(super) fn identify(&self, id: &str) -> Option<Identity> {
        self.documents.workloads.iter().find_map(|(name, workload)| {
            let variables = bind(&self.template(name, workload), id)?;
            Some(Identity { workload: name.clone(), variables })
        })
    }

    /// Who says `ENV/WORKLOAD` of itself.
    pub(super) fn claimed(&self, claim: &str) -> Option<Identity> {
        let (environment, name) = claim.rsplit_once('/').unwrap_or(("", claim));
        self.callee(name, environment)
    }

    /// A workload by its name and the values of the variables, joined by `/`.
    pub(super) fn callee(&self, name: &str, environment: &str) -> Option<Identity> {
        let workload = self.documents.workloads.get(name)?;
        let template = self.template(name, workload);
        let values = environment.split('/').filter(|value| !value.is_empty());
        let variables = variables(&self.documents.identity).into_iter().zip(values);
        // An ID of its own need not have all of them.
        let has = |variable: &String| template.contains(&format!("{{{variable}}}"));
        let variables = variables.filter(|(variable, _)| has(variable));
        let variables = variables.map(|(variable, value)| (variable, value.to_owned())).collect();
        Some(Identity { workload: name.to_owned(), variables })
    }

    /// The template of one workload's ID, with its name filled in.
    fn template(&self, name: &str, workload: &Workload) -> String {
        match workload.id.as_deref() {
            None => self.documents.identity.replace(WORKLOAD, name),
            Some(id) if id.starts_with('/') => format!("{}{id}", self.trust_domain),
            Some(id) => id.to_owned(),
        }
    }

    pub(super) fn judge(
        &self,
        caller: Option<Identity>,
        callee: &Identity,
        asked: Asked<'_>,
    ) -> Judgement {
        let deny = |reason: String| Judgement::Denied(reason);
        let Some(caller) = caller else { return deny("the caller is nobody".to_owned()) };
        let listens = self.documents.workloads.get(&callee.workload).map(|known| &known.listens);
        let port = listens.and_then(|listens| {
            let http2 = listens.get("http2").filter(|_| asked.protocol() == "http");
            listens.get(asked.protocol()).or(http2)
        });
        let Some(port) = port else {
            return deny(format!("{} does not listen for {}", callee.workload, asked.protocol()));
        };
        if let Some(guard) = self.guard(&caller.workload, &callee.workload) {
            return deny(format!("guard/{guard}"));
        }
        for variable in variables(&self.documents.identity) {
            let (one, other) = (caller.variables.get(&variable), callee.variables.get(&variable));
            if one.is_none() || one != other {
                return deny(format!("boundary/{variable}"));
            }
        }
        match self.rule(&caller.workload, &callee.workload, asked, *port) {
            Some(rule) => Judgement::Allowed(rule.name.clone()),
            None if self.is_undeclared(&callee.workload, asked) => {
                deny("no template takes an encoded slash there".to_owned())
            }
            // An upgrade that no rule names should not have been asked for, in audit either.
            None if self.mode(&callee.workload) == Some(Mode::Audit) && !asked.is_upgrade() => {
                Judgement::Audited
            }
            None => deny("default".to_owned()),
        }
    }

    fn guard(&self, caller: &str, callee: &str) -> Option<&str> {
        let denies = |(guard, from, to): &&(Guard, Selector, Selector)| {
            let except = guard.except.as_ref();
            self.selects(from, caller)
                && self.selects(to, callee)
                && !except.is_some_and(|except| self.selects(except, caller))
        };
        self.guards.iter().find(denies).map(|(guard, ..)| guard.name.as_str())
    }

    fn rule(&self, caller: &str, callee: &str, asked: Asked<'_>, port: u16) -> Option<&Rule> {
        let template = match asked {
            Asked::Http { method, path } => Some(self.owner(callee, method, path)?),
            Asked::Grpc { .. } | Asked::Tcp => None,
        };
        let allows = |call: &Call| match asked {
            Asked::Http { method, .. } => http(call).is_some_and(|(methods, declared)| {
                let upgrade = method.split_once('+').map(|(_, protocol)| protocol);
                Some(declared) == template
                    && upgrade.map_or_else(|| methods.contains(&method), |it| is_granted(call, it))
            }),
            // `*` is what no rule for this callee names, whoever the rule is for.
            Asked::Grpc { service, method } => {
                is_grpc(call, service, method)
                    || (is_grpc(call, service, "*") && !self.is_named(callee, service, method))
            }
            Asked::Tcp => call.tcp == Some(port),
        };
        let rules = self.documents.rules.iter();
        rules.filter(|rule| self.selects(&rule.from, caller)).find(|rule| {
            let (to, calls) = self.target(rule);
            self.selects(to, callee) && calls.iter().any(allows)
        })
    }

    /// All calls that rules for this callee declare.
    fn declared(&self, callee: &str) -> impl Iterator<Item = &Call> {
        let targets = self.documents.rules.iter().map(|rule| self.target(rule));
        targets.filter(move |(to, _)| self.selects(to, callee)).flat_map(|(_, calls)| calls)
    }

    fn is_named(&self, callee: &str, service: &str, method: &str) -> bool {
        self.declared(callee).any(|call| is_grpc(call, service, method))
    }

    /// The template that a request to `callee` belongs to: the closest one that carries its
    /// method, whoever the rules that declare it are for and whatever it asks to go on in. Where that
    /// one does not take an encoded slash of the path, no other gets the request.
    fn owner(&self, callee: &str, method: &str, path: &str) -> Option<&str> {
        let (method, _) = method.split_once('+').unwrap_or((method, ""));
        let declared = self.declared(callee).filter_map(http);
        declared
            .filter(|(methods, _)| methods.contains(&method))
            .filter_map(|(_, template)| Some((fit(template, path)?, template)))
            .max()
            .map(|(_, template)| template)
            .filter(|template| takes(template, path))
    }

    /// Whether a path has an encoded slash where no template of the callee says so.
    fn is_undeclared(&self, callee: &str, asked: Asked<'_>) -> bool {
        match asked {
            Asked::Http { method, path } => {
                path.contains(ENCODED_SLASH) && self.owner(callee, method, path).is_none()
            }
            Asked::Grpc { .. } | Asked::Tcp => false,
        }
    }

    /// Whom a rule opens, and for which calls.
    fn target<'a>(&'a self, rule: &'a Rule) -> (&'a Selector, &'a [Call]) {
        const NOBODY: &Selector = &Selector::List(Vec::new());
        let role = rule.role.as_ref().and_then(|name| self.documents.roles.get(name));
        match (role, &rule.to) {
            (Some(role), _) => (&role.to, &role.can),
            (None, Some(to)) => (to, &rule.allow),
            (None, None) => (NOBODY, &[]),
        }
    }

    fn selects(&self, selector: &Selector, workload: &str) -> bool {
        let one = |name: &str| match name.strip_prefix("segment/") {
            Some(segment) => {
                let segment = self.documents.segments.get(segment);
                segment.is_some_and(|segment| segment.members.contains(workload))
            }
            None => name == workload || name == "any",
        };
        match selector {
            Selector::One(name) => one(name),
            Selector::List(names) => names.iter().any(|name| one(name)),
            Selector::Labels(labels) => {
                self.documents.workloads.get(workload).is_some_and(|known| {
                    labels.iter().all(|(label, value)| known.labels.get(label) == Some(value))
                })
            }
        }
    }

    fn mode(&self, workload: &str) -> Option<Mode> {
        let mut segments = self.documents.segments.values();
        segments.find(|segment| segment.members.contains(workload)).map(|segment| segment.mode)
    }
}

/// `spiffe://TRUST-DOMAIN` and the path after it.
fn split_id(id: &str) -> Result<(&str, &str), String> {
    let rest = id.strip_prefix("spiffe://").ok_or_else(|| format!("{id:?} is no SPIFFE ID"))?;
    let slash = rest.find('/').ok_or_else(|| format!("{id:?} has no path"))?;
    id.split_at_checked("spiffe://".len() + slash).ok_or_else(|| format!("{id:?} is cut"))
}

/// The names of a template's variables other than the workload's, in order.
fn variables(template: &str) -> Vec<String> {
    let segments = template.split('/').filter(|segment| *segment != WORKLOAD);
    let names = segments.filter_map(|s| s.strip_prefix('{').and_then(|s| s.strip_suffix('}')));
    names.map(ToOwned::to_owned).collect()
}

/// The values that make `id` of `template`, whole segment by whole segment.
fn bind(template: &str, id: &str) -> Option<BTreeMap<String, String>> {
    if template.split('/').count() != id.split('/').count() {
        return None;
    }
    let mut bound = BTreeMap::new();
    for (template, segment) in template.split('/').zip(id.split('/')) {
        match template.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) if !segment.is_empty() => {
                bound.insert(name.to_owned(), segment.to_owned());
            }
            None if template == segment => {}
            Some(_) | None => return None,
        }
    }
    Some(bound)
}
