//! From the tree of a file to what it says. Each mistake is noted and reading goes on.

mod calls;
mod fields;
mod governance;
mod idempotent;
mod introduction;
mod people;
mod questions;
mod selectors;
mod statements;
mod times;
mod upgrade;

use crate::{
    codes::Code,
    finding::{Problem, Problems},
    model::Stewardship,
    place::{FileNumber, Files, Place},
    sources::MAX_FILE_BYTES,
    syntax::{Documents, Text},
    yaml::{self, Node, Value},
};
use fields::{Fields, Keys};
pub(crate) use selectors::describe;

const VERSION: &str = "cellwall/v1";
const FILE_KEYS: Keys = Keys {
    known: &[
        "version",
        "identity",
        "include",
        "owner",
        "review_by",
        "probes",
        "limits",
        "approvals",
        "operators",
        "workloads",
        "segments",
        "roles",
        "rules",
        "grants",
        "guards",
        "never",
        "tests",
    ],
    later: &["external", "factors", "headers", "rate"],
    elsewhere: &[
        idempotent::OF_A_CALL,
        upgrade::OF_A_CALL,
        ("when", "`when` is a key of a rule, a grant or a guard"),
        ("across", "`across` is a key of a rule or a grant"),
        ("attest", "`attest` is a key of a workload"),
        ("identity_header", "`identity_header` is a key of a workload"),
    ],
};
/// Keys that hold for the whole policy, and so stand in the root file.
const ROOT_KEYS: [&str; 7] =
    ["identity", "include", "probes", "limits", "approvals", "operators", "never"];

/// Reads one file after the other.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    files: &'a Files<'a>,
    problems: &'a mut Problems,
    documents: Documents,
    /// What the file that is read says for all its statements.
    stewardship: Stewardship,
}

/// Reads all files. What could not be read is in `problems` and left out.
pub(crate) fn read(files: &Files<'_>, problems: &mut Problems) -> Documents {
    let documents = Documents::default();
    let mut reader = Reader { files, problems, documents, stewardship: Stewardship::default() };
    for (number, file) in files.iter() {
        reader.file(number, file.text);
    }
    reader.documents
}

/// The patterns of `include` in a root file; none where it cannot be read.
pub(crate) fn includes(text: &str) -> Vec<String> {
    let Ok(Some(Node { value: Value::Map(entries), .. })) = yaml::parse(FileNumber(0), text) else {
        return Vec::new();
    };
    let lists = entries.into_iter().filter_map(|(key, value)| match (key.value, value.value) {
        (Value::Text(key), Value::List(items)) if key == "include" => Some(items),
        _ => None,
    });
    lists
        .flatten()
        .filter_map(|item| match item.value {
            Value::Text(pattern) => Some(pattern),
            _ => None,
        })
        .collect()
}

impl Reader<'_> {
    fn file(&mut self, file: FileNumber, text: &str) {
        let start = Place::new(file, 0, 0);
        if text.len() > MAX_FILE_BYTES {
            let message = format!("longer than {MAX_FILE_BYTES} bytes");
            return self.problems.push(Problem::error(Code::TooMuch, start, message));
        }
        let node = match yaml::parse(file, text) {
            Ok(Some(node)) => node,
            Ok(None) => {
                let problem = Problem::error(Code::Version, start, "an empty file")
                    .help(format!("begin with `version: {VERSION}`"));
                return self.problems.push(problem);
            }
            Err(error) => {
                let problem = Problem::error(Code::Syntax, error.place, error.message);
                return self.problems.push(problem.help(error.help));
            }
        };
        let Some(fields) = self.fields(&node, "a policy file", &FILE_KEYS) else { return };
        self.version(&fields, start);
        self.root_only(&fields, file);
        self.stewardship = Stewardship::default();
        self.stewardship = self.stewardship(&fields);
        self.workloads(&fields);
        self.segments(&fields);
        self.roles(&fields);
        self.rules(&fields);
        self.grants(&fields);
        self.guards(&fields);
        self.tests(&fields);
    }

    fn version(&mut self, fields: &Fields<'_>, start: Place) {
        let Some(node) = fields.get("version") else {
            let problem = Problem::error(Code::Version, start, "`version` is missing")
                .help(format!("begin the file with `version: {VERSION}`"));
            return self.problems.push(problem);
        };
        if let Some(text) = self.text(node, "a version")
            && text.value != VERSION
        {
            let problem = Problem::error(
                Code::Version,
                text.place,
                format!("unknown version `{}`", text.value),
            )
            .help(format!("this release reads `{VERSION}`"));
            self.problems.push(problem);
        }
    }

    fn root_only(&mut self, fields: &Fields<'_>, file: FileNumber) {
        if file != FileNumber(0) {
            for (key, place, _) in fields.iter().filter(|(key, ..)| ROOT_KEYS.contains(key)) {
                let root = self.files.name(FileNumber(0));
                let message = format!("`{key}` belongs in {root}");
                let problem = Problem::error(Code::Misplaced, place, message)
                    .help("it holds for the whole policy, so it stands in one place");
                self.problems.push(problem);
            }
            return;
        }
        match fields.get("identity") {
            Some(node) => self.documents.identity = self.text(node, "an identity template"),
            None => self.missing(fields, "identity", "cellwall.yaml"),
        }
        if let Some(node) = fields.get("include") {
            self.documents.include = self.texts(node, "a list of paths", "a path");
        }
        self.probes(fields);
        self.limits(fields);
        self.approvals(fields);
        self.operators(fields);
        self.never(fields);
    }

    /// A text as it is.
    fn text(&mut self, node: &Node, what: &str) -> Option<Text> {
        match &node.value {
            Value::Text(value) => Some(Text { value: value.clone(), place: node.place }),
            Value::Number(_) | Value::Other => {
                let problem = self.wrong_type(node, what).help("put it in quotes");
                self.problems.push(problem);
                None
            }
            Value::List(_) | Value::Map(_) => {
                let problem = self.wrong_type(node, what);
                self.problems.push(problem);
                None
            }
        }
    }

    /// A text that is a name.
    fn name(&mut self, node: &Node, what: &str) -> Option<Text> {
        let text = self.text(node, what)?;
        if cellwall_policy::is_name(&text.value) {
            return Some(text);
        }
        let problem =
            Problem::error(Code::BadName, text.place, format!("`{}` is not a name", text.value))
                .help("a name is `a-z`, `0-9` and inner `-`, at most 63 characters");
        self.problems.push(problem);
        None
    }

    /// The texts of a list.
    fn texts(&mut self, node: &Node, what: &str, item: &str) -> Vec<Text> {
        self.list(node, what).iter().filter_map(|node| self.text(node, item)).collect()
    }

    /// The items of a list; none, with a problem, for anything else.
    fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.value {
            Value::List(items) => items,
            _ => {
                let problem = self.wrong_type(node, what);
                self.problems.push(problem);
                &[]
            }
        }
    }

    fn wrong_type(&self, node: &Node, what: &str) -> Problem {
        let found = match &node.value {
            Value::Text(_) => "a text",
            Value::Number(_) => "a number",
            Value::Other => match self.files.text(node.place) {
                Some("true" | "false" | "True" | "False" | "TRUE" | "FALSE") => "a boolean",
                Some("" | "~" | "null" | "Null" | "NULL") | None => "nothing",
                Some(_) => "a number",
            },
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        };
        Problem::error(Code::WrongType, node.place, format!("expected {what}, found {found}"))
    }
}
