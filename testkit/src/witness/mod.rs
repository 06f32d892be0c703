//! The origin witness (T27): counts requests that a workload saw although the policy denies them.
//!
//! It reads the policy's text and the workloads' own request logs, and nothing that the proxies or
//! the control plane say. It is written for comparison with them: straight from the documents,
//! rule by rule for each request, slow and plain. It shares no code with `policy` or
//! `policy-language`.

mod document;
mod matching;
mod policy;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use crate::workload::{Record, Saw};

pub use self::matching::{Fit, fit, takes};
use self::{
    document::Documents,
    matching::{Asked, is_ambiguous},
    policy::{Identity, Policy},
};

/// The root document's name.
pub const ROOT: &str = "cellwall.yaml";

/// One policy, ready to judge what workloads saw.
#[derive(Clone, Debug)]
pub struct Witness {
    policy: Policy,
}

/// What the policy says about a request that reached its workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// A rule allows it: its name.
    Allowed(String),
    /// Nothing allows it, and the callee's segment only audits.
    Audited,
    /// It should not have reached the workload: why.
    Denied(String),
}

/// A request that a workload saw although the policy denies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The workload's own record of it.
    pub record: Record,
    /// What denies it.
    pub reason: String,
}

/// What a look at the logs gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Requests that workloads saw.
    pub seen: usize,
    /// Those among them that only an auditing segment let through.
    pub audited: usize,
    /// Those among them that should not have been there. Right is none.
    pub violations: Vec<Violation>,
}

/// Why a policy cannot be judged by.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// A file cannot be read.
    #[error("{path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A document is not one that this release knows.
    #[error("{file}: {message}")]
    Document {
        /// Which, relative to the policy's folder.
        file: String,
        /// What is wrong.
        message: String,
    },
    /// A line of a request log is no record.
    #[error("{path}: line {line}: {message}")]
    Log {
        /// Which log.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

impl Witness {
    /// Reads `cellwall.yaml` in `folder` and what it includes.
    ///
    /// # Errors
    /// If a file cannot be read or is not understood.
    pub fn from_dir(folder: &Path) -> Result<Self, WitnessError> {
        Self::from_files(&read_folder(folder)?)
    }

    /// Reads documents by their path relative to the policy's folder.
    ///
    /// # Errors
    /// If a document is not understood.
    pub fn from_files(files: &BTreeMap<String, String>) -> Result<Self, WitnessError> {
        let documents = Documents::read(files)?;
        let document = |message| WitnessError::Document { file: ROOT.to_owned(), message };
        Ok(Self { policy: Policy::new(documents).map_err(document)? })
    }

    /// Judges one request.
    pub fn judge(&self, record: &Record) -> Judgement {
        let Some(callee) = self.policy.callee(&record.workload, &record.environment) else {
            return Judgement::Denied(format!("{} is not in the policy", record.workload));
        };
        match &record.saw {
            Saw::Http { path, .. } if is_ambiguous(path) => {
                Judgement::Denied("the path has more than one reading".to_owned())
            }
            Saw::Http { method, path } => {
                self.policy.judge(self.proven(record), &callee, Asked::Http { method, path })
            }
            Saw::Grpc { service, method } => {
                self.policy.judge(self.proven(record), &callee, Asked::Grpc { service, method })
            }
            Saw::Tcp { hello, .. } => {
                let claimed = hello.as_deref().and_then(|claim| self.policy.claimed(claim));
                self.policy.judge(claimed, &callee, Asked::Tcp)
            }
        }
    }

    /// Judges everything that workloads saw.
    pub fn report(&self, records: impl IntoIterator<Item = Record>) -> Report {
        let mut report = Report::default();
        for record in records {
            let judgement = self.judge(&record);
            report.add(record, judgement);
        }
        report
    }

    /// Who the sidecar said it is: exactly one value, or nobody.
    fn proven(&self, record: &Record) -> Option<Identity> {
        match record.caller.as_slice() {
            [id] => self.policy.identify(id),
            _ => None,
        }
    }
}

impl Report {
    /// Counts one judgement.
    pub fn add(&mut self, record: Record, judgement: Judgement) {
        self.seen += 1;
        match judgement {
            Judgement::Allowed(_) => {}
            Judgement::Audited => self.audited += 1,
            Judgement::Denied(reason) => self.violations.push(Violation { record, reason }),
        }
    }

    /// Counts what another report counted, too.
    pub fn merge(&mut self, other: Self) {
        self.seen += other.seen;
        self.audited += other.audited;
        self.violations.extend(other.violations);
    }
}

/// The records of one workload's log.
///
/// # Errors
/// If the log cannot be read, or a whole line in it is no record.
pub fn read_log(path: &Path) -> Result<Vec<Record>, WitnessError> {
    let error = |source| WitnessError::Read { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(error)?;
    // A line without its end is being written.
    let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
    let lines = whole.lines().enumerate();
    let record = |(index, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| WitnessError::Log {
            path: path.to_owned(),
            line: index + 1,
            message: error.to_string(),
        })
    };
    lines.map(record).collect()
}

/// All `*.yaml` files below `folder`, by their relative path with `/` in it.
///
/// # Errors
/// If the folder or a file in it cannot be read.
pub fn read_folder(folder: &Path) -> Result<BTreeMap<String, String>, WitnessError> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![(folder.to_owned(), String::new())];
    while let Some((path, prefix)) = waiting.pop() {
        let error = |source| WitnessError::Read { path: path.clone(), source };
        for entry in fs::read_dir(&path).map_err(error)? {
            let entry = entry.map_err(error)?;
            let relative = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().map_err(error)?.is_dir() {
                waiting.push((entry.path(), format!("{relative}/")));
            } else if relative.ends_with(".yaml") {
                files.insert(relative, fs::read_to_string(entry.path()).map_err(error)?);
            }
        }
    }
    Ok(files)
}
