//! `roles`, `rules`, `grants` and `guards`.

use cellwall_policy::Mode;

use super::{
    Reader,
    fields::{Fields, Keys},
    idempotent::OF_A_CALL,
};
use crate::{
    codes::Code,
    finding::Problem,
    syntax::{GrantItem, GuardItem, RoleItem, RuleItem, Selector, Target, Text},
    yaml::{Node, Value},
};

const FOR_A_WHILE: &str = "what is allowed for a while stands under `grants`";
const BY_SELECTOR: &str = "who is exempt from a guard stands in its `except`";
const ROLE_KEYS: Keys = Keys {
    known: &["to", "can"],
    later: &["headers", "rate"],
    elsewhere: &[
        OF_A_CALL,
        ("from", "a rule says who has the role"),
        ("when", "a rule that uses the role may have a `when`"),
    ],
};
const RULE_KEYS: Keys = Keys {
    known: &["name", "from", "role", "to", "allow", "when", "across", "why", "owner", "review_by"],
    later: &["headers", "rate"],
    elsewhere: &[
        OF_A_CALL,
        ("starts", FOR_A_WHILE),
        ("expires", FOR_A_WHILE),
        ("approved_by", FOR_A_WHILE),
        ("except", BY_SELECTOR),
        ("mode", "a segment or a guard may be in `audit`, a rule is not"),
    ],
};
const GRANT_KEYS: Keys = Keys {
    known: &[
        "name",
        "from",
        "role",
        "to",
        "allow",
        "when",
        "across",
        "starts",
        "expires",
        "why",
        "approved_by",
        "owner",
        "review_by",
    ],
    later: &["headers", "rate"],
    elsewhere: &[OF_A_CALL, ("except", BY_SELECTOR)],
};
const GUARD_KEYS: Keys = Keys {
    known: &["name", "deny", "calls", "except", "when", "mode", "why", "owner", "review_by"],
    later: &["headers", "rate"],
    elsewhere: &[
        OF_A_CALL,
        ("across", "a guard comes before the boundary; it crosses nothing"),
        ("from", "a guard says whom and where in `deny: A -> B`"),
        ("to", "a guard says whom and where in `deny: A -> B`"),
    ],
};

/// A rule or a grant.
#[derive(Clone, Copy)]
enum Allows {
    Rule,
    Grant,
}

impl Allows {
    const fn what(self) -> &'static str {
        match self {
            Self::Rule => "a rule",
            Self::Grant => "a grant",
        }
    }
}

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
            let Some(fields) = self.fields(item, "a rule", &RULE_KEYS) else { continue };
            if let Some(rule) = self.rule(&fields, Allows::Rule) {
                self.documents.rules.push(rule);
            }
        }
    }

    pub(super) fn grants(&mut self, file: &Fields<'_>) {
        let Some(node) = file.get("grants") else { return };
        for item in self.list(node, "a list of grants") {
            if let Some(grant) = self.grant(item) {
                self.documents.grants.push(grant);
            }
        }
    }

    fn grant(&mut self, node: &Node) -> Option<GrantItem> {
        let fields = self.fields(node, "a grant", &GRANT_KEYS)?;
        let rule = self.rule(&fields, Allows::Grant);
        let [starts, expires] = ["starts", "expires"].map(|key| {
            let node = self.required(&fields, key, "a grant");
            node.and_then(|node| self.instant(node))
        });
        let approved_by = match fields.get("approved_by") {
            Some(node) => self.people(node),
            // Who is missing is found with the others.
            None => Vec::new(),
        };
        let (starts, _) = starts?;
        let (expires, expires_place) = expires?;
        Some(GrantItem { rule: rule?, starts, expires, expires_place, approved_by })
    }

    /// What a rule and a grant have in common.
    fn rule(&mut self, fields: &Fields<'_>, allows: Allows) -> Option<RuleItem> {
        let what = allows.what();
        let name = self.required(fields, "name", what);
        let name = name.and_then(|node| match allows {
            Allows::Rule => self.name(node, "a name"),
            Allows::Grant => self.grant_name(node),
        });
        let from = self.required(fields, "from", what);
        let from = from.and_then(|node| self.selector(node));
        let target = self.target(fields, what);
        let when = self.when(fields);
        let across = self.across(fields);
        let why = self.why(fields, what);
        let stewardship = self.stewardship(fields);
        // Without a name or a reason it is wrong, and all else that it says is looked up still.
        Some(RuleItem {
            name: name.unwrap_or_else(|| nameless(fields)),
            from: from?,
            target: target?,
            when: when.ok()?,
            across,
            why: why.unwrap_or_default(),
            stewardship,
        })
    }

    /// Either `role`, or `to` and `allow`.
    fn target(&mut self, fields: &Fields<'_>, what: &str) -> Option<Target> {
        let (role, to, allow) = (fields.get("role"), fields.get("to"), fields.get("allow"));
        if let Some(role) = role {
            for key in ["to", "allow"] {
                if let Some(place) = fields.place_of(key) {
                    let message = format!("{what} with `role` has no `{key}`");
                    let problem = Problem::error(Code::Misplaced, place, message)
                        .help("the role says to whom and which calls");
                    self.problems.push(problem);
                }
            }
            return self.name(role, "a role").map(Target::Role);
        }
        if to.is_none() && allow.is_none() {
            self.missing(fields, "role` or `to", what);
            return None;
        }
        let to = self.required(fields, "to", &format!("{what} with `allow`"));
        let allow = self.required(fields, "allow", &format!("{what} with `to`"));
        let to = to.and_then(|node| self.selector(node));
        let calls = allow.map(|node| self.calls(node));
        Some(Target::Calls(to?, calls?))
    }

    /// The text of a condition. A statement whose condition cannot be read is not read either.
    fn when(&mut self, fields: &Fields<'_>) -> Result<Option<Text>, ()> {
        let Some(node) = fields.get("when") else { return Ok(None) };
        self.text(node, "a condition").map(Some).ok_or(())
    }

    fn across(&mut self, fields: &Fields<'_>) -> Vec<Text> {
        let Some(node) = fields.get("across") else { return Vec::new() };
        let across = self.texts(node, "a list of variables", "a variable");
        if matches!(&node.value, Value::List(items) if items.is_empty()) {
            let message = "a list of variables that names none";
            self.problems.push(Problem::error(Code::WrongType, node.place, message));
        }
        across
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
        let except = self.except(&fields);
        let calls = fields.get("calls").map_or_else(Vec::new, |node| self.guard_calls(node));
        let when = self.when(&fields);
        let mode = fields.get("mode").map(|node| self.mode(node));
        let why = self.why(&fields, "a guard");
        let stewardship = self.stewardship(&fields);
        let (from, to) = deny?;
        Some(GuardItem {
            name: name.unwrap_or_else(|| nameless(&fields)),
            from,
            to,
            except: except.ok()?,
            calls,
            when: when.ok()?,
            mode: match mode {
                Some(mode) => mode?,
                None => Mode::Enforce,
            },
            why: why.unwrap_or_default(),
            stewardship,
        })
    }

    /// A guard whose exceptions cannot be read is not read either.
    fn except(&mut self, fields: &Fields<'_>) -> Result<Option<Selector>, ()> {
        let Some(node) = fields.get("except") else { return Ok(None) };
        self.selector(node).map(Some).ok_or(())
    }

    /// PCI DSS 1.2.5: the business need.
    pub(super) fn why(&mut self, fields: &Fields<'_>, what: &str) -> Option<String> {
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
}

/// In place of a name that is missing or none.
fn nameless(fields: &Fields<'_>) -> Text {
    Text { value: String::new(), place: fields.place }
}
