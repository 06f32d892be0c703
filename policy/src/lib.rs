//! Who may call whom: the model, its signed wire form and the one decision function.
//!
//! Pure: no I/O, no clock, no async, no parser of policy documents. The control plane compiles a
//! [`SnapshotDocument`] for one callee and signs it; the callee's proxy opens it with a
//! [`PolicyKey`] and asks the [`Snapshot`] about every connection and every request.

mod calls;
mod condition;
mod decide;
mod document;
mod identity;
mod introduction;
mod listens;
mod lookup;
mod names;
mod path;
mod publication;
mod signed;
mod snapshot;
mod statements;
mod template;
mod upgrade;

pub use calls::{CallError, Idempotent, MAX_HTTP_TEMPLATES, is_idempotent_method};
pub use condition::{Condition, ConditionError, Operand, Tls, TlsFact, Truth};
pub use decide::{By, Call, Decision, PolicyVersion, Verdict};
pub use document::{
    CallDocument, CallerDocument, Callers, DestinationDocument, GrantDocument, GuardDocument,
    IdempotentBy, IdempotentDocument, Mode, ProbeDocument, Protocol, RuleDocument, SCHEMA,
    SnapshotDocument,
};
pub use identity::{
    IdentityError, IdentityTemplate, MAX_ID_BYTES, Shape, canonical_id, is_path_segment,
    is_reserved,
};
pub use introduction::{IdentityHeader, Introduction};
pub use listens::{HttpVersion, ListensDocument};
pub use names::{MAX_NAME_BYTES, is_destination, is_grant_name, is_name};
pub use path::{AmbiguousPath, MAX_ENCODED_SLASHES, RequestPath, Tolerated};
pub use publication::{Digest, NotADigest, NotNewer, Publication};
pub use signed::{
    KeyError, MAX_PAYLOAD_BYTES, OpenError, PolicyKey, PolicySigner, SignError, SignedSnapshot,
};
pub use snapshot::{Destination, Snapshot, SnapshotError};
pub use template::{Conflict, PathTemplate, TemplateError, is_grpc_name, is_http_method};
pub use upgrade::{is_call_method, is_upgrade, upgrade_of, upgrade_to, wire_method};
