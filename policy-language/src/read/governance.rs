//! What a policy says about itself: owners, reviews, approvals, operators, limits, probes, and what
//! must never be.

use cellwall_policy::{ProbeDocument, RequestPath, is_http_method, is_name};

use super::{
    Reader,
    fields::{Fields, Keys},
    times::Range,
};
use crate::{
    codes::Code,
    finding::Problem,
    model::{Approval, Stewardship, Through},
    syntax::{NeverItem, Text},
    yaml::{Node, Value},
};

const LIMIT_KEYS: Keys =
    Keys { known: &["grant_max", "svid_ttl"], later: &["rate"], elsewhere: &[] };
const OPERATOR_KEYS: Keys =
    Keys { known: &["viewer", "editor", "approver", "auditor"], later: &[], elsewhere: &[] };
const APPROVAL_KEYS: Keys = Keys { known: &["from", "count"], later: &[], elsewhere: &[] };
const NEVER_KEYS: Keys = Keys {
    known: &["name", "from", "to", "through", "why"],
    later: &[],
    elsewhere: &[
        ("except", "leave the exception out of `from` or `to`"),
        ("when", "what must never be has no condition"),
    ],
};
/// A grant is for an emergency; what is needed longer is a rule.
const GRANT_MAX: Range = Range { least: 60, most: 7 * 24 * 3600, text: "between 1m and 7days" };
/// As the control plane's `--svid-ttl`.
const SVID_TTL: Range = Range { least: 10, most: 24 * 3600, text: "between 10s and 1day" };
/// The longest name of a person.
const MAX_PERSON_BYTES: usize = 254;

