//! `idempotent: method` and `idempotent: {header: Idempotency-Key}`: calls that may be made twice.

use cellwall_policy::{CallDocument, IdempotentBy, is_idempotent_method};

use super::{
    Reader,
    fields::{Fields, Keys},
};
use crate::{
    codes::Code,
    finding::Problem,
    yaml::{Node, Value},
};

/// The one header by which a request can show it.
const KEY: &str = "Idempotency-Key";

const HEADER_KEYS: Keys = Keys { known: &["header"], later: &[], elsewhere: &[] };

/// Where the key stands, for whoever writes it beside the calls.
pub(super) const OF_A_CALL: (&str, &str) =
    ("idempotent", "it stands in the call: `{http: PUT /path, idempotent: method}`");

impl Reader<'_> {
    /// By what a call may be made twice, if it says so. One that cannot be is a problem.
    pub(super) fn idempotent(
        &mut self,
        fields: &Fields<'_>,
        call: &CallDocument,
    ) -> Option<IdempotentBy> {
        let node = fields.get("idempotent")?;
        let by = self.idempotent_by(node)?;
        let Some((message, help)) = contradiction(by, call) else { return Some(by) };
        self.problems.push(Problem::error(Code::NotIdempotent, node.place, message).help(help));
        None
    }

    fn idempotent_by(&mut self, node: &Node) -> Option<IdempotentBy> {
        match &node.value {
            Value::Text(text) if text == "method" => return Some(IdempotentBy::Method),
            Value::Map(_) => {
                let fields = self.fields(node, "`idempotent`", &HEADER_KEYS)?;
                let header = self.required(&fields, "header", "`idempotent`")?;
                if matches!(&header.value, Value::Text(text) if text == KEY) {
                    return Some(IdempotentBy::Key);
                }
                let problem = self.wrong_type(header, &format!("`{KEY}`"));
                self.problems.push(problem);
            }
            _ => {
                let problem = self.wrong_type(node, &format!("`method` or `{{header: {KEY}}}`"));
                self.problems.push(problem);
            }
        }
        None
    }
}

/// Why a call cannot be made twice, and what could be written instead.
fn contradiction(by: IdempotentBy, call: &CallDocument) -> Option<(String, &'static str)> {
    let by_key = "the callee may look up a key: `idempotent: {header: Idempotency-Key}`";
    match (call, by) {
        (CallDocument::Http { .. } | CallDocument::Grpc { .. }, IdempotentBy::Key) => None,
        (CallDocument::Http { methods, .. }, IdempotentBy::Method) => {
            let other = methods.iter().find(|method| !is_idempotent_method(method))?;
            Some((format!("`{other}` is not an idempotent method"), by_key))
        }
        (CallDocument::Grpc { .. }, IdempotentBy::Method) => {
            Some(("gRPC has one method, and it is `POST`".to_owned(), by_key))
        }
        (CallDocument::Tcp { .. }, _) => {
            let help = "leave `idempotent` out: a connection is never made twice";
            Some(("bytes are not sent again".to_owned(), help))
        }
    }
}
