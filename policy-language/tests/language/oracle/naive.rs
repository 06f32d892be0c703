//! The semantics of docs/policy.md, written down a second time and as plainly as possible: from the
//! text of the document, by scanning and comparing strings. Shares nothing with the engine.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::random::Asked;

/// The answer to a path that the callee does not tolerate: its sidecar never asks.
pub(crate) const REFUSED: &str = "refused";

/// The document as serde reads it.
#[derive(Debug, Deserialize)]
pub(crate) struct Document {
    identity: String,
    workloads: BTreeMap<String, Workload>,
    segments: BTreeMap<String, Segment>,
    #[serde(default)]
    roles: BTreeMap<String, Role>,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    grants: Vec<Rule>,
    #[serde(default)]
    guards: Vec<Guard>,
}

#[derive(Debug, Deserialize)]
struct Workload {
    listens: Listens,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Listens {
    One(BTreeMap<String, u16>),
    Several(Vec<BTreeMap<String, u16>>),
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
    when: Option<String>,
    #[serde(default)]
    across: Vec<String>,
    starts: Option<String>,
    expires: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Guard {
    name: String,
    deny: String,
    except: Option<Selector>,
    #[serde(default)]
    calls: Vec<BTreeMap<String, Written>>,
    when: Option<String>,
    mode: Option<String>,
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
    Many(Vec<String>),
    /// More that is said of a call, and decides nothing.
    More(serde::de::IgnoredAny),
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Http(String, String),
    Grpc(String, String),
    Tcp(u16),
}

impl Request {
    /// The request without what it asks for.
    fn plain(&self) -> Self {
        match self {
            Self::Http(method, path) => {
                Self::Http(method.split('+').next().unwrap().to_owned(), path.clone())
            }
            Self::Grpc(..) | Self::Tcp(_) => self.clone(),
        }
    }

    /// What it asks to go on in.
    fn asks(&self) -> Option<&str> {
        match self {
            Self::Http(method, _) => Some(method.split_once('+')?.1),
            Self::Grpc(..) | Self::Tcp(_) => None,
        }
    }
}

/// A template and how specific it is, segment by segment: the lesser the more specific.
struct Candidate<'a> {
    rule: &'a Rule,
    call: &'a BTreeMap<String, Written>,
    ranks: Vec<u8>,
}

impl Document {
    /// `VERDICT by BY`.
    pub(crate) fn decide(&self, caller_id: &str, callee: &str, asked: &Asked) -> String {
        if asked.request.has_encoded_slash() && !self.tolerates(callee) {
            return REFUSED.to_owned();
        }
        let caller = self.who(caller_id);
        let name = caller.as_ref().map(|(name, _)| name.as_str());
        let facts = self.facts(caller_id, callee, asked);
        let mut watching = None;
        let mut guards: Vec<&Guard> = self.guards.iter().collect();
        guards.sort_by_key(|guard| &guard.name);
        for guard in guards {
            let (from, to) = guard.deny.split_once(" -> ").unwrap();
            let means = |selector: &Selector| {
                name.is_some_and(|it| self.selects(selector, it)) || lists(selector, caller_id)
            };
            let excepted = guard.except.as_ref().is_some_and(means);
            let from_fits =
                from == "any" || from == caller_id || name.is_some_and(|it| self.picks(from, it));
            let called = guard.calls.is_empty() || is_about(guard, &asked.request.plain());
            // What cannot be said keeps a guard shut.
            let holds = guard.when.as_ref().is_none_or(|it| truth(it, &facts) != Some(false));
            if self.picks(to, callee) && from_fits && !excepted && called && holds {
                if guard.mode.as_deref() != Some("audit") {
                    return format!("deny by guard/{}", guard.name);
                }
                watching = watching.or(Some(&guard.name));
            }
        }
        let audited = |otherwise: String| match watching {
            Some(guard) => format!("audit by guard/{guard}"),
            None => otherwise,
        };
        let crossed = self.environment(caller_id) != Some(asked.environment.to_owned());
        for (kind, statements) in [("", &self.rules), ("grant/", &self.grants)] {
            let mut allowing: Vec<&str> = self
                .owners(callee, &asked.request, statements)
                .into_iter()
                .filter(|rule| {
                    let mine = name.is_some_and(|it| self.selects(&rule.from, it))
                        || lists(&rule.from, caller_id);
                    let holds = rule.when.as_ref().is_none_or(|it| truth(it, &facts) == Some(true));
                    let over = crossed && !rule.across.contains(&"env".to_owned());
                    mine && holds && !over && in_force(rule, asked.now)
                })
                .map(|rule| rule.name.as_str())
                .collect();
            allowing.sort_unstable();
            if let Some(rule) = allowing.first() {
                return audited(format!("allow by {kind}{rule}"));
            }
        }
        if crossed {
            return "deny by boundary/env".to_owned();
        }
        let is_plain = asked.request.asks().is_none();
        if is_plain && name.is_some() && self.audits(callee, &asked.request) {
            return audited("audit by default".to_owned());
        }
        "deny by default".to_owned()
    }

