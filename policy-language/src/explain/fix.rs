//! The smallest change of the documents that would allow a call: made, and tried.

use std::time::SystemTime;

use cellwall_policy::{By, CallDocument, Callers, Decision, Snapshot, Verdict, upgrade_of};
use serde::{Deserialize, Serialize};

use super::{Explanation, decided::example};
use crate::{
    CompileError, PolicySet, Sources,
    finding::Files,
    load,
    model::{Rule, WorkloadNumber},
    question::{self, Asked, Question},
    trial::{Answer, ask},
};

/// The longest name of a rule that is made here.
const MAX_NAME_BYTES: usize = 63;

/// A change that allows one call, and nothing else.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Fix {
    /// What to do, in a line.
    pub summary: String,
    /// The file to change.
    pub file: String,
    /// The line where it changes, from 1.
    pub line: usize,
    /// What to add there, as it would stand in the file.
    pub text: String,
    /// Where the change begins, in bytes of the file.
    start: usize,
    /// How many bytes it replaces.
    length: usize,
    /// What it puts there.
    put: String,
}

impl Fix {
    /// The documents with the change.
    pub fn apply(&self, sources: &Sources) -> Sources {
        let mut changed = sources.clone();
        if let Some(text) = changed.files.get_mut(&self.file) {
            let end = self.start.saturating_add(self.length);
            let parts = (text.get(..self.start), text.get(end..));
            if let (Some(before), Some(after)) = parts {
                *text = [before, &self.put, after].concat();
            }
        }
        changed
    }
}

impl PolicySet {
    /// The smallest change of `sources`, which are these documents, that would allow the explained
    /// call and no other: tried on a copy, and compared call by call for every caller of the callee.
    /// It holds in every environment. `None` where the call is allowed, its path is not known, or no
    /// rule can allow it.
    pub fn fix(&self, sources: &Sources, explanation: &Explanation) -> Option<Fix> {
        let Explanation { caller, callee, call, .. } = explanation;
        let text = format!("{} -> {} {}", caller.name(), callee.name(), example(call));
        let question = question::parse(&text).ok()?;
        let Answer { decision, caller, callee } = self.answer(&question, None).ok()?;
        if decision.by != By::Default {
            return None;
        }
        let files = Files::of(sources);
        let wanted = Wanted { question: &question, decision: &decision, caller, callee };
        self.wider(&files, &wanted)
            .into_iter()
            .chain(self.new_rule(&files, &wanted))
            .find(|fix| self.is_exact(fix, sources, &wanted))
    }

    /// Rules that open this very call to this callee, with the caller added to `from`.
    fn wider(&self, files: &Files<'_>, wanted: &Wanted<'_>) -> Vec<Fix> {
        let Some(caller) = self.workload(wanted.caller) else { return Vec::new() };
        // Nothing but this one call to this one callee, within the boundary.
        let fits = |rule: &&Rule| {
            rule.to == [wanted.callee].into()
                && rule.when.is_none()
                && rule.across.is_empty()
                && matches!(rule.calls.as_slice(), [only] if wanted.is(&only.call))
        };
        let rules = self.rules.iter().filter(fits);
        let fix = |rule: &Rule| {
            let place = rule.from_place;
            let text = files.rest(place)?;
            let (length, put) = if text.starts_with('[') {
                (1, format!("[{}, ", caller.name))
            } else {
                let written = files.text(place)?;
                let is_plain =
                    written.bytes().all(|it| it.is_ascii_alphanumeric() || b"-/".contains(&it));
                if !is_plain {
                    return None;
                }
                (place.length, format!("[{written}, {}]", caller.name))
            };
            let (file, line) = files.line(place);
            Some(Fix {
                summary: format!("add `{}` to `from:` of {}", caller.name, rule.name),
                text: caller.name.clone(),
                file,
                line,
                start: place.start,
                length,
                put,
            })
        };
        rules.filter_map(fix).collect()
    }

    /// A rule of its own, before the first rule of a file: one with a rule about the callee, or the
    /// callee's own.
    fn new_rule(&self, files: &Files<'_>, wanted: &Wanted<'_>) -> Option<Fix> {
        let (caller, callee) = (self.workload(wanted.caller)?, self.workload(wanted.callee)?);
        let home = self.index.rules(wanted.callee).filter_map(|at| self.rules.get(at)).next();
        let home = home.map_or(callee.place.file, |rule| rule.place.file);
        let first = self
            .rules
            .iter()
            .filter(|rule| rule.place.file == home)
            .min_by_key(|rule| rule.place.start);
        let (name, call) = (self.free_name(&caller.name, &callee.name), wanted.call());
        let (from, to) = (&caller.name, &callee.name);
        let body = |indent: &str| {
            format!(
                "{indent}- name: {name}\n{indent}  from: {from}\n{indent}  to: {to}\n{indent}  \
                 allow:\n{indent}    - {call}\n{indent}  why: say which business need this serves\n"
            )
        };
        let (start, put) = match first {
            Some(rule) => {
                let (start, indent) = files.item(rule.place)?;
                (start, body(indent))
            }
            None => {
                let text = files.all(home)?;
                let end = if text.ends_with('\n') { "" } else { "\n" };
                (text.len(), format!("{end}\nrules:\n{}", body("  ")))
            }
        };
        let place = crate::place::Place::new(home, start, 0);
        let (file, line) = files.line(place);
        Some(Fix {
            summary: format!("add the rule `{name}`"),
            text: body("  "),
            file,
            line,
            start,
            length: 0,
            put,
        })
    }

