//! Calls that are the same but for when they were made, counted.

use std::collections::HashMap;

use cellwall_policy_language::{Ask, parse_instant};

/// The most kinds of calls that are told apart; callers choose methods.
const MAX_KINDS: usize = 1_000_000;
/// The most unreadable lines that are remembered.
const MAX_REASONS: usize = 16;
/// The bytes of `2026-03-02T10:00:00`.
const SECOND_BYTES: usize = 19;

/// Every kind of call that was read.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    kinds: HashMap<Vec<u8>, Tally>,
    key: Vec<u8>,
    /// Lines that are no decided inbound call.
    pub(super) other: u64,
    /// Lines that cannot be read, and why the first of them cannot.
    pub(super) unreadable: u64,
    pub(super) reasons: Vec<String>,
    /// Calls of kinds beyond the most that are told apart.
    pub(super) beyond: u64,
}

/// One kind of call.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) entry: Entry,
    pub(super) count: u64,
    /// To the second, UTC.
    last: [u8; SECOND_BYTES],
}

/// What is the same.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    pub(super) caller: String,
    pub(super) callee: String,
    pub(super) call: What,
    /// Empty if it is not recorded.
    pub(super) verdict: String,
}

/// What was called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum What {
    Http { method: String, route: Option<String> },
    Grpc(String),
    Tcp(Option<u16>),
    Unmatched,
}

/// A call as a line has it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) caller: &'a [u8],
    pub(super) callee: &'a [u8],
    pub(super) verdict: &'a [u8],
    pub(super) method: &'a [u8],
    pub(super) route: &'a [u8],
    pub(super) rpc: &'a [u8],
    /// `METHOD /path/{template}`, `pkg.Service/Method` or `tcp:PORT`, of a ledger.
    pub(super) call: &'a [u8],
    pub(super) at: &'a [u8],
    pub(super) count: u64,
}

impl Tallies {
    /// Counts calls.
    pub(super) fn add(&mut self, fields: &Fields<'_>) -> Result<(), &'static str> {
        self.key.clear();
        let Fields { caller, callee, verdict, method, route, rpc, call, .. } = fields;
        for part in [caller, callee, verdict, method, route, rpc, call] {
            self.key.extend_from_slice(part);
            self.key.push(0);
        }
        let last = second(fields.at)?;
        if let Some(tally) = self.kinds.get_mut(&self.key) {
            tally.count = tally.count.saturating_add(fields.count);
            tally.last = tally.last.max(last);
            return Ok(());
        }
        let entry = fields.entry()?;
        if self.kinds.len() >= MAX_KINDS {
            self.beyond = self.beyond.saturating_add(fields.count);
            return Ok(());
        }
        self.kinds.insert(self.key.clone(), Tally { entry, count: fields.count, last });
        Ok(())
    }

    /// Notes a line that cannot be read.
    pub(super) fn refuse(&mut self, place: &str, reason: &str) {
        self.unreadable += 1;
        if self.reasons.len() < MAX_REASONS {
            self.reasons.push(format!("{place} ({reason})"));
        }
    }

    /// Each kind, in an order that does not depend on the run.
    pub(super) fn each(&self) -> Vec<&Tally> {
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by_key(|(key, _)| *key);
        kinds.into_iter().map(|(_, tally)| tally).collect()
    }

    /// How many calls are counted.
    pub(super) fn calls(&self) -> u64 {
        self.kinds.values().map(|tally| tally.count).sum()
    }
}

impl Tally {
    /// When the last call was; empty if that is not recorded.
    pub(super) fn last(&self) -> String {
        let text = String::from_utf8_lossy(&self.last);
        if text.starts_with('\0') { String::new() } else { format!("{text}Z") }
    }
}

impl Fields<'_> {
    fn entry(&self) -> Result<Entry, &'static str> {
        let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err("not UTF-8 text"),
        };
        let verdict = text(self.verdict)?;
        if !matches!(verdict.as_str(), "" | "allow" | "deny" | "audit") {
            return Err("the verdict is not allow, deny or audit");
        }
        if self.callee.is_empty() {
            return Err("no callee");
        }
        let (method, route, rpc) = (text(self.method)?, text(self.route)?, text(self.rpc)?);
        let port = |text: &str| text.strip_prefix("tcp:").and_then(|port| port.parse().ok());
        let call = match text(self.call)? {
            call if call.is_empty() && !rpc.is_empty() => What::Grpc(rpc),
            call if call.is_empty() && !method.is_empty() => {
                What::Http { method, route: Some(route).filter(|route| !route.is_empty()) }
            }
            call if call.is_empty() && (port(&route).is_some() || self.is_connection()) => {
                What::Tcp(port(&route))
            }
            call if call.is_empty() => What::Unmatched,
            call => match (port(&call), call.split_once(' ')) {
                (Some(port), _) => What::Tcp(Some(port)),
                (None, Some((method, route))) => {
                    What::Http { method: method.to_owned(), route: Some(route.to_owned()) }
                }
                (None, None) => What::Grpc(call),
            },
        };
        Ok(Entry { caller: text(self.caller)?, callee: text(self.callee)?, call, verdict })
    }

    /// Whether the line is one of an access log about bytes, which have neither method nor RPC.
    const fn is_connection(&self) -> bool {
        self.method.is_empty() && self.rpc.is_empty() && self.count == 1 && !self.at.is_empty()
    }
}

impl What {
    pub(super) fn ask(&self) -> Ask<'_> {
        match self {
            Self::Http { method, route } => Ask::Http { method, route: route.as_deref() },
            Self::Grpc(text) => Ask::Grpc(text),
            Self::Tcp(port) => Ask::Tcp(*port),
            Self::Unmatched => Ask::Unmatched,
        }
    }

    pub(super) fn text(&self) -> String {
        let text = match self {
            Self::Http { method, route: Some(route) } => format!("{method} {route}"),
            Self::Http { method, route: None } => format!("{method} (no template)"),
            Self::Grpc(text) => text.clone(),
            Self::Tcp(Some(port)) => format!("tcp:{port}"),
            Self::Tcp(None) => "tcp".to_owned(),
            Self::Unmatched => "(no template)".to_owned(),
        };
        // Callers choose methods: nothing of them may steer a terminal.
        text.chars().map(|it| if it.is_control() { '?' } else { it }).collect()
    }
}

/// The second of an RFC 3339 time in UTC.
fn second(text: &[u8]) -> Result<[u8; SECOND_BYTES], &'static str> {
    if text.is_empty() {
        return Ok([0; SECOND_BYTES]);
    }
    let utc = || {
        let (second, rest) = text.split_first_chunk::<SECOND_BYTES>()?;
        let ends = rest.last() == Some(&b'Z');
        let is_date = second.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            10 => *byte == b'T',
            13 | 16 => *byte == b':',
            _ => byte.is_ascii_digit(),
        });
        (ends && is_date).then_some(*second)
    };
    let other = || {
        let at = parse_instant(std::str::from_utf8(text).ok()?)?;
        let seconds = at.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
        super::super::utc(seconds).into_bytes().first_chunk().copied()
    };
    utc().or_else(other).ok_or("the time is not RFC 3339")
}
