//! `policy validate` and `policy test`: offline, from the files.

use std::{collections::BTreeSet, path::Path, time::SystemTime};

use anyhow::Context;
use cellwall_policy_language::{
    Checked, Explanation, Finding, Findings, Fix, PolicySet, Severity, Sources, TestReport,
    TestResult, check,
};
use serde_json::{Value, json};

use super::hint_code;
use crate::{
    Outcome,
    args::Format,
    output::Output,
    paint::{Colour, Painter},
};

/// The width of the question column.
const CALL_WIDTH: usize = 66;

/// The files of a folder. Paths in findings begin with the folder, as the shell knows it.
pub(super) struct Folder {
    pub(super) sources: Sources,
    /// `policy/`, or empty for the current folder.
    prefix: String,
}

impl Folder {
    pub(super) fn read(dir: &Path) -> anyhow::Result<Self> {
        let sources = Sources::from_dir(dir).context("cannot read the policy")?;
        let dir = dir.to_string_lossy();
        let dir = dir.trim_end_matches('/');
        let prefix = if dir == "." { String::new() } else { format!("{dir}/") };
        Ok(Self { sources, prefix })
    }

    pub(super) fn path(&self, file: &str) -> String {
        format!("{}{file}", self.prefix)
    }

    pub(super) fn render(&self, findings: &Findings, output: &Output) -> String {
        let files = self.sources.files.iter().map(|(name, text)| (self.path(name), text.clone()));
        let sources = Sources { root: self.path(&self.sources.root), files: files.collect() };
        self.named(findings).render(&sources, output.paint())
    }

    /// The change that would allow a call, with the path that the shell knows.
    pub(super) fn fix(&self, set: &PolicySet, explanation: &Explanation) -> Option<Fix> {
        let mut fix = set.fix(&self.sources, explanation)?;
        fix.file = self.path(&fix.file);
        Some(fix)
    }

    /// Runs the tests, and names their files as the shell knows them.
    fn run_tests(&self, set: &PolicySet) -> TestReport {
        let mut report = set.run_tests();
        for result in &mut report.results {
            result.file = self.path(&result.file);
        }
        report
    }

    /// The findings with the paths that the shell knows.
    pub(super) fn named(&self, findings: &Findings) -> Findings {
        let named = |finding: &Finding| {
            let mut finding = finding.clone();
            finding.file = self.path(&finding.file);
            for related in &mut finding.related {
                related.file = self.path(&related.file);
            }
            finding
        };
        Findings(findings.0.iter().map(named).collect())
    }
}

/// `policy validate`.
pub(crate) fn validate(dir: &Path, output: &Output) -> anyhow::Result<Outcome> {
    let folder = Folder::read(dir)?;
    let mut checked = check(&folder.sources);
    if let Some(set) = &checked.set {
        checked.findings.0.extend(set.due(SystemTime::now()).0);
    }
    let report = checked.set.as_ref().map(|set| folder.run_tests(set)).unwrap_or_default();
    let failed = report.failed() > 0;
    let outcome =
        if failed || checked.findings.errors() > 0 { Outcome::Found } else { Outcome::Done };
    if output.is_json() {
        output.json(&validated(&folder, &checked, &report))?;
        return Ok(outcome);
    }
    if output.format() == Format::Github {
        output.data(&annotations(&folder.named(&checked.findings), &report))?;
        return Ok(outcome);
    }
    let mut text = folder.render(&checked.findings, output);
    for result in report.results.iter().filter(|result| !result.passed) {
        text.push_str(&format!("{}\n", result.file));
        text.push_str(&result_lines(result, output.painter()));
        text.push('\n');
    }
    text.push_str(&format!("{} in {}", checked.findings, checked.summary));
    if failed {
        text.push_str(&format!("; {} failed", plural(report.failed(), "test")));
    }
    output.data(&text)?;
    match (outcome, checked.findings.0.is_empty()) {
        (_, false) => hint_code(&checked.findings, output),
        (Outcome::Done, true) => {
            output.hint(&format!("`cellwall policy apply {}` puts it in force", dir.display()));
        }
        (_, true) => {}
    }
    Ok(outcome)
}

fn validated(folder: &Folder, checked: &Checked, report: &TestReport) -> Value {
    json!({
        "schema_version": 1,
        "errors": checked.findings.errors(),
        "warnings": checked.findings.warnings(),
        "summary": checked.summary,
        "findings": folder.named(&checked.findings),
        "tests": report,
    })
}

