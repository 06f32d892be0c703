//! Calls: `http: M[,M] /path/{id}`, `grpc: pkg.Service/Method`, `tcp: PORT`.

use cellwall_policy::{CallDocument, PathTemplate, is_grpc_name, is_http_method};

use super::{Reader, fields::Keys, upgrade::OF_WHAT_IS_ALLOWED};
use crate::{
    codes::Code,
    finding::Problem,
    syntax::{CallItem, Text},
    yaml::{Node, Value},
};

/// The keys of which a call has exactly one.
const PROTOCOLS: [&str; 3] = ["http", "grpc", "tcp"];

const CALL_KEYS: Keys = Keys {
    known: &["http", "grpc", "tcp", "upgrade", "idempotent"],
    later: &["headers", "rate"],
    elsewhere: &[],
};

/// A guard's call is one to keep out: nothing more is said of it.
const GUARD_CALL_KEYS: Keys = Keys {
    known: &["http", "grpc", "tcp"],
    later: &["headers", "rate"],
    elsewhere: &[
        ("idempotent", "it stands where a rule, a role or a grant allows the call"),
        OF_WHAT_IS_ALLOWED,
    ],
};

impl Reader<'_> {
    /// A list of calls that are allowed.
    pub(super) fn calls(&mut self, node: &Node) -> Vec<CallItem> {
        self.calls_with(node, &CALL_KEYS)
    }

    /// A list of calls of a guard.
    pub(super) fn guard_calls(&mut self, node: &Node) -> Vec<CallItem> {
        self.calls_with(node, &GUARD_CALL_KEYS)
    }

    fn calls_with(&mut self, node: &Node, keys: &Keys) -> Vec<CallItem> {
        let items = self.list(node, "a list of calls");
        if items.is_empty() && matches!(node.value, Value::List(_)) {
            let message = "a list of calls that names none";
            self.problems.push(Problem::error(Code::WrongType, node.place, message));
        }
        items.iter().filter_map(|item| self.call(item, keys)).collect()
    }

    fn call(&mut self, node: &Node, keys: &Keys) -> Option<CallItem> {
        let before = self.problems.len();
        let fields = self.fields(node, "a call", keys)?;
        let mut entries = fields.iter().filter(|(key, ..)| PROTOCOLS.contains(key));
        let (Some((protocol, _, value)), None) = (entries.next(), entries.next()) else {
            // An unknown key has been reported already.
            if self.problems.len() == before {
                let message = "a call has exactly one of `http`, `grpc` and `tcp`";
                self.problems.push(Problem::error(Code::BadCall, fields.place, message));
            }
            return None;
        };
        let call = match protocol {
            "http" => http(&self.text(value, "`METHOD /path`")?),
            "grpc" => grpc(&self.text(value, "`pkg.Service/Method`")?),
            _ => match &value.value {
                Value::Number(port) => tcp(*port),
                _ => {
                    let problem = self.wrong_type(value, "a port");
                    self.problems.push(problem);
                    return None;
                }
            },
        };
        match call {
            Ok(mut call) => {
                let idempotent = self.idempotent(&fields, &call);
                self.upgrade(&fields, &mut call);
                Some(CallItem { place: value.place, call, idempotent })
            }
            Err((message, help)) => {
                let problem = Problem::error(Code::BadCall, value.place, message).help(help);
                self.problems.push(problem);
                None
            }
        }
    }
}

/// A message and a help.
type Refusal = (String, String);

fn http(text: &Text) -> Result<CallDocument, Refusal> {
    let mut words = text.value.split_ascii_whitespace();
    let (Some(methods), Some(path), None) = (words.next(), words.next(), words.next()) else {
        let message = format!("`{}` is not `METHOD /path`", text.value);
        return Err((message, "for example `http: POST /v1/payments/{id}/capture`".to_owned()));
    };
    let methods: Vec<_> = methods.split(',').map(str::to_owned).collect();
    if let Some(bad) = methods.iter().find(|method| !is_http_method(method)) {
        let help = "methods are upper case, without `CONNECT` and `TRACE`: `GET,POST /path`";
        return Err((format!("`{bad}` is not a method that a call may name"), help.to_owned()));
    }
    match PathTemplate::parse(path) {
        Ok(_) => Ok(CallDocument::Http { methods, path: path.to_owned() }),
        Err(error) => {
            let help = "segments are literal or `{name}`; `{name...}` may stand last; `{name%2F}` also takes \
                        segments with `%2F`";
            Err((format!("not a path template: {error}"), help.to_owned()))
        }
    }
}

fn grpc(text: &Text) -> Result<CallDocument, Refusal> {
    let parts = text.value.split_once('/').filter(|(service, method)| {
        let single = is_grpc_name(method) && !method.contains('.');
        is_grpc_name(service) && (single || *method == "*")
    });
    match parts {
        Some((service, method)) => {
            Ok(CallDocument::Grpc { service: service.to_owned(), method: method.to_owned() })
        }
        None => {
            let message = format!("`{}` is not `pkg.Service/Method`", text.value);
            Err((message, "`pkg.Service/*` stands for all methods not named elsewhere".to_owned()))
        }
    }
}

fn tcp(port: u64) -> Result<CallDocument, Refusal> {
    match u16::try_from(port) {
        Ok(port) if port > 0 => Ok(CallDocument::Tcp { port }),
        _ => Err((format!("{port} is not a port"), "ports are 1 to 65535".to_owned())),
    }
}
