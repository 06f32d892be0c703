//! What was decided, as sidecars reported it, and why.

use std::{str::FromStr, sync::Arc, time::SystemTime};

use axum::{
    extract::{Path, RawQuery, State},
    response::Response,
};
use cellwall_policy::PolicyVersion;
use cellwall_policy_language::{
    DecidedCall, ExplainError, Explanation, PastCall, PolicySet, parse_instant,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Operators;
use crate::{
    clock::{rfc3339, rfc3339_milliseconds},
    http::{Problem, document},
    policy_book::Edition,
    report::chain,
    store::{EdgeTotals, ReadError, StoredDecision},
};

/// How many are shown when nobody says how many, and at most.
const SHOWN: u32 = 50;
const MAX_SHOWN: u32 = 1000;

/// A decision that was made, as much of it as decides: the fields of a decision document.
#[derive(Debug, Deserialize)]
pub(super) struct Facts {
    caller: String,
    callee: String,
    protocol: String,
    method: Option<String>,
    rpc: Option<String>,
    route: Option<String>,
    policy_version: Option<u64>,
    /// RFC 3339; now, if it is missing.
    at: Option<String>,
}

/// How a set is asked: as the one that decided, or as another.
type Explain = fn(&PolicySet, &PastCall) -> Result<Explanation, ExplainError>;

/// What one version of the policy says to it.
#[derive(Debug, Serialize)]
struct Verdict {
    version: u64,
    applied_at: Option<String>,
    applied_by: Option<String>,
    message: Option<String>,
    explanation: Option<Explanation>,
    /// Why there is no explanation.
    unexplained: Option<String>,
}

pub(super) async fn one(
    State(operators): State<Arc<Operators>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    match operators.ledger.reader.decision(&id).await.map_err(unreadable)? {
        Some(stored) => Ok(document(&json!({ "decision": shown(stored) }))),
        None => {
            let detail = "no sidecar has reported it, or it is forgotten";
            Err(Problem::new(StatusCode::NOT_FOUND, "no such decision", detail))
        }
    }
}

pub(super) async fn recent(
    State(operators): State<Arc<Operators>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let limit = limit(query.as_deref())?;
    let stored = operators.ledger.reader.decisions(limit).await.map_err(unreadable)?;
    let decisions: Vec<Value> = stored.into_iter().map(shown).collect();
    Ok(document(&json!({ "decisions": decisions })))
}

pub(super) async fn edges(
    State(operators): State<Arc<Operators>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let limit = limit(query.as_deref())?;
    let totals = operators.ledger.reader.edges(limit).await.map_err(unreadable)?;
    let edges: Vec<Value> = totals.into_iter().map(edge).collect();
    Ok(document(&json!({ "edges": edges })))
}

/// Why a call was decided as it was: by the policy that decided, and by the one in force.
pub(super) async fn explain(operators: &Operators, facts: &Facts) -> Result<Response, Problem> {
    let past = facts.call()?;
    let current = operators.book.edition();
    let then = match facts.policy_version {
        Some(version) => Some(then(operators, PolicyVersion(version), &past).await?),
        None => None,
    };
    let now = if then.as_ref().is_none_or(|then| then.version != current.version.0) {
        let seek = move || verdict(&current, &past, PolicySet::explain_past_anew);
        Some(operators.explainer.answer(seek).await?)
    } else {
        None
    };
    Ok(document(&json!({ "then": then, "now": now })))
}

impl Facts {
    fn call(&self) -> Result<PastCall, Problem> {
        let bad =
            |detail: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "not a call", detail);
        let call = match self.protocol.as_str() {
            "http" => DecidedCall::Http {
                method: self.method.clone().ok_or_else(|| bad("http has a method"))?,
                route: self.route.clone(),
            },
            "grpc" => DecidedCall::Grpc(self.rpc.clone().ok_or_else(|| bad("grpc has an rpc"))?),
            "tcp" => DecidedCall::tcp(self.route.as_deref()),
            _ => return Err(bad("protocol: not http, grpc or tcp")),
        };
        let at = match self.at.as_deref() {
            Some(at) => parse_instant(at).ok_or_else(|| bad("at: not RFC 3339"))?,
            None => SystemTime::now(),
        };
        Ok(PastCall { caller: self.caller.clone(), callee: self.callee.clone(), call, at })
    }
}

async fn then(
    operators: &Operators,
    version: PolicyVersion,
    past: &PastCall,
) -> Result<Verdict, Problem> {
    let unexplained = match operators.book.past(version).await {
        Ok(Some(edition)) => {
            let past = past.clone();
            let seek = move || verdict(&edition, &past, PolicySet::explain_past);
            return operators.explainer.answer(seek).await;
        }
        Ok(None) => "this version is not in the policy book".to_owned(),
        Err(error) => chain(&error),
    };
    Ok(Verdict {
        version: version.0,
        applied_at: None,
        applied_by: None,
        message: None,
        explanation: None,
        unexplained: Some(unexplained),
    })
}

fn verdict(edition: &Edition, past: &PastCall, explain: Explain) -> Verdict {
    let policy = edition.policy.as_ref();
    let explained = policy.map(|policy| {
        let mut explanation = explain(&policy.set, past)?;
        explanation.fix = policy.set.fix(&policy.sources, &explanation);
        Ok::<_, ExplainError>(explanation)
    });
    let (explanation, unexplained) = match explained {
        Some(Ok(explanation)) => (Some(explanation), None),
        Some(Err(error)) => (None, Some(chain(&error))),
        None => (None, Some("no policy has been applied yet".to_owned())),
    };
    Verdict {
        version: edition.version.0,
        applied_at: policy.map(|policy| rfc3339(policy.applied_at)),
        applied_by: policy.map(|policy| policy.applied_by.clone()),
        message: policy.map(|policy| policy.message.clone()),
        explanation,
        unexplained,
    }
}

/// The document with what is known of its way here.
fn shown(stored: StoredDecision) -> Value {
    let mut shown: Value = serde_json::from_str(&stored.document).unwrap_or_default();
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("instance".to_owned(), stored.instance.into());
        shown.insert("received_at".to_owned(), time(stored.received_at).into());
    }
    shown
}

fn edge(EdgeTotals { callee, edge }: EdgeTotals) -> Value {
    json!({
        "caller": Some(edge.caller).filter(|caller| !caller.is_empty()),
        "callee": callee,
        "call": Some(edge.call).filter(|call| !call.is_empty()),
        "verdict": edge.verdict,
        "by": Some(edge.by).filter(|by| !by.is_empty()),
        "policy_version": edge.version,
        "count": edge.count,
        "first_at": time(edge.first_at),
        "last_at": time(edge.last_at),
    })
}

fn time(milliseconds: i64) -> String {
    rfc3339_milliseconds(u64::try_from(milliseconds).unwrap_or_default())
}

/// `limit=N`, the only parameter there is.
fn limit(query: Option<&str>) -> Result<u32, Problem> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(SHOWN) };
    let limit = query.strip_prefix("limit=").map(u32::from_str);
    match limit {
        Some(Ok(limit)) => Ok(limit.min(MAX_SHOWN)),
        Some(Err(_)) | None => {
            let detail = format!("the only parameter is limit=N, at most {MAX_SHOWN}");
            Err(Problem::new(StatusCode::BAD_REQUEST, "bad request", detail))
        }
    }
}

fn unreadable(error: ReadError) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no answer", chain(&error))
}
