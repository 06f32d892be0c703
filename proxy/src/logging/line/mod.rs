//! One line of the access log, as JSON, by the names of OpenTelemetry where they exist (experience.md
//! E.3). Written for every call: what is ours is copied as it is, and only what others said is looked
//! at for what JSON escapes.

mod figures;
mod told;

use std::{
    io::Write as _,
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cellwall_policy::{By, Decision, Protocol, Verdict};

use self::figures::{digit, fill, is_plain, second};
use super::shortened;
use crate::{
    flow::{FlowRecord, Party},
    http::Upgrade,
};

/// The name of a field, as it stands behind another one.
macro_rules! field {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

use field;

/// What a line begins with.
const BEGIN: &str = "{\"ts\":\"";

/// A line under way.
struct Line<'a>(&'a mut Vec<u8>);

/// Appends the line of `record`, with its end.
pub(super) fn append(record: &FlowRecord, to: &mut Vec<u8>) {
    let mut line = Line(to);
    line.begin(record);
    line.decision(record);
    line.parties(record);
    line.call(record);
    line.times(record);
    line.push("}\n");
}

impl Line<'_> {
    fn begin(&mut self, record: &FlowRecord) {
        let denied = record.decision.as_ref().is_some_and(|one| one.verdict == Verdict::Deny);
        let refused = record.close.refusal().is_some();
        self.push(BEGIN);
        self.moment(record.began);
        self.word(field!("level"), if denied || refused { "warn" } else { "info" });
        self.word(field!("kind"), record.kind.as_str());
        self.word(field!("cellwall.direction"), record.direction.as_str());
    }

    fn decision(&mut self, record: &FlowRecord) {
        let decision = record.decision.as_ref();
        match decision {
            Some(decision) => self.word(field!("cellwall.verdict"), decision.verdict.as_str()),
            None => self.null(field!("cellwall.verdict")),
        }
        match decision.map(|decision| &decision.by) {
            Some(By::Rule(name)) => self.text(field!("cellwall.by"), name),
            Some(other) => self.text(field!("cellwall.by"), &other.to_string()),
            None => self.null(field!("cellwall.by")),
        }
        self.word(field!("cellwall.reason"), record.close.as_str());
        self.word(field!("cellwall.fate"), record.fate.as_str());
        if record.attempts != 1 {
            self.number(field!("cellwall.attempts"), record.attempts.into());
        }
        if let Some(refusal) = record.close.refusal() {
            self.word(field!("cellwall.tls.reason"), refusal.as_str());
        }
        if let Some(id) = record.decision_id {
            self.text(field!("cellwall.decision"), &id.to_string());
        }
        match decision {
            Some(Decision { version, .. }) => {
                self.number(field!("cellwall.policy.version"), version.0);
            }
            None => self.null(field!("cellwall.policy.version")),
        }
    }

    fn parties(&mut self, record: &FlowRecord) {
        told::parties(record, |told| self.0.extend_from_slice(told));
        self.address(field!("network.peer.address"), record.remote.ip());
        self.number(field!("network.peer.port"), record.remote.port().into());
    }

    fn call(&mut self, record: &FlowRecord) {
        if record.protocol == Some(Protocol::Grpc) {
            self.word(field!("rpc.system.name"), "grpc");
        }
        if let Some(rpc) = &record.rpc {
            self.text(field!("rpc.method"), shortened(rpc));
        }
        if let Some(status) = record.grpc_status {
            self.number(field!("rpc.status_code"), status.into());
        }
        if let Some(method) = &record.method {
            self.text(field!("http.request.method"), shortened(method.as_str()));
        }
        if let Some(upgrade) = &record.upgrade {
            self.text(field!("cellwall.upgrade"), Upgrade::protocol(upgrade));
        }
        let route = record.decision.as_ref().and_then(|decision| decision.route.as_deref());
        self.text_or_null(field!("http.route"), route);
        if let Some(status) = record.status {
            self.number(field!("http.response.status_code"), status.into());
        }
    }

    fn times(&mut self, record: &FlowRecord) {
        self.seconds(field!("duration_s"), Some(record.duration));
        self.seconds(field!("decided_s"), record.decided);
        self.seconds(field!("upstream_s"), record.upstream);
        self.seconds(field!("first_byte_s"), record.first_byte);
        self.seconds(field!("request_end_s"), record.request_end);
        self.number(field!("request_bytes"), record.bytes.0);
        self.number(field!("response_bytes"), record.bytes.1);
        if let Some(trace) = &record.trace_id {
            self.text(field!("trace_id"), trace);
        }
    }

    fn party(&mut self, [workload, id]: [&'static str; 2], party: &Party) {
        self.text_or_null(workload, party.workload.as_deref());
        self.text_or_null(id, party.id.as_deref());
    }

    // In line: where the compiler knows the length of what is pushed it makes some stores of it, and no
    // call.
    #[inline(always)]
    fn push(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    #[inline(always)]
    fn null(&mut self, name: &'static str) {
        self.push(name);
        self.push("null");
    }

    /// A word of ours, which has nothing to escape.
    #[inline(always)]
    fn word(&mut self, name: &'static str, word: &'static str) {
        self.push(name);
        self.quoted(word);
    }

    /// A text that somebody else may have chosen (OBS-01).
    #[inline(always)]
    fn text(&mut self, name: &'static str, text: &str) {
        self.push(name);
        if is_plain(text.as_bytes()) {
            self.quoted(text);
        } else {
            let _ = serde_json::to_writer(&mut *self.0, text); // memory takes it
        }
    }

    fn quoted(&mut self, text: &str) {
        self.0.reserve(text.len() + 2);
        self.push("\"");
        self.push(text);
        self.push("\"");
    }

    #[inline(always)]
    fn text_or_null(&mut self, name: &'static str, text: Option<&str>) {
        match text {
            Some(text) => self.text(name, text),
            None => self.null(name),
        }
    }

    #[inline(always)]
    fn number(&mut self, name: &'static str, number: u64) {
        self.push(name);
        self.digits(number);
    }

    /// Seconds, to the nanosecond that was measured.
    #[inline(always)]
    fn seconds(&mut self, name: &'static str, time: Option<Duration>) {
        let Some(time) = time else { return self.null(name) };
        self.number(name, time.as_secs());
        self.fraction(time.subsec_nanos());
    }

    /// As RFC 3339 has it, in UTC.
    fn moment(&mut self, moment: SystemTime) {
        let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.0.extend_from_slice(&second(since.as_secs()));
        self.fraction(since.subsec_nanos());
        self.push("Z\"");
    }

    fn address(&mut self, name: &'static str, address: IpAddr) {
        self.push(name);
        self.push("\"");
        match address {
            IpAddr::V4(address) => {
                for (at, octet) in address.octets().into_iter().enumerate() {
                    self.push(if at == 0 { "" } else { "." });
                    self.digits(octet.into());
                }
            }
            IpAddr::V6(address) => {
                let _ = write!(self.0, "{address}"); // memory takes it
            }
        }
        self.push("\"");
    }

    fn digits(&mut self, number: u64) {
        if number < 10 {
            return self.0.push(digit(number as u32)); // most are
        }
        let (mut text, mut left, mut used) = ([b'0'; 20], number, 0);
        for place in text.iter_mut().rev() {
            if left == 0 {
                break;
            }
            *place = digit((left % 10) as u32);
            (left, used) = (left / 10, used + 1);
        }
        let (_, digits) = text.split_at_checked(text.len() - used).unwrap_or_default();
        self.0.extend_from_slice(digits);
    }

    /// What stands behind the whole of a second.
    fn fraction(&mut self, nanoseconds: u32) {
        let mut digits = [b'0'; 9];
        fill(&mut digits, nanoseconds);
        self.push(".");
        self.0.extend_from_slice(&digits);
    }
}

#[cfg(test)]
mod tests;
