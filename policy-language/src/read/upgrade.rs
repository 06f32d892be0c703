//! `upgrade: websocket`, or a list: what the requests of a call may ask to go on in.

use cellwall_policy::{CallDocument, is_upgrade, upgrade_to};

use super::{Reader, fields::Fields};
use crate::{
    codes::Code,
    finding::Problem,
    place::Place,
    syntax::Text,
    yaml::{Node, Value},
};

/// Where the key stands, for whoever writes it beside the calls.
pub(super) const OF_A_CALL: (&str, &str) =
    ("upgrade", "it stands in the call: `{http: GET /path, upgrade: websocket}`");

/// For whoever writes it in a guard.
pub(super) const OF_WHAT_IS_ALLOWED: (&str, &str) =
    ("upgrade", "a guard denies the request, and with it whatever that asks for");

impl Reader<'_> {
    /// Adds to a call what its requests may ask for.
    pub(super) fn upgrade(&mut self, fields: &Fields<'_>, call: &mut CallDocument) {
        let (Some(node), Some(key)) = (fields.get("upgrade"), fields.place_of("upgrade")) else {
            return;
        };
        let methods = match call {
            CallDocument::Http { methods, .. } if methods.iter().any(|it| it == "GET") => methods,
            CallDocument::Http { .. } => {
                return self.misused(key, "`upgrade` without GET", "only a GET can ask for it");
            }
            CallDocument::Grpc { .. } | CallDocument::Tcp { .. } => {
                let message = "`upgrade` of a call that is not `http`";
                return self.misused(key, message, "gRPC and TCP go on in what they begin in");
            }
        };
        for protocol in self.protocols(node) {
            let method = upgrade_to(&protocol.value);
            if methods.contains(&method) {
                let message = format!("`{}` stands twice", protocol.value);
                self.misused(protocol.place, &message, "write it once");
            } else if is_upgrade(&protocol.value) {
                methods.push(method);
            } else {
                let message = format!("`{}` is nothing that a call may go on in", protocol.value);
                let help = "a protocol is `a-z`, `0-9`, `.`, `_` and `-`, such as `websocket`; never \
                            HTTP or TLS: behind those would be calls that nobody judges";
                self.misused(protocol.place, &message, help);
            }
        }
    }

    fn protocols(&mut self, node: &Node) -> Vec<Text> {
        let Value::List(items) = &node.value else {
            return self.text(node, "a protocol, or a list of them").into_iter().collect();
        };
        if items.is_empty() {
            self.misused(node.place, "`upgrade` that names no protocol", "leave it out");
        }
        self.texts(node, "a list of protocols", "a protocol")
    }

    fn misused(&mut self, place: Place, message: &str, help: &str) {
        self.problems.push(Problem::error(Code::BadUpgrade, place, message).help(help));
    }
}
