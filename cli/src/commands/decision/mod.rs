//! `explain d_...`: what became of a call that was made, and why.

mod show;

use std::{net::SocketAddr, path::Path};

use anyhow::Context;
use cellwall_policy_language::{DecidedCall, Explanation, PastCall, load, parse_instant};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::policy::Folder;
use crate::{
    Outcome,
    client::{self, Answer},
    output::Output,
};

/// `d_` and 26 characters of Crockford's base 32.
const ID_BYTES: usize = 28;

/// Whom to ask.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    /// The operators' socket.
    pub(crate) socket: &'a Path,
    /// The admin listener of the sidecar that decided, in place of the control plane.
    pub(crate) proxy: Option<SocketAddr>,
    /// Documents in place of those in the policy book.
    pub(crate) policy: Option<&'a Path>,
}

/// A decision, as much of it as is printed.
#[derive(Debug, Deserialize)]
struct Decision {
    at: String,
    kind: String,
    protocol: Option<String>,
    verdict: String,
    by: Option<String>,
    reason: String,
    tls_reason: Option<String>,
    policy_version: Option<u64>,
    caller: Option<String>,
    caller_workload: Option<String>,
    caller_serial: Option<String>,
    caller_address: Option<String>,
    callee: Option<String>,
    callee_workload: Option<String>,
    method: Option<String>,
    rpc: Option<String>,
    route: Option<String>,
    trace_id: Option<String>,
    instance: Option<String>,
}

/// What the policies say.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Reasons {
    /// The one that decided.
    then: Option<Verdict>,
    /// The one in force, if it is another.
    now: Option<Verdict>,
}

/// What one policy says.
#[derive(Debug, Deserialize, Serialize)]
struct Verdict {
    version: Option<u64>,
    applied_at: Option<String>,
    applied_by: Option<String>,
    message: Option<String>,
    explanation: Option<Explanation>,
    unexplained: Option<String>,
}

/// Whether a question is the id of a decision, or meant as one.
pub(crate) fn is_decision(question: &str) -> bool {
    question.starts_with("d_") && !question.contains(' ')
}

/// `explain d_...`.
pub(crate) async fn explain_decision(
    id: &str,
    sources: &Sources<'_>,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let legal = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if id.len() != ID_BYTES || !legal {
        output.complain(&format!("`{id}` is no decision id: `d_` and 26 digits and letters"));
        return Ok(Outcome::Usage);
    }
    let answer = match sources.proxy {
        Some(proxy) => client::get_from(proxy, &format!("/decisions/{id}")).await?,
        None => client::get(sources.socket, &format!("/v1/decisions/{id}")).await?,
    };
    if answer.status == StatusCode::NOT_FOUND {
        output.complain(&format!("no decision {id} is kept there"));
        output.hint(next_steps(sources));
        return Ok(Outcome::Failed);
    }
    let document = answer.success()?;
    let document = document.get("decision").cloned().context("the answer has no decision")?;
    let decision: Decision =
        serde_json::from_value(document.clone()).context("the answer is not understood")?;
    let reasons = reasons(&document, &decision, sources, output).await?;
    if output.is_json() {
        let Reasons { then, now } = &reasons;
        let document = json!({"schema_version": 1, "decision": document, "then": then, "now": now});
        output.json(&document)?;
    } else {
        output.data(&show::show(&decision, &reasons, output)?)?;
    }
    Ok(Outcome::Done)
}

/// Where else the decision may be.
fn next_steps(sources: &Sources<'_>) -> &'static str {
    match sources.proxy {
        None => {
            "It may be on its way: a sidecar reports within a second while it is connected.\n\
             The sidecar that decided keeps its last 1,024: cellwall explain ID --proxy HOST:PORT\n\
             Its access log has the id in `cellwall.decision`."
        }
        Some(_) => {
            "Another sidecar may have decided: the callee's own. It keeps its last 1,024.\n\
             What is older may be with cellwalld: cellwall explain ID, without --proxy"
        }
    }
}

/// The reasons of a decision on a call of somebody; others have none but their own.
async fn reasons(
    document: &Value,
    decision: &Decision,
    sources: &Sources<'_>,
    output: &Output,
) -> anyhow::Result<Reasons> {
    let Some(past) = decision.call() else { return Ok(Reasons::default()) };
    if let Some(dir) = sources.policy {
        return Ok(Reasons { then: Some(offline(dir, &past)?), now: None });
    }
    let asked = client::post(sources.socket, "/v1/explain", &json!({"decision": document})).await;
    match (asked, sources.proxy) {
        (Ok(answer), _) => understood(answer),
        // The record is there all the same.
        (Err(error), Some(_)) => {
            output.hint(&format!("{error:#}; --policy DIR explains it without cellwalld"));
            Ok(Reasons::default())
        }
        (Err(error), None) => Err(error),
    }
}

fn understood(answer: Answer) -> anyhow::Result<Reasons> {
    if answer.status == StatusCode::UNPROCESSABLE_ENTITY {
        let unexplained = Some(answer.refusal().to_string());
        let verdict = Verdict { unexplained, ..Verdict::of_files() };
        return Ok(Reasons { then: Some(verdict), now: None });
    }
    serde_json::from_value(answer.success()?).context("cellwalld's answer is not understood")
}

fn offline(dir: &Path, past: &PastCall) -> anyhow::Result<Verdict> {
    let folder = Folder::read(dir)?;
    let set = load(&folder.sources)
        .map_err(|findings| anyhow::anyhow!("{}: {findings}", dir.display()))?;
    Ok(match set.explain_past(past) {
        Ok(mut explanation) => {
            explanation.fix = folder.fix(&set, &explanation);
            Verdict { explanation: Some(explanation), ..Verdict::of_files() }
        }
        Err(error) => Verdict {
            unexplained: Some(format!("{:#}", anyhow::Error::new(error))),
            ..Verdict::of_files()
        },
    })
}

impl Verdict {
    const fn of_files() -> Self {
        Self {
            version: None,
            applied_at: None,
            applied_by: None,
            message: None,
            explanation: None,
            unexplained: None,
        }
    }
}

impl Decision {
    fn call(&self) -> Option<PastCall> {
        let call = match self.protocol.as_deref()? {
            "http" => DecidedCall::Http { method: self.method.clone()?, route: self.route.clone() },
            "grpc" => DecidedCall::Grpc(self.rpc.clone()?),
            "tcp" => DecidedCall::tcp(self.route.as_deref()),
            _ => return None,
        };
        let at = parse_instant(&self.at)?;
        Some(PastCall { caller: self.caller.clone()?, callee: self.callee.clone()?, call, at })
    }
}
