//! What one callee enforces, as plain data: the payload that is signed and sent.
//!
//! Every struct refuses fields it does not know, and the schema number is read first: an old proxy
//! must refuse a new condition, never skip it (AZ-08).

use serde::{Deserialize, Serialize};

use crate::{Condition, IdentityHeader, ListensDocument, Tolerated};

/// The one schema that this release reads and writes.
pub const SCHEMA: u32 = 2;

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
    /// What the callee speaks, and on which ports: at least one listener, each port once.
    pub listens: Vec<ListensDocument>,
    /// The headers that tell the callee's workload who calls: at least one, each once. Where it is
    /// [`IdentityHeader::USUAL`], it is not written.
    #[serde(default = "IdentityHeader::usual", skip_serializing_if = "IdentityHeader::are_usual")]
    pub identity_headers: Vec<IdentityHeader>,
    /// The identity template, such as `spiffe://pay.example/{env}/{workload}`.
    pub identity: String,
    /// The workloads that a statement below names; where one is about all of them, all.
    pub callers: Vec<CallerDocument>,
    /// The SPIFFE IDs of other trust domains that a statement below names, canonical.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub foreign: Vec<String>,
    /// What is allowed. A rule whose condition differs by caller stands here in parts of one name.
    pub rules: Vec<RuleDocument>,
    /// What is allowed for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<GrantDocument>,
    /// What is denied, whatever the rules say. In parts of one name, like rules.
    pub guards: Vec<GuardDocument>,
    /// What the node may ask without an identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<ProbeDocument>,
    /// The workloads that the callee itself calls, each with the identity to insist on.
    pub destinations: Vec<DestinationDocument>,
}

/// What becomes of a call that nothing allows.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is denied.
    #[default]
    Enforce,
    /// It passes, recorded as `audit`.
    Audit,
}

impl Mode {
    /// Whether what is not allowed is denied.
    pub const fn is_enforce(&self) -> bool {
        matches!(self, Self::Enforce)
    }

    /// The word that documents use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Audit => "audit",
        }
    }
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
    /// In a guard: everyone whom neither `callers` nor `foreign` lists. In a rule: nobody.
    Unknown,
    /// These: names of workloads, and IDs of `foreign`.
    Named(Vec<String>),
}

/// An allow rule, or a part of one.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RuleDocument {
    /// Its name.
    pub name: String,
    /// Whom it lets in.
    pub from: Callers,
    /// What they may call.
    pub calls: Vec<CallDocument>,
    /// Under which condition, as far as it is not known when this is compiled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// The variables of the identity template in which the two sides may differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub across: Vec<String>,
}

/// An allow rule for a while: from `starts`, and no longer when `expires` has come.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GrantDocument {
    /// What it allows.
    pub rule: RuleDocument,
    /// The first second, in Unix seconds.
    pub starts: u64,
    /// The second at which it is over, in Unix seconds.
    pub expires: u64,
}

/// A call that a rule allows.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum CallDocument {
    /// Requests by one of these methods whose path the template matches.
    Http {
        /// The methods, upper case. `GET+websocket` beside `GET`: the request may ask to go on in
        /// that protocol.
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

impl Default for Callers {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
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

/// A deny rule, or a part of one. It wins over every allow rule.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GuardDocument {
    /// Its name.
    pub name: String,
    /// Whom it keeps out.
    pub from: Callers,
    /// Whom it does not.
    pub except: Vec<String>,
    /// Which calls it denies, whoever else declares them; every call if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CallDocument>,
    /// Under which condition, as far as it is not known when this is compiled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// `audit`: what it would deny passes, if something else lets it pass, and is recorded.
    #[serde(default, skip_serializing_if = "Mode::is_enforce")]
    pub mode: Mode,
}

/// A request that needs no identity and no rule, if it comes from the node itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeDocument {
    /// The method, upper case.
    pub method: String,
    /// The path, canonical and without parameters.
    pub path: String,
}

/// A workload that the callee calls.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DestinationDocument {
    /// How the callee's sidecar names it: `payments`, `staging/payments`, or `payments:9443` for
    /// one of several listeners.
    pub name: String,
    /// The SPIFFE ID that must answer there.
    pub id: String,
    /// What is spoken there.
    pub protocol: Protocol,
    /// What it tolerates in a path, in whichever of its templates.
    #[serde(default, skip_serializing_if = "Tolerated::is_nothing")]
    pub tolerates: Tolerated,
    /// Which calls may be made twice there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub idempotent: Vec<IdempotentDocument>,
}

/// A call of a destination that may be made twice; or one that may not, but owns some of the requests
/// that another one's template matches.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IdempotentDocument {
    /// The call.
    pub call: CallDocument,
    /// By what a request of it shows that it may be sent again; `None`: it may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<IdempotentBy>,
}

/// By what a request shows that sending it twice does no more than sending it once.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IdempotentBy {
    /// By its HTTP method.
    Method,
    /// By its one `Idempotency-Key`, which the callee looks up before it acts.
    Key,
}
