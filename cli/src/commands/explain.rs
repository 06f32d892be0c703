//! `explain`: why a call is decided as it is, and what a code means.

use std::{path::Path, time::SystemTime};

use cellwall_policy_language::{ExplainError, Explanation, code_page, load};
use hyper::StatusCode;
use serde_json::json;

use super::{hint_code, policy::Folder};
use crate::{Outcome, client, output::Output, paint::Colour};

/// The longest line of a code's page.
const LINE_WIDTH: usize = 100;

/// Whether a question is a code: `CW` and four digits.
pub(crate) fn is_code(question: &str) -> bool {
    let digits = question.strip_prefix("CW").or_else(|| question.strip_prefix("cw"));
    digits.is_some_and(|digits| digits.len() == 4 && digits.bytes().all(|it| it.is_ascii_digit()))
}

/// `explain CW0104`.
pub(crate) fn explain_code(code: &str, output: &Output) -> anyhow::Result<Outcome> {
    let Some(page) = code_page(code) else {
        output.complain(&format!("there is no code {code}"));
        return Ok(Outcome::Usage);
    };
    if output.is_json() {
        output.json(&json!({
            "schema_version": 1,
            "code": page.code,
            "title": page.title,
            "text": page.text,
            "example": page.example,
            "mended": page.mended,
        }))?;
    } else {
        let head = output.painter().paint(Colour::Bold, format!("{}: {}", page.code, page.title));
        let (text, example, mended) =
            (wrapped(page.text), indented(page.example), indented(page.mended));
        output.data(&format!("{head}\n\n{text}\n\nWrong:\n\n{example}\n\nRight:\n\n{mended}"))?;
    }
    Ok(Outcome::Done)
}

/// A part of a document, set off from the text around it.
fn indented(part: &str) -> String {
    let lines: Vec<_> = part.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

/// A text in lines that fit a terminal, its empty lines kept.
fn wrapped(text: &str) -> String {
    let mut wrapped = String::new();
    for paragraph in text.split_inclusive('\n') {
        let mut width = 0;
        for word in paragraph.split_whitespace() {
            if width > 0 && width + 1 + word.len() > LINE_WIDTH {
                wrapped.push('\n');
                width = 0;
            } else if width > 0 {
                wrapped.push(' ');
                width += 1;
            }
            wrapped.push_str(word);
            width += word.len();
        }
        if paragraph.ends_with('\n') {
            wrapped.push('\n');
        }
    }
    wrapped
}

/// `explain CALL --policy DIR`.
pub(crate) fn explain_offline(
    dir: &Path,
    question: &str,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let folder = Folder::read(dir)?;
    let set = match load(&folder.sources) {
        Ok(set) => set,
        Err(findings) => {
            output.data(&format!("{}{findings}", folder.render(&findings, output)))?;
            hint_code(&findings, output);
            return Ok(Outcome::Found);
        }
    };
    match set.explain(question, SystemTime::now()) {
        Ok(mut explanation) => {
            explanation.fix = folder.fix(&set, &explanation);
            show(&explanation, output)
        }
        Err(ExplainError::Compile(error)) => {
            output.error(&anyhow::Error::new(error));
            Ok(Outcome::Usage)
        }
        Err(error) => {
            output.complain(&error.to_string());
            Ok(Outcome::Usage)
        }
    }
}

/// `explain CALL`, of the policy in force.
pub(crate) async fn explain(
    socket: &Path,
    question: &str,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let answer = client::post(socket, "/v1/explain", &json!({"call": question})).await?;
    if answer.status == StatusCode::UNPROCESSABLE_ENTITY {
        output.error(&answer.refusal());
        return Ok(Outcome::Usage);
    }
    show(&serde_json::from_value(answer.success()?)?, output)
}

fn show(explanation: &Explanation, output: &Output) -> anyhow::Result<Outcome> {
    if output.is_json() {
        output.json(explanation)?;
    } else {
        let text = explanation.to_string();
        let verdict = explanation.verdict.to_uppercase();
        let head = output.painter().paint(Colour::of(&explanation.verdict), &verdict);
        output.data(&text.replacen(&verdict, &head, 1))?;
    }
    Ok(if explanation.verdict == "deny" { Outcome::Denied } else { Outcome::Done })
}
