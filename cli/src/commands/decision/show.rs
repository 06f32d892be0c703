//! A decision and its reasons as people read them.

use std::fmt::Write as _;

use super::{Decision, Reasons, Verdict};
use crate::{output::Output, paint::Colour};

/// All of it.
pub(super) fn show(
    decision: &Decision,
    reasons: &Reasons,
    output: &Output,
) -> anyhow::Result<String> {
    let painter = output.painter();
    let (word, colour) = decision.headline();
    let mut text = format!("{}  {}", painter.paint(colour, word), decision.at);
    if let Some(instance) = &decision.instance {
        write!(text, "  at {instance}")?;
    }
    if let Some(version) = decision.policy_version {
        write!(text, "  (v{version})")?;
    }
    writeln!(text, "  by {}", decision.by.as_deref().unwrap_or(&decision.reason))?;
    sides(&mut text, decision, reasons)?;
    writeln!(text)?;
    match reasons.then.as_ref().map(|then| (&then.explanation, &then.unexplained)) {
        Some((Some(explanation), _)) => writeln!(text, "{}", explanation.clauses())?,
        Some((None, unexplained)) => {
            let why = unexplained.as_deref().unwrap_or("no reason is known");
            writeln!(text, "  so       not explained: {why}")?;
        }
        None => writeln!(text, "  so       {}", without_policy(decision))?,
    }
    if let Some(now) = &reasons.now {
        writeln!(text, "\n{}", in_force(now))?;
    }
    Ok(text)
}

/// Caller, callee and call, with what is known beyond the names.
fn sides(text: &mut String, decision: &Decision, reasons: &Reasons) -> anyhow::Result<()> {
    let then = reasons.then.as_ref().or(reasons.now.as_ref());
    let explanation = then.and_then(|then| then.explanation.as_ref());
    let named = |side: Option<(&str, &str)>, fallback: &Option<String>| match side {
        Some(("", _)) | None => fallback.clone().unwrap_or_else(|| "unknown".to_owned()),
        Some((workload, "")) => workload.to_owned(),
        Some((workload, environment)) => format!("{environment}/{workload}"),
    };
    let caller = explanation.map(|it| (&*it.caller.workload, &*it.caller.environment));
    let callee = explanation.map(|it| (&*it.callee.workload, &*it.callee.environment));
    let id = |id: &Option<String>| id.clone().unwrap_or_else(|| "-".to_owned());
    let caller = named(caller, &decision.caller_workload);
    writeln!(text, "  caller   {caller:<22} {}", id(&decision.caller))?;
    let serial = decision.caller_serial.iter().map(|serial| format!("serial {serial}"));
    let address = decision.caller_address.iter().map(|address| format!("from {address}"));
    let known: Vec<_> = serial.chain(address).collect();
    if !known.is_empty() {
        writeln!(text, "           {}", known.join(", "))?;
    }
    let callee = named(callee, &decision.callee_workload);
    writeln!(text, "  callee   {callee:<22} {}", id(&decision.callee))?;
    let call = explanation.map_or_else(|| decision.spoken(), |it| it.call.clone());
    write!(text, "  call     {call}")?;
    if let Some(trace) = &decision.trace_id {
        write!(text, "   trace {trace}")?;
    }
    writeln!(text)?;
    Ok(())
}

/// Why there is nothing to explain by documents.
fn without_policy(decision: &Decision) -> String {
    match (decision.reason.as_str(), &decision.tls_reason) {
        ("no_policy", _) => "the callee's sidecar had no verified policy: it lets nobody in".into(),
        ("not_declared", _) => "the policy did not declare the listener any more as it was".into(),
        (_, Some(reason)) => format!("the handshake was refused: {reason}"),
        (reason, None) => format!("{reason}; no policy to explain it by"),
    }
}

/// What the policy in force would answer.
fn in_force(now: &Verdict) -> String {
    let version = now.version.unwrap_or_default();
    let by = match (&now.applied_at, &now.applied_by, &now.message) {
        (Some(at), Some(by), Some(message)) if !message.is_empty() => {
            format!("  ({at}, {by}: {message})")
        }
        (Some(at), Some(by), _) => format!("  ({at}, {by})"),
        _ => String::new(),
    };
    match (&now.explanation, &now.unexplained) {
        (Some(it), _) => {
            format!("  now      v{version} would {} it: {}{by}", it.verdict, it.so)
        }
        (None, Some(why)) => format!("  now      v{version}: {why}{by}"),
        (None, None) => format!("  now      v{version}{by}"),
    }
}

impl Decision {
    /// What became of the call, in one word.
    fn headline(&self) -> (&'static str, Colour) {
        match (self.verdict.as_str(), self.reason.as_str()) {
            (_, "policy_revoked") | ("allow" | "audit", "not_declared") => ("REVOKED", Colour::Red),
            ("audit", _) => ("PASSED IN AUDIT", Colour::Yellow),
            ("allow", _) => ("ALLOWED", Colour::Green),
            _ => ("DENIED", Colour::Red),
        }
    }

    /// The call, if no explanation says it.
    fn spoken(&self) -> String {
        match (&self.method, &self.rpc, &self.route) {
            (_, Some(rpc), _) => rpc.clone(),
            (Some(method), None, Some(route)) => format!("{method} {route}"),
            (Some(method), None, None) => method.clone(),
            (None, None, _) => self.protocol.clone().unwrap_or_else(|| self.kind.clone()),
        }
    }
}
