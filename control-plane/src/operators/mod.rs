//! The operators' API: HTTP and JSON over a unix socket that only our own user and root may use.

mod decisions;
mod explainer;
mod listener;
mod policy;
mod views;

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use axum::{
    Router,
    routing::{get, post},
};
use cellwall_agent::Holdings;
use http::StatusCode;
use spiffe::TrustDomain;

use crate::{
    authority::Authority, distribution::Fleet, drain::Drain, http::Problem, ledger::Ledger,
    policy_book::PolicyBook, store::Store,
};

pub use explainer::Explainer;
pub use listener::{Operator, serve};

/// What the API is about.
#[derive(Clone, Debug)]
pub struct Operators {
    /// Where this process listens, and since when.
    pub process: ProcessFacts,
    /// Who signs.
    pub authority: Arc<Authority>,
    /// The policy in force, and the one way to replace it.
    pub book: Arc<PolicyBook>,
    /// Who is connected.
    pub fleet: Fleet,
    /// Which certificates are in use.
    pub holdings: Holdings,
    /// What was decided.
    pub ledger: Ledger,
    /// What was recorded.
    pub store: Store,
    /// Answers what takes long.
    pub explainer: Explainer,
    /// Runs the connections.
    pub drain: Drain,
}

/// What does not change while the process runs.
#[derive(Clone, Debug)]
pub struct ProcessFacts {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Where sidecars connect.
    pub mesh: String,
    /// Where health and metrics are.
    pub health: String,
    /// The Workload API's socket.
    pub workload_socket: PathBuf,
    /// This API's socket.
    pub operator_socket: PathBuf,
    /// Since when.
    pub started_at: SystemTime,
}

fn router(operators: Operators) -> Router {
    Router::new()
        .route("/v1/status", get(views::status))
        .route("/v1/identities", get(views::identities))
        .route("/v1/proxies", get(views::proxies))
        .route("/v1/policy", get(policy::current).post(policy::apply))
        .route("/v1/explain", post(policy::explain))
        .route("/v1/decisions", get(decisions::recent))
        .route("/v1/decisions/{id}", get(decisions::one))
        .route("/v1/edges", get(decisions::edges))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "not found", "no such resource"))
        .method_not_allowed_fallback(async || {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            Problem::new(status, "method not allowed", "this resource has other methods")
        })
        .with_state(Arc::new(operators))
}