    /// Whether a callee lets workloads pass whom nothing allows: in its protocol, and by a path that has
    /// an encoded slash only where some template takes that.
    fn audits(&self, callee: &str, request: &Request) -> bool {
        let is_owned = [&self.rules, &self.grants]
            .iter()
            .any(|statements| !self.owners(callee, request, statements).is_empty());
        let home = self.segments.values().find(|it| it.members.iter().any(|m| m == callee));
        let is_read = is_owned || !request.has_encoded_slash();
        self.speaks(callee, request) && is_read && home.unwrap().mode == "audit"
    }

    /// Every attribute that a condition may name, with its value.
    fn facts(&self, caller_id: &str, callee: &str, asked: &Asked) -> BTreeMap<String, String> {
        let mut facts = BTreeMap::from([
            ("tls.version".to_owned(), "1.3".to_owned()),
            ("tls.group".to_owned(), asked.group.to_owned()),
            ("callee.env".to_owned(), asked.environment.to_owned()),
        ]);
        facts.extend(self.environment(caller_id).map(|it| ("caller.env".to_owned(), it)));
        let caller = self.who(caller_id).map(|(name, _)| name);
        for (side, name) in [("caller", caller), ("callee", Some(callee.to_owned()))] {
            let Some(name) = name else { continue };
            for (label, value) in &self.workloads[&name].labels {
                facts.insert(format!("{side}.{label}"), value.clone());
            }
            let home = self.segments.iter().find(|(_, it)| it.members.contains(&name));
            facts.insert(format!("{side}.segment"), home.unwrap().0.clone());
            facts.insert(format!("{side}.workload"), name);
        }
        facts
    }

    fn speaks(&self, callee: &str, request: &Request) -> bool {
        let listeners: Vec<_> = match &self.workloads[callee].listens {
            Listens::One(one) => one.iter().collect(),
            Listens::Several(several) => several.iter().flatten().collect(),
        };
        listeners.into_iter().any(|(protocol, port)| match request {
            Request::Http(..) => protocol == "http" || protocol == "http2",
            Request::Grpc(..) => protocol == "grpc",
            Request::Tcp(asked) => protocol == "tcp" && port == asked,
        })
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

    /// The calls that a rule or grant allows of a callee.
    fn calls_of<'a>(
        &'a self,
        rule: &'a Rule,
        callee: &str,
    ) -> impl Iterator<Item = &'a BTreeMap<String, Written>> {
        let (to, calls) = match &rule.role {
            Some(role) => (self.roles[role].to == callee, &self.roles[role].can),
            None => (self.selects(rule.to.as_ref().unwrap(), callee), &rule.allow),
        };
        calls.iter().filter(move |_| to)
    }

    /// Whether some template of a callee takes an encoded slash.
    fn tolerates(&self, callee: &str) -> bool {
        let statements = self.rules.iter().chain(&self.grants);
        let calls = statements.flat_map(|rule| self.calls_of(rule, callee));
        calls.flat_map(BTreeMap::values).any(|written| match written {
            Written::Text(text) => text.contains("%2F}") || text.contains("%2F...}"),
            Written::Port(_) | Written::Many(_) | Written::More(_) => false,
        })
    }

    /// Those of some statements that name the most specific template of all statements.
    fn owners<'a>(&'a self, callee: &str, request: &Request, statements: &[Rule]) -> Vec<&'a Rule> {
        let mut candidates = Vec::new();
        for rule in self.rules.iter().chain(&self.grants) {
            for call in self.calls_of(rule, callee) {
                let (protocol, written) = call.iter().next().unwrap();
                if let Some(ranks) = matches(protocol, written, &request.plain()) {
                    candidates.push(Candidate { rule, call, ranks });
                }
            }
        }
        let best = candidates.iter().map(|candidate| candidate.ranks.clone()).min();
        candidates
            .into_iter()
            .filter(|candidate| Some(&candidate.ranks) == best.as_ref())
            // Whoever owns a request and does not take it keeps it from all others.
            .filter(|candidate| takes(candidate.call, &request.plain()))
            .filter(|candidate| request.asks().is_none_or(|it| grants(candidate.call, it)))
            .map(|candidate| candidate.rule)
            .filter(|rule| statements.iter().any(|it| std::ptr::eq(it, *rule)))
            .collect()
    }
}

/// Whether a call says that its requests may ask for this.
fn grants(call: &BTreeMap<String, Written>, protocol: &str) -> bool {
    match call.get("upgrade") {
        Some(Written::Text(one)) => one == protocol,
        Some(Written::Many(several)) => several.iter().any(|it| it == protocol),
        _ => false,
    }
}