    fn free_name(&self, caller: &str, callee: &str) -> String {
        let mut name = format!("{caller}-calls-{callee}");
        name.truncate(MAX_NAME_BYTES - 4);
        let name = name.trim_end_matches('-');
        let is_free = |name: &String| !self.rules.iter().any(|rule| rule.name == *name);
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        std::iter::once(name.to_owned()).chain(numbered).find(is_free).unwrap_or_default()
    }

    /// Whether the changed documents allow the call, and decide every other call as these do.
    fn is_exact(&self, fix: &Fix, sources: &Sources, wanted: &Wanted<'_>) -> bool {
        let Ok(changed) = load(&fix.apply(sources)) else { return false };
        let Ok(answer) = changed.answer(wanted.question, None) else { return false };
        answer.decision.verdict == Verdict::Allow
            && self.is_same_but_for(&changed, wanted).unwrap_or(false)
    }

    /// Asks both for every caller and every declared call of the callee, in the environment of the
    /// question. Other callees' policies have to be the same to the letter.
    fn is_same_but_for(&self, changed: &Self, wanted: &Wanted<'_>) -> Result<bool, CompileError> {
        let environment = &wanted.question.callee.environment;
        for number in (0..self.workloads.len()).map(WorkloadNumber) {
            let old = self.compiler().compile_named(number, environment)?;
            let new = changed.compiler().compile_named(number, environment)?;
            if number != wanted.callee {
                if old != new {
                    return Ok(false);
                }
                continue;
            }
            let calls = old.rules.iter().chain(&new.rules).flat_map(|rule| &rule.calls);
            let asked: Vec<Asked> = calls.flat_map(Asked::examples).collect();
            let (mut old, mut new) = (old, new);
            for document in [&mut old, &mut new] {
                for grant in &mut document.grants {
                    grant.rule.from = Callers::default();
                }
                document.callers = self.compiler().everybody();
            }
            let (old, new) = (Snapshot::new(old)?, Snapshot::new(new)?);
            let target =
                ask(&new, &self.side(&wanted.question.caller)?.1, &wanted.question.call, NOW)
                    .and_then(|decision| decision.route);
            for caller in (0..self.workloads.len()).map(WorkloadNumber) {
                let Some(shape) = self.workload(caller).and_then(|it| it.shape.as_ref()) else {
                    continue;
                };
                let id = self.template.id(shape, environment)?;
                for asked in &asked {
                    let (before, after) = (ask(&old, &id, asked, NOW), ask(&new, &id, asked, NOW));
                    let is_wanted = caller == wanted.caller
                        && after.as_ref().is_some_and(|after| after.route == target)
                        && asked.is_like(&wanted.question.call);
                    if !is_wanted && before.map(verdict) != after.map(verdict) {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }
}

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn verdict(decision: Decision) -> (Verdict, By) {
    (decision.verdict, decision.by)
}

/// What is to be allowed.
struct Wanted<'a> {
    question: &'a Question,
    decision: &'a Decision,
    caller: WorkloadNumber,
    callee: WorkloadNumber,
}

impl Wanted<'_> {
    /// Whether a declared call is this one and no other.
    fn is(&self, declared: &CallDocument) -> bool {
        let route = self.decision.route.as_deref();
        match (declared, &self.question.call) {
            (CallDocument::Http { methods, path }, Asked::Http { method, .. }) => {
                *methods == [method.as_str()] && Some(path.as_str()) == route
            }
            (CallDocument::Grpc { service, method }, Asked::Grpc { service: s, method: m }) => {
                service == s && method == m
            }
            (CallDocument::Tcp { port }, Asked::Tcp { port: asked }) => port == asked,
            _ => false,
        }
    }

    /// The call as a rule says it: by the template that it belongs to, or by itself.
    fn call(&self) -> String {
        match &self.question.call {
            Asked::Http { method, path } => {
                let path = self.decision.route.as_deref().unwrap_or(path);
                match upgrade_of(method) {
                    Some(protocol) => format!("{{http: \"GET {path}\", upgrade: {protocol}}}"),
                    None => format!("http: {method} {path}"),
                }
            }
            Asked::Grpc { service, method } => match self.decision.route.as_deref() {
                Some(route) => format!("grpc: {route}"),
                None => format!("grpc: {service}/{method}"),
            },
            Asked::Tcp { port } => format!("tcp: {port}"),
        }
    }
}

impl Asked {
    /// A call for each method of a declared one, and one that only a tail would match.
    fn examples(call: &CallDocument) -> Vec<Self> {
        match call {
            CallDocument::Http { methods, path } => {
                let one =
                    |method: &String| Self::Http { method: method.clone(), path: example(path) };
                methods.iter().map(one).collect()
            }
            CallDocument::Grpc { service, method } => {
                let method = if method == "*" { "CellwallAnyOther" } else { method };
                vec![Self::Grpc { service: service.clone(), method: method.to_owned() }]
            }
            CallDocument::Tcp { port } => vec![Self::Tcp { port: *port }],
        }
    }

    /// Whether both are one kind of call: the method counts, the path is the template's.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http { method, .. }, Self::Http { method: other, .. }) => method == other,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#"version: cellwall/v1
identity: "spiffe://pay.example/{env}/{workload}"
workloads:
  web: {listens: {http: 1}}
  rpc: {listens: {grpc: 1}}
  db: {listens: [{tcp: 1}, {tcp: 2}]}
segments:
  all: {members: [web, rpc, db], mode: enforce}
rules:
  - {name: r, from: web, to: web, allow: [{http: GET /a}], why: w}
  - {name: s, from: web, to: rpc, allow: [{grpc: a.A/Get}], why: w}
"#;

    /// Asks the base this, and hands over what a change for it is tried with.
    fn asked<T>(call: &str, then: impl FnOnce(&PolicySet, &Sources, &Wanted<'_>) -> T) -> T {
        let sources = Sources::single(BASE);
        let set = load(&sources).unwrap();
        let question = question::parse(call).unwrap();
        let Answer { decision, caller, callee } = set.answer(&question, None).unwrap();
        let wanted = Wanted { question: &question, decision: &decision, caller, callee };
        then(&set, &sources, &wanted)
    }

    #[test]
    fn a_rule_opens_a_call_alone_if_it_names_no_other() {
        let http = |methods: &[&str], path: &str| CallDocument::Http {
            methods: methods.iter().map(|&it| it.to_owned()).collect(),
            path: path.to_owned(),
        };
        let grpc = |service: &str, method: &str| CallDocument::Grpc {
            service: service.to_owned(),
            method: method.to_owned(),
        };
        let tcp = |port| CallDocument::Tcp { port };
        for (call, declared, expected) in [
            ("p/rpc -> p/web GET /a", http(&["GET"], "/a"), true),
            ("p/rpc -> p/web GET /a", http(&["GET"], "/b"), false),
            ("p/rpc -> p/web GET /a", http(&["POST"], "/a"), false),
            ("p/rpc -> p/web GET /a", http(&["GET", "POST"], "/a"), false),
            ("p/rpc -> p/web GET /a", tcp(1), false),
            ("p/db -> p/rpc a.A/Get", grpc("a.A", "Get"), true),
            ("p/db -> p/rpc a.A/Get", grpc("a.A", "*"), false),
            ("p/db -> p/rpc a.A/Get", grpc("b.A", "Get"), false),
            ("p/web -> p/db tcp:1", tcp(1), true),
            ("p/web -> p/db tcp:1", tcp(2), false),
        ] {
            let is = asked(call, |_, _, wanted| wanted.is(&declared));
            assert_eq!(is, expected, "{call} {declared:?}");
        }
    }

    #[test]
    fn a_change_that_opens_more_than_the_call_is_not_taken() {
        let rule = |from: &str, to: &str, calls: &str| {
            format!("  - {{name: n, from: {from}, to: {to}, allow: [{calls}], why: w}}\n")
        };
        let (web, rpc) = ("p/rpc -> p/web GET /a", "p/db -> p/rpc a.A/Put");
        for (call, put, expected) in [
            (web, rule("rpc", "web", "{http: GET /a}"), true),
            (web, rule("[rpc, db]", "web", "{http: GET /a}"), false),
            (web, rule("rpc", "web", "{http: \"GET,POST /a\"}"), false),
            (web, rule("rpc", "web", "{http: GET /a}, {http: GET /b}"), false),
            (web, rule("rpc", "web", "{http: GET /b}"), false),
            (web, rule("rpc", "[web, db]", "{http: GET /a}"), false),
            (rpc, rule("db", "rpc", "{grpc: a.A/Put}"), true),
            (rpc, rule("db", "rpc", "{grpc: a.A/Put}, {grpc: a.A/Set}"), false),
        ] {
            let start = BASE.len();
            let empty = String::new;
            let (summary, file, text) = (empty(), "cellwall.yaml".to_owned(), empty());
            let fix = Fix { summary, file, line: 1, text, start, length: 0, put: put.clone() };
            let is_exact = asked(call, |set, sources, wanted| set.is_exact(&fix, sources, wanted));
            assert_eq!(is_exact, expected, "{call} {put}");
        }
    }
}