/// What GitHub shows beside the lines of a pull request.
fn annotations(findings: &Findings, report: &TestReport) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let mut text = String::new();
    for finding in &findings.0 {
        let kind = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let Finding { line, column, end, .. } = finding;
        let help = finding.help.as_ref().map_or_else(String::new, |help| format!("\n{help}"));
        let (file, code) = (property(&finding.file), property(&finding.code));
        let message = data(&format!("{}{help}", finding.message));
        text.push_str(&format!(
            "::{kind} file={file},line={line},col={column},endColumn={end},title={code}::{message}\n"
        ));
    }
    for result in report.results.iter().filter(|result| !result.passed) {
        let (file, line) = (property(&result.file), result.line);
        let message = data(&format!("{}: got {} by {}", result.call, result.verdict, result.by));
        text.push_str(&format!("::error file={file},line={line},title=test::{message}\n"));
    }
    text
}

/// `policy test`.
pub(crate) fn test(dir: &Path, coverage: bool, output: &Output) -> anyhow::Result<Outcome> {
    let folder = Folder::read(dir)?;
    let checked = check(&folder.sources);
    let Some(set) = &checked.set else {
        if output.is_json() {
            output.json(&validated(&folder, &checked, &TestReport::default()))?;
        } else {
            let text = folder.render(&checked.findings, output);
            output.data(&format!("{text}{} in {}", checked.findings, checked.summary))?;
            hint_code(&checked.findings, output);
        }
        return Ok(Outcome::Found);
    };
    let report = folder.run_tests(set);
    let is_bare =
        coverage && !(report.untested_rules.is_empty() && report.unbounded_rules.is_empty());
    let outcome = if report.failed() > 0 || is_bare { Outcome::Found } else { Outcome::Done };
    if output.is_json() {
        let mut document = json!({"schema_version": 1});
        if let (Some(to), Ok(Value::Object(from))) =
            (document.as_object_mut(), serde_json::to_value(&report))
        {
            to.extend(from);
        }
        output.json(&document)?;
        return Ok(outcome);
    }
    let covered = if coverage { covered(set, &report, output.painter()) } else { String::new() };
    output.data(&format!("{covered}{}", tested(&report, output.painter())))?;
    if report.results.is_empty() {
        output.hint("there are no tests: add `tests:` to the files");
    }
    Ok(outcome)
}

fn tested(report: &TestReport, painter: Painter) -> String {
    let mut text = String::new();
    let mut file = None;
    for result in &report.results {
        if file != Some(&result.file) {
            text.push_str(&format!("{}\n", result.file));
            file = Some(&result.file);
        }
        text.push_str(&result_lines(result, painter));
    }
    let tested = report.rules - report.untested_rules.len();
    let bounded = report.rules - report.unbounded_rules.len();
    let rules = plural(report.rules, "rule");
    text.push_str(&format!(
        "coverage: {tested} of {rules} have an allow test, {bounded} a deny neighbour"
    ));
    let missing: BTreeSet<&str> = [&report.untested_rules, &report.unbounded_rules]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        let missing: Vec<_> = missing.into_iter().collect();
        text.push_str(&format!("; missing: {}", missing.join(", ")));
    }
    text.push_str(&format!("\n{} passed, {} failed", report.passed(), report.failed()));
    text
}

/// A line for each rule: whether a test allows a call of it, and whether a neighbour is denied.
fn covered(set: &PolicySet, report: &TestReport, painter: Painter) -> String {
    let mut text = String::from("rules\n");
    for rule in set.rule_names() {
        let is_in = |missing: &[String]| missing.iter().any(|name| name == rule);
        let lacks = match (is_in(&report.untested_rules), is_in(&report.unbounded_rules)) {
            (false, false) => painter.paint(Colour::Green, "ok"),
            (true, false) => painter.paint(Colour::Red, "no allow test"),
            (false, true) => painter.paint(Colour::Red, "no deny neighbour"),
            (true, true) => painter.paint(Colour::Red, "no allow test, no deny neighbour"),
        };
        text.push_str(&format!("  {rule:<40} {lacks}\n"));
    }
    text
}

/// A line for a test that passed, three for one that did not.
pub(super) fn result_lines(result: &TestResult, painter: Painter) -> String {
    let TestResult { expect, call, by, verdict, line, .. } = result;
    if result.passed {
        let ok = painter.paint(Colour::Green, "ok  ");
        return format!("  {ok} {expect:<5} {call:<CALL_WIDTH$} {by}\n");
    }
    let fail = painter.paint(Colour::Red, "FAIL");
    let expected = match &result.expect_by {
        Some(by) => format!("{expect} by {by}"),
        None => expect.clone(),
    };
    format!(
        "  {fail} {expect:<5} {call:<CALL_WIDTH$} :{line}\n         \
         expected  {expected}\n         got       {verdict} by {by}\n"
    )
}

pub(super) fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
