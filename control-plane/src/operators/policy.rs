//! What operators may change: the policy. And questions about it.

use std::{sync::Arc, time::SystemTime};

use axum::{
    Extension,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use cellwall_policy_language::Sources;
use http::{StatusCode, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    Operator, Operators,
    decisions::{self, Facts},
};
use crate::{
    clock::rfc3339,
    http::{Problem, document},
    policy_book::{Applied, ApplyError, Proposal},
    report::chain,
};

/// A policy of 100 000 rules fits; a mistake does not fill the memory.
const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;
const MAX_MESSAGE_BYTES: usize = 4096;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApplyRequest {
    sources: Sources,
    #[serde(default)]
    message: String,
}

/// A call that might be made, or one that was.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
enum ExplainRequest {
    #[serde(rename = "call")]
    Call(String),
    #[serde(rename = "decision")]
    Decision(Facts),
}

pub(super) async fn current(State(operators): State<Arc<Operators>>) -> Response {
    let edition = operators.book.edition();
    let Some(policy) = &edition.policy else { return no_policy(StatusCode::NOT_FOUND) };
    document(&json!({
        "epoch": edition.epoch,
        "version": edition.version.0,
        "digest": policy.digest.to_string(),
        "applied_at": rfc3339(policy.applied_at),
        "applied_by": policy.applied_by,
        "message": policy.message,
        "sources": policy.sources,
    }))
}

pub(super) async fn apply(
    State(operators): State<Arc<Operators>>,
    Extension(operator): Extension<Operator>,
    request: Request,
) -> Result<Response, Problem> {
    let ApplyRequest { sources, message } = body(request).await?;
    if message.len() > MAX_MESSAGE_BYTES {
        let detail = format!("message: longer than {MAX_MESSAGE_BYTES} bytes");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad request", detail));
    }
    let proposal = Proposal { sources, message, actor: operator.name() };
    // A task of its own: an operator who hangs up must not leave a version that is on the disk and
    // not in force.
    let book = operators.book.clone();
    let applying = async move { book.apply(proposal, SystemTime::now()).await };
    let applied = operators.drain.tasks().spawn(applying).await;
    let applied = applied.map_err(|error| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, "policy not applied", error.to_string())
    })?;
    let Applied { edition, tests } = applied.map_err(|error| refused(&error))?;
    let Some(policy) = &edition.policy else {
        return Ok(no_policy(StatusCode::INTERNAL_SERVER_ERROR));
    };
    let summary = policy.set.summary();
    Ok(document(&json!({
        "epoch": edition.epoch,
        "version": edition.version.0,
        "workloads": summary.workloads,
        "rules": summary.rules,
        "guards": summary.guards,
        "tests_passed": tests.passed(),
        "proxies": operators.fleet.list().len(),
    })))
}

pub(super) async fn explain(
    State(operators): State<Arc<Operators>>,
    request: Request,
) -> Result<Response, Problem> {
    let call = match body(request).await? {
        ExplainRequest::Call(call) => call,
        ExplainRequest::Decision(facts) => return decisions::explain(&operators, &facts).await,
    };
    let edition = operators.book.edition();
    let seek = move || {
        let policy = edition.policy.as_ref()?;
        let explained = policy.set.explain(&call, SystemTime::now());
        Some(explained.map(|mut explanation| {
            explanation.fix = policy.set.fix(&policy.sources, &explanation);
            explanation
        }))
    };
    match operators.explainer.answer(seek).await? {
        Some(Ok(explanation)) => Ok(document(&explanation)),
        Some(Err(error)) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            Err(Problem::new(status, "not a call", chain(&error)))
        }
        None => Ok(no_policy(StatusCode::UNPROCESSABLE_ENTITY)),
    }
}

fn no_policy(status: StatusCode) -> Response {
    Problem::new(status, "no policy", "no policy has been applied yet").into_response()
}

fn refused(error: &ApplyError) -> Problem {
    let detail = chain(error);
    let because = |status| Problem::new(status, "policy refused", detail.clone());
    match error {
        ApplyError::Findings(findings) => {
            because(StatusCode::UNPROCESSABLE_ENTITY).with("findings", findings)
        }
        ApplyError::Tests(report) => {
            because(StatusCode::UNPROCESSABLE_ENTITY).with("tests", report)
        }
        ApplyError::TrustDomain { .. } | ApplyError::Entries(_) | ApplyError::Json(_) => {
            because(StatusCode::UNPROCESSABLE_ENTITY)
        }
        ApplyError::Voucher(_) | ApplyError::Store(_) => because(StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// A JSON body, and said to be one: a form that a browser posts is not (ADM-04).
async fn body<T: DeserializeOwned>(request: Request<Body>) -> Result<T, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "bad request", detail);
    let kind = request.headers().get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    if kind != Some(b"application/json") {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let detail = "content-type: application/json is required";
        return Err(Problem::new(status, "unsupported media type", detail));
    }
    let body = to_bytes(request.into_body(), MAX_BODY_BYTES).await;
    let body = body.map_err(|error| bad(format!("body: {error}")))?;
    serde_json::from_slice(&body).map_err(|error| bad(format!("body: {error}")))
}
