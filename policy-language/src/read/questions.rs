//! `tests`.

use std::time::{Duration, SystemTime};

use cellwall_policy::Verdict;

use super::{
    Reader,
    fields::{Fields, Keys},
};
use crate::{
    codes::Code,
    finding::Problem,
    syntax::{TestItem, Text},
    yaml::Node,
};

const TEST_KEYS: Keys =
    Keys { known: &["expect", "call", "at", "by"], later: &["headers"], elsewhere: &[] };

impl Reader<'_> {
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
        let by = fields.get("by").map(|node| self.text(node, "what decides"));
        let at = fields.get("at").map(|node| self.instant(node));
        let since = |(seconds, _)| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        Some(TestItem {
            expect: expect?,
            call: call?,
            // A test whose time cannot be read asks something else.
            at: match at {
                Some(at) => since(at?),
                None => None,
            },
            by: match by {
                Some(by) => Some(by?),
                None => None,
            },
        })
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
