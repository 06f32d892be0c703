//! The audit log: one record for each act of authority, each chained to the one before (OBS-05).

use std::time::SystemTime;

use aws_lc_rs::digest::{Context, SHA256};
use serde_json::Value;

/// What comes before the first record.
pub const GENESIS: [u8; 32] = [0; 32];
/// The chain's hashes mean nothing elsewhere.
const CONTEXT: &[u8] = b"cellwall audit record v1\0";

/// What was done. A closed set: a new act of authority is a new variant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Act {
    /// A trust domain, its authority and its policy key were made.
    TrustDomainFounded,
    /// A certificate was signed. Written before the certificate leaves (CA-08).
    SvidIssued,
    /// A policy version was put in force.
    PolicyApplied,
    /// An operator raised the epoch, after a restore.
    EpochRaised,
}

/// One act, who did it, and what exactly.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// When.
    pub at: SystemTime,
    /// What.
    pub act: Act,
    /// Who: `uid:1000 pid:4242`, `cellwalld`.
    pub actor: String,
    /// A JSON object with the particulars.
    pub detail: Value,
}

/// The text of a record as it is stored and hashed.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Position in the log, from 1, without gaps.
    pub sequence: i64,
    /// Milliseconds since 1970.
    pub at: i64,
    /// The name of the act.
    pub kind: &'a str,
    /// Who.
    pub actor: &'a str,
    /// JSON.
    pub detail: &'a str,
}

/// The whole log was read, and this is its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// The last record's position; 0 if there is none.
    pub sequence: i64,
    /// When it was written, in milliseconds since 1970.
    pub at: i64,
}

/// The log is not what was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the audit log was changed at or before record {sequence}")]
pub struct Broken {
    /// The first record that does not fit.
    pub sequence: i64,
}

impl Act {
    /// The name in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TrustDomainFounded => "trust_domain.founded",
            Self::SvidIssued => "svid.issued",
            Self::PolicyApplied => "policy.applied",
            Self::EpochRaised => "epoch.raised",
        }
    }
}

impl Line<'_> {
    /// The record's hash, which covers its position and the hash of the one before.
    pub fn hash(&self, previous: &[u8]) -> Vec<u8> {
        let mut context = Context::new(&SHA256);
        context.update(CONTEXT);
        context.update(previous);
        context.update(&self.sequence.to_be_bytes());
        context.update(&self.at.to_be_bytes());
        for text in [self.kind, self.actor, self.detail] {
            // The length first: text must not move from one field to the next.
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        }
        context.finish().as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::{GENESIS, Line};

    #[test]
    fn every_field_and_every_record_before_is_in_the_hash() {
        let line = Line { sequence: 1, at: 2, kind: "ab", actor: "c", detail: "{}" };
        let hash = line.hash(&GENESIS);
        for other in [
            Line { sequence: 2, ..line },
            Line { at: 3, ..line },
            Line { kind: "a", actor: "bc", ..line },
            Line { actor: "", detail: "c{}", ..line },
            Line { detail: "{ }", ..line },
        ] {
            assert_ne!(other.hash(&GENESIS), hash, "{other:?}");
        }
        assert_ne!(line.hash(&hash), hash);
    }
}
