//! The semantics of docs/policy.md, written down a second time and as plainly as possible: from the
//! text of the document, by scanning and comparing strings. Shares nothing with the engine.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The document as serde reads it.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    identity: String,
    workloads: BTreeMap<String, Workload>,
    segments: BTreeMap<String, Segment>,
    #[serde(default)]
    roles: BTreeMap<String, Role>,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    guards: Vec<Guard>,
}

#[derive(Debug, Deserialize)]
struct Workload {
    listens: BTreeMap<String, u16>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Segment {
    members: Vec<String>,
    mode: String,
}

#[derive(Debug, Deserialize)]
struct Role {
    to: String,
    can: Vec<BTreeMap<String, Written>>,
}

#[derive(Debug, Deserialize)]
struct Rule {
    name: String,
    from: Selector,
    role: Option<String>,
    to: Option<Selector>,
    #[serde(default)]
    allow: Vec<BTreeMap<String, Written>>,
}

#[derive(Debug, Deserialize)]
struct Guard {
    name: String,
    deny: String,
    except: Option<Selector>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Selector {
    One(String),
    Many(Vec<String>),
    Labels(BTreeMap<String, String>),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Written {
    Port(u16),
    Text(String),
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Http(String, String),
    Grpc(String, String),
    Tcp,
}

/// A template and how specific it is, segment by segment: the lesser the more specific.
struct Candidate {
    rule: String,
    ranks: Vec<u8>,
    /// Whether the caller may use this rule.
    mine: bool,
}

impl Document {
    /// `VERDICT by BY`.
    pub(super) fn decide(
        &self,
        caller_id: &str,
        callee: &str,
        callee_env: &str,
        request: &Request,
    ) -> String {
        let caller = self.who(caller_id);
        let name = caller.as_ref().map(|(name, _)| name.as_str());
        let mut guards: Vec<&Guard> = self.guards.iter().collect();
        guards.sort_by_key(|guard| &guard.name);
        for guard in guards {
            let (from, to) = guard.deny.split_once(" -> ").unwrap();
            let excepted =
                name.is_some_and(|it| guard.except.as_ref().is_some_and(|s| self.selects(s, it)));
            let from_fits = from == "any" || name.is_some_and(|it| self.picks(from, it));
            if self.picks(to, callee) && from_fits && !excepted {
                return format!("deny by guard/{}", guard.name);
            }
        }
        if self.environment(caller_id) != Some(callee_env.to_owned()) {
            return "deny by boundary/env".to_owned();
        }
        let Some((name, _)) = caller else { return "deny by default".to_owned() };
        if self.speaks(callee, request) {
            if let Some(rule) = self.allowing(&name, callee, request) {
                return format!("allow by {rule}");
            }
            let home = self.segments.values().find(|it| it.members.iter().any(|m| m == callee));
            if home.unwrap().mode == "audit" {
                return "audit by default".to_owned();
            }
        }
        "deny by default".to_owned()
    }

    fn speaks(&self, callee: &str, request: &Request) -> bool {
        let protocol = match request {
            Request::Http(..) => "http",
            Request::Grpc(..) => "grpc",
            Request::Tcp => "tcp",
        };
        self.workloads[callee].listens.contains_key(protocol)
    }

    /// Spells out every ID that any workload could have, and compares.
    fn who(&self, id: &str) -> Option<(String, String)> {
        let environment = self.environment(id)?;
        let (domain, path) =
            self.identity.strip_prefix("spiffe://").unwrap().split_once('/').unwrap();
        for (name, workload) in &self.workloads {
            let path = workload.id.clone().unwrap_or_else(|| format!("/{path}"));
            let path = path.replace("{workload}", name).replace("{env}", &environment);
            if id == format!("spiffe://{domain}{path}") {
                return Some((name.clone(), environment));
            }
        }
        None
    }

    /// The segment at the place of `{env}`.
    fn environment(&self, id: &str) -> Option<String> {
        let (domain, template) = self.identity.strip_prefix("spiffe://")?.split_once('/')?;
        let (own, path) = id.strip_prefix("spiffe://")?.split_once('/')?;
        if own != domain || path == "cellwall" || path.starts_with("cellwall/") {
            return None;
        }
        let place = template.split('/').position(|segment| segment == "{env}")?;
        path.split('/').nth(place).map(str::to_owned)
    }

    fn selects(&self, selector: &Selector, name: &str) -> bool {
        match selector {
            Selector::One(text) => self.picks(text, name),
            Selector::Many(texts) => texts.iter().any(|text| self.picks(text, name)),
            Selector::Labels(labels) => labels
                .iter()
                .all(|(key, value)| self.workloads[name].labels.get(key) == Some(value)),
        }
    }

    fn picks(&self, text: &str, name: &str) -> bool {
        match text.strip_prefix("segment/") {
            Some(segment) => self.segments[segment].members.iter().any(|member| member == name),
            None => text == "any" || text == name,
        }
    }

    /// The rule that allows it: only rules that name the most specific template count.
    fn allowing(&self, caller: &str, callee: &str, request: &Request) -> Option<String> {
        let mut candidates = Vec::new();
        for rule in &self.rules {
            let (to, calls) = match &rule.role {
                Some(role) => (self.roles[role].to == callee, &self.roles[role].can),
                None => (self.selects(rule.to.as_ref().unwrap(), callee), &rule.allow),
            };
            for call in calls.iter().filter(|_| to) {
                let (protocol, written) = call.iter().next().unwrap();
                if let Some(ranks) = matches(protocol, written, request) {
                    let mine = self.selects(&rule.from, caller);
                    candidates.push(Candidate { rule: rule.name.clone(), ranks, mine });
                }
            }
        }
        let best = candidates.iter().map(|candidate| candidate.ranks.clone()).min()?;
        candidates
            .into_iter()
            .filter(|candidate| candidate.mine && candidate.ranks == best)
            .map(|candidate| candidate.rule)
            .min()
    }
}

fn matches(protocol: &str, written: &Written, request: &Request) -> Option<Vec<u8>> {
    match (protocol, written, request) {
        ("http", Written::Text(text), Request::Http(method, path)) => {
            let (methods, template) = text.split_once(' ')?;
            methods.split(',').any(|it| it == method).then_some(())?;
            let template: Vec<_> = template.split('/').collect();
            segments(&template, &path.split('/').collect::<Vec<_>>())
        }
        ("grpc", Written::Text(text), Request::Grpc(service, method)) => {
            if *text == format!("{service}/{method}") {
                Some(vec![0])
            } else {
                (*text == format!("{service}/*")).then(|| vec![1])
            }
        }
        ("tcp", Written::Port(port), Request::Tcp) => (*port > 0).then(|| vec![0]),
        _ => None,
    }
}

/// Literal 0, `{name}` 1, `{name...}` 2 for each segment it takes.
fn segments(template: &[&str], path: &[&str]) -> Option<Vec<u8>> {
    match (template, path) {
        ([], []) => Some(Vec::new()),
        ([tail], [_, ..]) if tail.ends_with("...}") => {
            (!path.contains(&"")).then(|| vec![2; path.len()])
        }
        ([first, template @ ..], [segment, path @ ..]) => {
            let rank = if first.starts_with('{') && !segment.is_empty() {
                1
            } else if first == segment {
                0
            } else {
                return None;
            };
            let mut ranks = vec![rank];
            ranks.extend(segments(template, path)?);
            Some(ranks)
        }
        _ => None,
    }
}