/// Whether a selector spells out this ID.
fn lists(selector: &Selector, id: &str) -> bool {
    match selector {
        Selector::One(text) => text == id,
        Selector::Many(texts) => texts.iter().any(|text| text == id),
        Selector::Labels(_) => false,
    }
}

/// RFC 3339 with `Z` sorts as text.
fn in_force(rule: &Rule, now: u64) -> bool {
    let now = format!("1970-01-01T{:02}:{:02}:{:02}Z", now / 3600, now / 60 % 60, now % 60);
    rule.starts.as_ref().is_none_or(|it| *it <= now)
        && rule.expires.as_ref().is_none_or(|it| now < *it)
}

/// A condition, by taking its text apart at the outermost signs. `None` where it cannot be said.
fn truth(text: &str, facts: &BTreeMap<String, String>) -> Option<bool> {
    let text = text.trim();
    let (ors, ands) = (outermost(text, "||"), outermost(text, "&&"));
    if ors.len() > 1 {
        let parts: Vec<_> = ors.iter().map(|part| truth(part, facts)).collect();
        return if parts.contains(&Some(true)) {
            Some(true)
        } else if parts.contains(&None) {
            None
        } else {
            Some(false)
        };
    }
    if ands.len() > 1 {
        let parts: Vec<_> = ands.iter().map(|part| truth(part, facts)).collect();
        return if parts.contains(&Some(false)) {
            Some(false)
        } else if parts.contains(&None) {
            None
        } else {
            Some(true)
        };
    }
    if let Some(inner) = text.strip_prefix("!(") {
        return truth(inner.strip_suffix(')')?, facts).map(|holds| !holds);
    }
    if let Some(inner) = text.strip_prefix('(') {
        return truth(inner.strip_suffix(')')?, facts);
    }
    let value = |term: &str| -> Option<String> {
        let term = term.trim();
        match term.strip_prefix(['"', '\'']) {
            Some(literal) => Some(literal[..literal.len() - 1].to_owned()),
            None => facts.get(term).cloned(),
        }
    };
    if let Some((one, list)) = text.split_once(" in ") {
        let list = list.trim_matches(['[', ']']);
        let one = value(one)?;
        return Some(list.split(',').any(|item| value(item).as_ref() == Some(&one)));
    }
    if let Some((one, other)) = text.split_once("!=") {
        return Some(value(one)? != value(other)?);
    }
    let (one, other) = text.split_once("==").unwrap();
    Some(value(one)? == value(other)?)
}

/// The parts of a text between signs that stand in no parentheses.
fn outermost<'a>(text: &'a str, sign: &str) -> Vec<&'a str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 && text[at..].starts_with(sign) => {
                parts.push(&text[start..at]);
                start = at + sign.len();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Whether a call of a guard matches a request, or the same with a slash more or less at the end of
/// its path, or with each of its encoded slashes read in one way or the other: a workload may take one
/// for the other.
fn is_about(guard: &Guard, request: &Request) -> bool {
    let mut readings = vec![request.clone()];
    if let Request::Http(method, path) = request {
        let other = match path.strip_suffix('/') {
            Some(less) => less.to_owned(),
            None => format!("{path}/"),
        };
        let paths = [path.clone(), other].into_iter().flat_map(|path| read(&path));
        readings = paths.map(|path| Request::Http(method.clone(), path)).collect();
    }
    let calls = || guard.calls.iter().flatten();
    let is_called = |request: &Request| {
        calls().any(|(protocol, written)| matches(protocol, written, request).is_some())
    };
    readings.iter().any(is_called)
}

/// A path with the first of its encoded slashes as any letter of a segment, and as a slash; and the
/// same for the others.
fn read(path: &str) -> Vec<String> {
    match path.split_once("%2F") {
        None => vec![path.to_owned()],
        Some((before, behind)) => {
            ["~", "/"].iter().flat_map(|sign| read(&format!("{before}{sign}{behind}"))).collect()
        }
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
        ("tcp", Written::Port(port), Request::Tcp(asked)) => (port == asked).then(|| vec![0]),
        _ => None,
    }
}

impl Request {
    fn has_encoded_slash(&self) -> bool {
        matches!(self, Self::Http(_, path) if path.contains("%2F"))
    }
}

/// Whether a template that matches a request takes the encoded slashes in it: for each the parameter at
/// its place says so.
fn takes(call: &BTreeMap<String, Written>, request: &Request) -> bool {
    let (Some(Written::Text(text)), Request::Http(_, path)) = (call.get("http"), request) else {
        return true;
    };
    let (_, template) = text.split_once(' ').unwrap();
    let parameters: Vec<_> = template.split('/').collect();
    let mut encoded = path.split('/').enumerate().filter(|(_, segment)| segment.contains("%2F"));
    encoded.all(|(at, _)| parameters[at.min(parameters.len() - 1)].contains("%2F"))
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
