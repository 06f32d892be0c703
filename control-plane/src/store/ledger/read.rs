//! Reading what was reported, on a connection of its own: a reader never stands in a writer's way.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};

/// Where the ledger is read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LedgerReader {
    path: PathBuf,
}

/// Why the ledger cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// SQLite refused.
    #[error("the ledger cannot be read")]
    Sqlite(#[source] rusqlite::Error),
    /// The task that read was cut.
    #[error("reading the ledger was cut off")]
    Cut,
}

/// A decision as it is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredDecision {
    /// All that is known, JSON.
    pub document: String,
    /// The sidecar's process.
    pub instance: String,
    /// When it came, in milliseconds since 1970.
    pub received_at: i64,
}

/// Calls of one caller to one callee, counted over one day.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EdgeRow {
    /// A SPIFFE ID; empty for calls that are no longer told apart.
    pub caller: String,
    /// A template with its method; empty if none matched.
    pub call: String,
    /// `allow`, `deny` or `audit`.
    pub verdict: String,
    /// What decided.
    pub by: String,
    /// The newest policy that did.
    pub version: i64,
    /// How often.
    pub count: i64,
    /// Milliseconds since 1970.
    pub first_at: i64,
    /// Milliseconds since 1970.
    pub last_at: i64,
}

/// The same over all days that are kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EdgeTotals {
    /// A SPIFFE ID.
    pub callee: String,
    /// The calls.
    pub edge: EdgeRow,
}

impl LedgerReader {
    /// Of the database at `path`, once it is made.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The decision with this id.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when the database gives no answer.
    pub async fn decision(&self, id: &str) -> Result<Option<StoredDecision>, ReadError> {
        let id = id.to_owned();
        self.read(move |database| {
            let query = "SELECT document, instance, received_at FROM decisions WHERE id = ?1";
            database.query_row(query, [id], decision).optional()
        })
        .await
    }

    /// The newest decisions first, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when the database gives no answer.
    pub async fn decisions(&self, limit: u32) -> Result<Vec<StoredDecision>, ReadError> {
        self.read(move |database| {
            let mut query = database.prepare(
                "SELECT document, instance, received_at FROM decisions
                 ORDER BY number DESC LIMIT ?1",
            )?;
            query.query_map([limit], decision)?.collect()
        })
        .await
    }

    /// Who called whom, the latest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when the database gives no answer.
    pub async fn edges(&self, limit: u32) -> Result<Vec<EdgeTotals>, ReadError> {
        self.read(move |database| {
            let mut query = database.prepare(
                "SELECT callee, caller, call, verdict, decided_by, max(version), sum(count),
                        min(first_at), max(last_at) AS last
                 FROM edges GROUP BY callee, caller, call, verdict, decided_by
                 ORDER BY last DESC, callee, caller, call, verdict, decided_by LIMIT ?1",
            )?;
            query.query_map([limit], totals)?.collect()
        })
        .await
    }

    async fn read<T, F>(&self, work: F) -> Result<T, ReadError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let path = self.path.clone();
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reading = move || work(&Connection::open_with_flags(path, flags)?);
        let read = tokio::task::spawn_blocking(reading).await.map_err(|_| ReadError::Cut)?;
        read.map_err(ReadError::Sqlite)
    }
}

fn decision(row: &Row<'_>) -> rusqlite::Result<StoredDecision> {
    let (document, instance, received_at) = (row.get(0)?, row.get(1)?, row.get(2)?);
    Ok(StoredDecision { document, instance, received_at })
}

fn totals(row: &Row<'_>) -> rusqlite::Result<EdgeTotals> {
    let edge = EdgeRow {
        caller: row.get(1)?,
        call: row.get(2)?,
        verdict: row.get(3)?,
        by: row.get(4)?,
        version: row.get(5)?,
        count: row.get(6)?,
        first_at: row.get(7)?,
        last_at: row.get(8)?,
    };
    Ok(EdgeTotals { callee: row.get(0)?, edge })
}
