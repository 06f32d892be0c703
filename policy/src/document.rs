//! What one callee enforces, as plain data: the payload that is signed and sent.
//!
//! Every struct refuses fields it does not know, and the schema number is read first: an old proxy
//! must refuse a new condition, never skip it (AZ-08).

use serde::{Deserialize, Serialize};

/// The one schema that this release reads and writes.
pub const SCHEMA: u32 = 1;

/// Everything that one callee needs to decide, and nothing else (POL-04).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotDocument {
    /// The form of this document: [`SCHEMA`].
    pub schema: u32,
    /// The name of the trust domain, canonical.
    pub trust_domain: String,
    /// The SPIFFE ID that this snapshot is for, canonical and whole.
    pub callee: String,
    /// The callee's name in the documents.
    pub workload: String,
    /// Raised when the control plane was restored. Larger is newer, whatever the version.
    pub epoch: u64,
    /// Which publication of the policy this is. Larger is newer within an epoch.
    pub version: u64,
    /// SHA-256 of the published documents, in 64 lower-case hexadecimal digits. One epoch and
    /// version have one digest.
    pub digest: String,
    /// When it was compiled, in Unix seconds.
    pub issued_at: u64,
    /// How long without the control plane is worth an alarm. The snapshot stays in force (POL-03).
    pub max_age_seconds: u64,
    /// The mode of the callee's segment.
    pub mode: Mode,
    /// What the callee speaks, and where.
    pub listens: ListensDocument,
    /// The identity template, such as `spiffe://pay.example/{env}/{workload}`.
    pub identity: String,
    /// The workloads that a rule or guard below names; in an `audit` segment, all of them.
    pub callers: Vec<CallerDocument>,
    /// What is allowed.
    pub rules: Vec<RuleDocument>,
    /// What is denied, whatever the rules say.
    pub guards: Vec<GuardDocument>,
    /// The workloads that the callee itself calls, each with the identity to insist on.
    pub destinations: Vec<DestinationDocument>,
}

/// What becomes of a call that nothing allows.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is denied.
    Enforce,
    /// It passes, recorded as `audit`.
    Audit,
}

/// What a workload speaks. Declared, never guessed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP: decided per request, by method and path.
    Http,
    /// gRPC: decided per request, by service and method.
    Grpc,
    /// Bytes: decided per connection.
    Tcp,
}

impl Protocol {
    /// The word that documents, logs and metrics use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
        }
    }
}

/// A listener: one per workload in this release.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListensDocument {
    /// What is spoken there.
    pub protocol: Protocol,
    /// The declared port, 1 to 65535.
    pub port: u16,
}

/// A workload that may appear as a caller.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CallerDocument {
    /// Its name.
    pub name: String,
    /// The path of its SPIFFE IDs where it is not the template's, such as `/{env}/vm/ledger-db`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// A set of callers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Callers {
    /// In a rule: every workload that `callers` lists. In a guard: everyone, known or not.
    Any,
    /// These workloads, by name.
    Named(Vec<String>),
}

/// An allow rule.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RuleDocument {
    /// Its name, unique among the rules.
    pub name: String,
    /// Whom it lets in.
    pub from: Callers,
    /// What they may call.
    pub calls: Vec<CallDocument>,
}

/// A call that a rule allows.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum CallDocument {
    /// Requests by one of these methods whose path the template matches.
    Http {
        /// The methods, upper case.
        methods: Vec<String>,
        /// The path template.
        path: String,
    },
    /// Requests to a method of a gRPC service.
    Grpc {
        /// The full name of the service.
        service: String,
        /// The method, or `*` for all that no other call of this callee names.
        method: String,
    },
    /// Connections to the declared port.
    Tcp {
        /// The port.
        port: u16,
    },
}

impl CallDocument {
    /// What the call is spoken in.
    pub const fn protocol(&self) -> Protocol {
        match self {
            Self::Http { .. } => Protocol::Http,
            Self::Grpc { .. } => Protocol::Grpc,
            Self::Tcp { .. } => Protocol::Tcp,
        }
    }
}

/// A deny rule. It wins over every allow rule.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GuardDocument {
    /// Its name, unique among the guards.
    pub name: String,
    /// Whom it keeps out.
    pub from: Callers,
    /// Whom it does not.
    pub except: Vec<String>,
}

/// A workload that the callee calls.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DestinationDocument {
    /// How the callee's sidecar names it: `payments`, or `staging/payments`.
    pub name: String,
    /// The SPIFFE ID that must answer there.
    pub id: String,
    /// What is spoken there.
    pub protocol: Protocol,
}
