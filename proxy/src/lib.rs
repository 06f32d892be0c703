//! The sidecar of one workload: mutual TLS for every call, decided by the caller's SPIFFE ID.
//!
//! Start reading at [`hot_path`].

pub mod app;
pub mod args;
pub mod config;
mod doors;
pub mod hot_path;
pub mod logging;
pub mod metrics;
mod outbound;
mod probes;

mod admin;
mod ahead;
mod authority;
mod authz;
mod close;
mod control;
mod decision_id;
mod decisions;
mod directory;
mod drain;
mod flow;
mod flow_feed;
mod hardening;
mod heard;
mod http;
mod identity;
mod listener;
mod live;
mod memory;
mod pauses;
mod places;
mod policy_feed;
mod policy_intake;
mod policy_store;
mod relay;
mod reproof;
mod route;
mod seldom;
mod spans;
mod standing;
mod tunnels;
mod upstream;

pub use admin::{Admin, Configured};
pub use authz::{Authz, Denied, Permit, Probe};
pub use close::CloseReason;
pub use decision_id::DecisionId;
pub use decisions::{DecisionRecord, Decisions};
pub use directory::{Directory, Places};
pub use drain::{Drain, DrainWatch};
pub use flow::{Direction, FlowRecord, Flows, Kind, Outcome, Party};
pub use flow_feed::FlowFeed;
pub use hot_path::{Proxy, Served};
pub use identity::{Identities, Identity};
pub use listener::{Accepted, Callers, Declared, listen};
pub use live::{Live, Watch};
pub use logging::AccessLog;
pub use policy_feed::PolicyFeed;
pub use policy_intake::PolicyIntake;
pub use policy_store::{FolderError, PolicyStore};
pub use probes::Probes;
pub use reproof::Register;
pub use route::Destination;
pub use spans::{SpanFeed, Spans};
pub use standing::Standing;
pub use tunnels::TcpSessions;
pub use upstream::{Peers, Workload};

/// What the fuzz targets ask of a request's head. In no build but theirs.
#[cfg(fuzzing)]
pub fn request_head(data: &[u8]) {
    http::request_head(data);
}