impl Reader<'_> {
    /// Who answers for a statement, or for all of a file. What a statement does not say is as the
    /// file says.
    pub(super) fn stewardship(&mut self, fields: &Fields<'_>) -> Stewardship {
        let owner = fields.get("owner").and_then(|node| self.owner(node));
        let review_by = fields.get("review_by").and_then(|node| self.review_by(node));
        Stewardship {
            owner: owner.or_else(|| self.stewardship.owner.clone()),
            review_by: review_by.or(self.stewardship.review_by),
        }
    }

    fn owner(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node, "who owns it")?;
        if is_name(&text.value) || is_person(&text.value) {
            return Some(text.value);
        }
        let message = format!("`{}` is neither a team nor a person", text.value);
        let problem = Problem::error(Code::BadName, text.place, message)
            .help("write `team-payments`, or `alice@pay.example`");
        self.problems.push(problem);
        None
    }

    /// Persons, by their addresses.
    pub(super) fn people(&mut self, node: &Node) -> Vec<Text> {
        let mut people = Vec::new();
        for text in self.texts(node, "a list of people", "a person") {
            if is_person(&text.value) {
                people.push(text);
                continue;
            }
            let message = format!("`{}` is not a person", text.value);
            let problem = Problem::error(Code::BadName, text.place, message)
                .help("a person is written as `alice@pay.example`");
            self.problems.push(problem);
        }
        people
    }

    /// A grant's name may be a ticket's number.
    pub(super) fn grant_name(&mut self, node: &Node) -> Option<Text> {
        let text = self.text(node, "a name")?;
        if cellwall_policy::is_grant_name(&text.value) {
            return Some(text);
        }
        let message = format!("`{}` is not a name", text.value);
        let help = "a grant's name is letters, digits and inner `-`, at most 63 characters";
        self.problems.push(Problem::error(Code::BadName, text.place, message).help(help));
        None
    }

    pub(super) fn probes(&mut self, root: &Fields<'_>) {
        let Some(node) = root.get("probes") else { return };
        for text in self.texts(node, "a list of requests", "`METHOD /path`") {
            match probe(&text.value) {
                Some(probe) => self.documents.probes.push((text.place, probe)),
                None => {
                    let message = format!("`{}` is not a probe", text.value);
                    let help =
                        "a probe is one method and one path without parameters: `GET /livez`";
                    let problem = Problem::error(Code::BadCall, text.place, message).help(help);
                    self.problems.push(problem);
                }
            }
        }
    }

    pub(super) fn limits(&mut self, root: &Fields<'_>) {
        let Some(node) = root.get("limits") else { return };
        let Some(fields) = self.fields(node, "limits", &LIMIT_KEYS) else { return };
        let length = |reader: &mut Self, key, range: &Range| {
            fields.get(key).and_then(|node| reader.duration(node, range))
        };
        self.documents.governance.grant_max = length(self, "grant_max", &GRANT_MAX);
        self.documents.governance.svid_ttl = length(self, "svid_ttl", &SVID_TTL);
    }

    pub(super) fn operators(&mut self, root: &Fields<'_>) {
        let Some(node) = root.get("operators") else { return };
        let Some(fields) = self.fields(node, "operators", &OPERATOR_KEYS) else { return };
        for (role, _, node) in fields.iter() {
            let mut holders = Vec::new();
            for text in self.texts(node, "a list of groups and people", "a group or a person") {
                if text.value.strip_prefix("group/").is_some_and(is_name) || is_person(&text.value)
                {
                    holders.push(text.value);
                    continue;
                }
                let message = format!("`{}` is neither a group nor a person", text.value);
                let problem = Problem::error(Code::BadName, text.place, message)
                    .help("write `group/platform`, or `alice@pay.example`");
                self.problems.push(problem);
            }
            self.documents.governance.operators.insert(role.to_owned(), holders);
        }
    }

    pub(super) fn approvals(&mut self, root: &Fields<'_>) {
        let Some(node) = root.get("approvals") else { return };
        for (key, value) in
            self.entries(node, "approvals by what a change touches").unwrap_or_default()
        {
            let known = matches!(key.value.as_str(), "default" | "guards" | "operators")
                || key.value.strip_prefix("segment/").is_some_and(is_name);
            if !known {
                let message = format!("unknown key `{}` in approvals", key.value);
                let problem = Problem::error(Code::UnknownKey, key.place, message)
                    .help("known are `default`, `guards`, `operators` and `segment/NAME`");
                self.problems.push(problem);
            }
            if let Some(approval) = self.approval(value) {
                self.documents.approvals.push((key, approval));
            }
        }
    }

    fn approval(&mut self, node: &Node) -> Option<Approval> {
        let fields = self.fields(node, "an approval", &APPROVAL_KEYS)?;
        let from = self.required(&fields, "from", "an approval");
        let count = self.required(&fields, "count", "an approval");
        let mut approvers = Vec::new();
        for text in self.texts(from?, "a list of groups and people", "a group or a person") {
            let group = text.value.strip_prefix("group/").unwrap_or(&text.value);
            if is_name(group) || is_person(&text.value) {
                approvers.push(text.value);
                continue;
            }
            let message = format!("`{}` is neither a group nor a person", text.value);
            let problem = Problem::error(Code::BadName, text.place, message)
                .help("write `platform`, or `alice@pay.example`");
            self.problems.push(problem);
        }
        let count_node = count?;
        // A group has members that are not known here.
        let most = if approvers.iter().all(|approver| is_person(approver)) {
            u64::try_from(approvers.len()).unwrap_or(u64::MAX)
        } else {
            u64::MAX
        };
        match count_node.value {
            Value::Number(count) if (1..=most).contains(&count) => {
                Some(Approval { from: approvers, count })
            }
            Value::Number(count) => {
                let message = match (count, most) {
                    (0, _) => "nobody has to say yes".to_owned(),
                    (_, 1) => format!("{count} cannot say yes: `from` names one person"),
                    _ => format!("{count} cannot say yes: `from` names {most} people"),
                };
                let problem = Problem::error(Code::WrongType, count_node.place, message).help(
                    "`count` is how many different people of `from` must say yes, at least 1",
                );
                self.problems.push(problem);
                None
            }
            _ => {
                let problem = self.wrong_type(count_node, "a number of people");
                self.problems.push(problem);
                None
            }
        }
    }

    pub(super) fn never(&mut self, root: &Fields<'_>) {
        let Some(node) = root.get("never") else { return };
        for item in self.list(node, "a list of what must never be") {
            if let Some(never) = self.invariant(item) {
                self.documents.never.push(never);
            }
        }
    }

    fn invariant(&mut self, node: &Node) -> Option<NeverItem> {
        let what = "what must never be";
        let fields = self.fields(node, what, &NEVER_KEYS)?;
        let name = self.required(&fields, "name", what);
        let name = name.and_then(|node| self.name(node, "a name"));
        let [from, to] = ["from", "to"].map(|key| {
            let node = self.required(&fields, key, what);
            node.and_then(|node| self.selector(node))
        });
        let through = match fields.get("through") {
            Some(node) => self.through(node),
            None => Some(Through::Any),
        };
        let why = self.why(&fields, what);
        Some(NeverItem { name: name?, from: from?, to: to?, through: through?, why: why? })
    }

    fn through(&mut self, node: &Node) -> Option<Through> {
        let text = self.text(node, "`any` or `none`")?;
        match text.value.as_str() {
            "any" => Some(Through::Any),
            "none" => Some(Through::None),
            other => {
                let message = format!("`{other}` is neither `any` nor `none`");
                let help = "`any`: no path may lead there, over whomever; `none`: no direct call";
                self.problems.push(Problem::error(Code::WrongType, text.place, message).help(help));
                None
            }
        }
    }
}

/// A request that is always the same.
fn probe(text: &str) -> Option<ProbeDocument> {
    let (method, path) = text.split_once(' ')?;
    let canonical = RequestPath::parse(path).ok().filter(|it| it.as_str() == path);
    (is_http_method(method) && canonical.is_some())
        .then(|| ProbeDocument { method: method.to_owned(), path: path.to_owned() })
}

/// Whether a text names a person as their mail address does.
fn is_person(text: &str) -> bool {
    let Some((who, domain)) = text.split_once('@') else { return false };
    let legal = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'@' | b'"' | b'\\' | b',');
    text.len() <= MAX_PERSON_BYTES
        && !who.is_empty()
        && !domain.is_empty()
        && who.bytes().chain(domain.bytes()).all(legal)
}
