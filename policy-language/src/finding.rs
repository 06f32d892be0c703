//! What is wrong with a set of documents, for people and for machines.

use std::fmt;

use serde::{Deserialize, Serialize};

pub(crate) use crate::place::Files;
use crate::{codes::Code, place::Place};

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The documents cannot be used.
    Error,
    /// They can, but look at this.
    Warning,
}

/// One thing that is wrong, and where. Lines and columns count characters from 1.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// The stable code: `CW0104`. `cellwall explain CW0104` prints its page.
    pub code: String,
    /// Whether the documents can be used all the same.
    pub severity: Severity,
    /// The file, as the sources name it.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The column of the first character meant.
    pub column: usize,
    /// The column after the last character meant, on the same line.
    pub end: usize,
    /// What is wrong.
    pub message: String,
    /// What stands under the caret. May be empty.
    #[serde(default)]
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Other places that belong to it.
    #[serde(default)]
    pub related: Vec<Related>,
}

/// Another place that belongs to a finding.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Related {
    /// The file, as the sources name it.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The column of the first character meant.
    pub column: usize,
    /// The column after the last character meant, on the same line.
    pub end: usize,
    /// What is to see there.
    pub label: String,
}

/// All findings of one run, in the order of files and lines.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Findings(pub Vec<Finding>);

/// A finding while it is made: its places are still bytes of a file.
#[derive(Debug)]
pub(crate) struct Problem {
    code: Code,
    severity: Severity,
    place: Place,
    message: String,
    label: String,
    help: Option<String>,
    related: Vec<(Place, String)>,
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Findings {
    /// How many are errors.
    pub fn errors(&self) -> usize {
        self.0.iter().filter(|finding| finding.severity == Severity::Error).count()
    }

    /// How many are warnings.
    pub fn warnings(&self) -> usize {
        self.0.len() - self.errors()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count| if count == 1 { "" } else { "s" };
        let (errors, warnings) = (self.errors(), self.warnings());
        write!(f, "{errors} error{}, {warnings} warning{}", plural(errors), plural(warnings))
    }
}

impl std::error::Error for Findings {}

impl Problem {
    pub(crate) fn error(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            place,
            message: message.into(),
            label: String::new(),
            help: None,
            related: Vec::new(),
        }
    }

    pub(crate) fn warning(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, place, message) }
    }

    pub(crate) fn label(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Adds `did you mean`, if there is a name that could have been meant.
    pub(crate) fn suggest(self, suggestion: Option<&str>) -> Self {
        match suggestion {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    pub(crate) fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push((place, label.into()));
        self
    }
}

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Turns bytes into lines and columns, and sorts by place.
    pub(crate) fn into_findings(mut self, files: &Files<'_>) -> Findings {
        self.0.sort_by_key(|problem| (problem.place, problem.code));
        Findings(self.0.into_iter().map(|problem| problem.into_finding(files)).collect())
    }
}

impl Problem {
    fn into_finding(self, files: &Files<'_>) -> Finding {
        let at = files.position(self.place);
        let related = self.related.into_iter().map(|(place, label)| {
            let at = files.position(place);
            Related { file: at.file, line: at.line, column: at.column, end: at.end, label }
        });
        Finding {
            code: self.code.as_str().to_owned(),
            severity: self.severity,
            file: at.file,
            line: at.line,
            column: at.column,
            end: at.end,
            message: self.message,
            label: self.label,
            help: self.help,
            related: related.collect(),
        }
    }
}
