//! The request log: what the origin witness judges by.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::Shared;

/// One request, as the workload that got it saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When, RFC 3339 in UTC.
    pub ts: String,
    /// Who saw it.
    pub workload: String,
    /// In which environment.
    pub environment: String,
    /// Every value of `x-spiffe-id`, in order; right is exactly one. Empty for TCP.
    pub caller: Vec<String>,
    /// The number of the connection, counted from 0.
    pub connection: u64,
    /// What it was.
    #[serde(flatten)]
    pub saw: Saw,
}

/// What a request was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "protocol", rename_all = "lowercase")]
pub enum Saw {
    /// An HTTP request.
    Http {
        /// As it came.
        method: String,
        /// As it came, without the query.
        path: String,
    },
    /// A gRPC call.
    Grpc {
        /// `pkg.Service`.
        service: String,
        /// `Method`.
        method: String,
    },
    /// A line on a TCP connection.
    Tcp {
        /// What the connection's first line claimed: `ENV/WORKLOAD`. Nothing proves it.
        hello: Option<String>,
        /// The line's first word.
        verb: String,
        /// The line's length in bytes.
        bytes: usize,
    },
}

impl Record {
    pub(super) fn now(shared: &Shared, connection: u64, caller: Vec<String>, saw: Saw) -> Self {
        let now = OffsetDateTime::from(SystemTime::now());
        Self {
            ts: now.format(&Rfc3339).unwrap_or_default(),
            workload: shared.name.clone(),
            environment: shared.environment.clone(),
            caller,
            connection,
            saw,
        }
    }
}

/// A file of [`Record`]s. Each line is with the kernel before [`Log::write`] returns.
#[derive(Debug)]
pub(super) struct Log(Mutex<File>);

impl Log {
    /// Opens a file to append to, and makes it if it is not there.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(super) fn append(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self(Mutex::new(file)))
    }

    /// Appends one line.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        // One write, unbuffered: lines of one workload never mix, and none is lost with it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
    }
}
