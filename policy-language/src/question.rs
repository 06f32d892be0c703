//! `ENV/A -> ENV/B CALL`: what a test and `explain` ask.

use std::ops::Range;

use cellwall_policy::{AmbiguousPath, RequestPath, Tolerated, is_call_method, is_grpc_name};

/// A question, not yet looked up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Question {
    pub(crate) caller: Side,
    pub(crate) callee: Side,
    pub(crate) call: Asked,
    /// The call as it was written.
    pub(crate) call_text: String,
    /// Where the call stands in the text.
    pub(crate) call_range: Range<usize>,
}

/// `ENV/WORKLOAD`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Side {
    /// The variables' values joined by `/`.
    pub(crate) environment: String,
    pub(crate) workload: String,
    /// Where the side stands in the text.
    pub(crate) range: Range<usize>,
}

/// What is called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Asked {
    /// A method, or what the request asks for: `GET+websocket`.
    Http {
        method: String,
        path: String,
    },
    Grpc {
        service: String,
        method: String,
    },
    Tcp {
        port: u16,
    },
}

/// Why a text is no question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct NoQuestion {
    pub(crate) message: String,
    pub(crate) range: Range<usize>,
}

/// A word and where it stands.
#[derive(Clone, Copy, Debug)]
struct Word<'a> {
    text: &'a str,
    start: usize,
}

impl Word<'_> {
    const fn range(&self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }
}

/// Reads a question.
pub(crate) fn parse(text: &str) -> Result<Question, NoQuestion> {
    let whole = || NoQuestion {
        message: "expected `ENV/A -> ENV/B CALL`".to_owned(),
        range: 0..text.len(),
    };
    let words = words(text);
    let mut rest = words.iter().copied();
    let (Some(caller), Some(arrow), Some(callee)) = (rest.next(), rest.next(), rest.next()) else {
        return Err(whole());
    };
    if arrow.text != "->" {
        return Err(whole());
    }
    let (Some(first), second, None) = (rest.next(), rest.next(), rest.next()) else {
        return Err(whole());
    };
    let call_range = first.start..second.unwrap_or(first).range().end;
    Ok(Question {
        caller: side(caller),
        callee: side(callee),
        call: match second {
            Some(path) => http(first, path)?,
            None => other(first)?,
        },
        call_text: text.get(call_range.clone()).unwrap_or_default().to_owned(),
        call_range,
    })
}

fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut start = 0;
    for text in text.split(' ') {
        if !text.is_empty() {
            words.push(Word { text, start });
        }
        start += text.len() + 1;
    }
    words
}

fn side(word: Word<'_>) -> Side {
    let (environment, workload) = word.text.rsplit_once('/').unwrap_or(("", word.text));
    Side { environment: environment.to_owned(), workload: workload.to_owned(), range: word.range() }
}

fn http(method: Word<'_>, path: Word<'_>) -> Result<Asked, NoQuestion> {
    if !is_call_method(method.text) {
        let message = format!("`{}` is not a method", method.text);
        return Err(NoQuestion { message, range: method.range() });
    }
    // Whether its callee tolerates it is seen when that is looked up.
    match RequestPath::tolerating(path.text, Tolerated::EncodedSlash) {
        Ok(canonical) => {
            Ok(Asked::Http { method: method.text.to_owned(), path: canonical.as_str().to_owned() })
        }
        Err(error) => Err(NoQuestion { message: refused(error), range: path.range() }),
    }
}

/// What becomes of a request whose path is not read.
fn refused(error: AmbiguousPath) -> String {
    format!("answered 400 before any rule: {error}")
}

impl Question {
    /// Why a callee that tolerates this never asks its policy; `None` where it does.
    pub(crate) fn refused(&self, tolerated: Tolerated) -> Option<String> {
        match &self.call {
            Asked::Http { path, .. } => RequestPath::tolerating(path, tolerated).err().map(refused),
            Asked::Grpc { .. } | Asked::Tcp { .. } => None,
        }
    }
}

fn other(word: Word<'_>) -> Result<Asked, NoQuestion> {
    let refuse = |message: &str| NoQuestion { message: message.to_owned(), range: word.range() };
    if let Some(port) = word.text.strip_prefix("tcp:") {
        let port = port.parse().ok().filter(|port| *port > 0);
        return port.map(|port| Asked::Tcp { port }).ok_or_else(|| refuse("not a port"));
    }
    match word.text.split_once('/') {
        Some((service, method))
            if is_grpc_name(service) && is_grpc_name(method) && !method.contains('.') =>
        {
            Ok(Asked::Grpc { service: service.to_owned(), method: method.to_owned() })
        }
        _ => Err(refuse("expected `METHOD /path`, `pkg.Service/Method` or `tcp:PORT`")),
    }
}
