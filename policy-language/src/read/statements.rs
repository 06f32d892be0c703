//! `roles`, `rules`, `guards` and `tests`.

use cellwall_policy::{Mode, Verdict};

use super::{
    Reader,
    fields::{Fields, Keys},
};
use crate::{
    codes::Code,
    finding::Problem,
    model::Stewardship,
    syntax::{GuardItem, RoleItem, RuleItem, Target, TestItem, Text},
    yaml::Node,
};

const ROLE_KEYS: Keys = Keys { known: &["to", "can"], later: &["rate", "headers"] };
const RULE_KEYS: Keys = Keys {
    known: &["name", "from", "role", "to", "allow", "why"],
    later: &[
        "across",
        "approved_by",
        "expires",
        "headers",
        "idempotent",
        "owner",
        "rate",
        "review_by",
        "starts",
        "when",
    ],
};
const GUARD_KEYS: Keys = Keys {
    known: &["name", "deny", "except", "why"],
    later: &["across", "calls", "headers", "mode", "owner", "review_by", "when"],
};
const TEST_KEYS: Keys = Keys { known: &["expect", "call", "by"], later: &["at"] };

impl Reader<'_> {
    pub(super) fn roles(&mut self, file: &Fields<'_>) {
        let Some(node) = file.get("roles") else { return };
        for (name, value) in self.named(node, "roles by name") {
            let Some(fields) = self.fields(value, "a role", &ROLE_KEYS) else { continue };
            let to = self.required(&fields, "to", "a role");
            let to = to.and_then(|node| self.name(node, "a workload"));
            let can = self.required(&fields, "can", "a role");
            let can = can.map_or_else(Vec::new, |node| self.calls(node));
            self.documents.roles.push(RoleItem { name, to, can });
        }
    }

    pub(super) fn rules(&mut self, file: &Fields<'_>) {
        let Some(node) = file.get("rules") else { return };
        for item in self.list(node, "a list of rules") {
            if let Some(rule) = self.rule(item) {
                self.documents.rules.push(rule);
            }
        }
    }

    fn rule(&mut self, node: &Node) -> Option<RuleItem> {
        let fields = self.fields(node, "a rule", &RULE_KEYS)?;
        let name = self.required(&fields, "name", "a rule");
        let name = name.and_then(|node| self.name(node, "a name"));
        let from = self.required(&fields, "from", "a rule");
        let from = from.and_then(|node| self.selector(node));
        let target = self.target(&fields);
        let why = self.why(&fields, "a rule");
        Some(RuleItem {
            name: name?,
            from: from?,
            target: target?,
            when: None,
            across: Vec::new(),
            why: why?,
            stewardship: Stewardship::default(),
        })
    }

    /// Either `role`, or `to` and `allow`.
    fn target(&mut self, fields: &Fields<'_>) -> Option<Target> {
        let (role, to, allow) = (fields.get("role"), fields.get("to"), fields.get("allow"));
        if let Some(role) = role {
            for key in ["to", "allow"] {
                if let Some(place) = fields.place_of(key) {
                    let message = format!("a rule with `role` has no `{key}`");
                    let problem = Problem::error(Code::Misplaced, place, message)
                        .help("the role says to whom and which calls");
                    self.problems.push(problem);
                }
            }
            return self.name(role, "a role").map(Target::Role);
        }
        if to.is_none() && allow.is_none() {
            self.missing(fields, "role` or `to", "a rule");
            return None;
        }
        let to = self.required(fields, "to", "a rule with `allow`");
        let allow = self.required(fields, "allow", "a rule with `to`");
        let to = to.and_then(|node| self.selector(node));
        let calls = allow.map(|node| self.calls(node));
        Some(Target::Calls(to?, calls?))
    }

    pub(super) fn guards(&mut self, file: &Fields<'_>) {
        let Some(node) = file.get("guards") else { return };
        for item in self.list(node, "a list of guards") {
            if let Some(guard) = self.guard(item) {
                self.documents.guards.push(guard);
            }
        }
    }

    fn guard(&mut self, node: &Node) -> Option<GuardItem> {
        let fields = self.fields(node, "a guard", &GUARD_KEYS)?;
        let name = self.required(&fields, "name", "a guard");
        let name = name.and_then(|node| self.name(node, "a name"));
        let deny = self.required(&fields, "deny", "a guard");
        let deny = deny.and_then(|node| self.text(node, "`A -> B`"));
        let deny = deny.and_then(|text| self.arrow(&text));
        let except = match fields.get("except") {
            // A guard whose exceptions cannot be read is not read either.
            Some(node) => Some(self.selector(node)?),
            None => None,
        };
        let why = self.why(&fields, "a guard");
        let (from, to) = deny?;
        Some(GuardItem {
            name: name?,
            from,
            to,
            except,
            calls: Vec::new(),
            when: None,
            mode: Mode::Enforce,
            why: why?,
            stewardship: Stewardship::default(),
        })
    }

    /// PCI DSS 1.2.5: the business need.
    fn why(&mut self, fields: &Fields<'_>, what: &str) -> Option<String> {
        let node = fields.get("why");
        let text = match node {
            Some(node) => Some(self.text(node, "a reason")?),
            None => None,
        };
        match text {
            Some(text) if !text.value.trim().is_empty() => Some(text.value),
            other => {
                let place = other.map_or(fields.place, |text| text.place);
                let problem =
                    Problem::error(Code::NoReason, place, format!("{what} without `why`"))
                        .help("say which business need it serves");
                self.problems.push(problem);
                None
            }
        }
    }

    pub(super) fn tests(&mut self, file: &Fields<'_>) {
        let Some(node) = file.get("tests") else { return };
        for item in self.list(node, "a list of tests") {
            if let Some(test) = self.test(item) {
                self.documents.tests.push(test);
            }
        }
    }

    fn test(&mut self, node: &Node) -> Option<TestItem> {
        let fields = self.fields(node, "a test", &TEST_KEYS)?;
        let expect = self.required(&fields, "expect", "a test");
        let expect = expect.and_then(|node| self.text(node, "`allow`, `deny` or `audit`"));
        let expect = expect.and_then(|text| self.verdict(&text));
        let call = self.required(&fields, "call", "a test");
        let call = call.and_then(|node| self.text(node, "`ENV/A -> ENV/B CALL`"));
        let by = match fields.get("by") {
            Some(node) => Some(self.text(node, "what decides")?),
            None => None,
        };
        Some(TestItem { expect: expect?, call: call?, at: None, by })
    }

    fn verdict(&mut self, text: &Text) -> Option<Verdict> {
        match text.value.as_str() {
            "allow" => Some(Verdict::Allow),
            "deny" => Some(Verdict::Deny),
            "audit" => Some(Verdict::Audit),
            other => {
                let message = format!("`{other}` is not a verdict");
                let problem = Problem::error(Code::WrongType, text.place, message)
                    .help("a test expects `allow`, `deny` or `audit`");
                self.problems.push(problem);
                None
            }
        }
    }
}
