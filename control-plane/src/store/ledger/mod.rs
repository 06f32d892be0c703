//! The tables of what sidecars reported: written in batches, bounded, each batch counted once.

mod read;
#[cfg(test)]
mod tests;
mod trim;

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, named_params};

pub use read::{EdgeRow, EdgeTotals, LedgerReader, ReadError, StoredDecision};
pub use trim::Trimmed;

use super::{Store, StoreError, audit::milliseconds};

/// Different calls of one callee in one day that are told apart; further ones are counted together.
const MAX_EDGES_PER_DAY: i64 = 2000;

/// Milliseconds in a day.
const DAY_MS: i64 = 24 * 3600 * 1000;

/// What one sidecar reported at once, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReportRow {
    /// The SPIFFE ID that the sidecar proved.
    pub callee: String,
    /// Tells its process apart from others.
    pub instance: String,
    /// The number of the batch in that process, from 1.
    pub sequence: i64,
    /// What the sidecar could not keep since the batch before.
    pub dropped: i64,
    /// Calls, counted.
    pub edges: Vec<EdgeRow>,
    /// Denials and audited calls.
    pub decisions: Vec<DecisionRow>,
}

/// One decision that somebody may ask about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DecisionRow {
    /// What the caller was told.
    pub id: String,
    /// All that is known, JSON.
    pub document: String,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kept {
    /// It is on the disk.
    New,
    /// It was on the disk already, and was not counted again.
    Known,
}

impl Store {
    /// Writes batches, all or none, each once.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they are not on the disk: then they must not be acknowledged.
    pub async fn keep_reports(
        &self,
        reports: Vec<ReportRow>,
        now: SystemTime,
    ) -> Result<Vec<Kept>, StoreError> {
        let now = milliseconds(now);
        let keep = move |database: &Connection| {
            reports.iter().map(|report| keep(database, report, now)).collect()
        };
        self.run(keep).await
    }

    /// Forgets what is too old or too much.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing could be forgotten.
    pub async fn trim_ledger(&self, now: SystemTime) -> Result<Trimmed, StoreError> {
        let now = milliseconds(now);
        self.run(move |database| trim::trim(database, now)).await
    }
}

fn keep(database: &Connection, report: &ReportRow, now: i64) -> rusqlite::Result<Kept> {
    let mut last = database
        .prepare_cached("SELECT sequence FROM reporters WHERE callee = ?1 AND instance = ?2")?;
    let last = last.query_row((&report.callee, &report.instance), |row| row.get::<_, i64>(0));
    if last.optional()?.is_some_and(|last| report.sequence <= last) {
        return Ok(Kept::Known);
    }
    let mut reporter = database.prepare_cached(
        "INSERT INTO reporters VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET
         sequence = ?3, dropped = dropped + ?4, seen_at = ?5",
    )?;
    let ReportRow { callee, instance, sequence, dropped, .. } = report;
    reporter.execute((callee, instance, sequence, dropped, now))?;
    keep_edges(database, report)?;
    let mut insert = database.prepare_cached(
        "INSERT OR IGNORE INTO decisions (id, callee, instance, received_at, document)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for decision in &report.decisions {
        insert.execute((&decision.id, callee, instance, now, &decision.document))?;
    }
    trim::trim_callee(database, callee)?;
    Ok(Kept::New)
}

fn keep_edges(database: &Connection, report: &ReportRow) -> rusqlite::Result<()> {
    let mut add = database.prepare_cached(
        "UPDATE edges SET count = count + :count, version = max(version, :version),
                first_at = min(first_at, :first), last_at = max(last_at, :last)
         WHERE callee = :callee AND day = :day AND caller = :caller AND call = :call
               AND verdict = :verdict AND decided_by = :by",
    )?;
    let mut insert = database.prepare_cached(
        "INSERT INTO edges VALUES (:callee, :day, :caller, :call, :verdict, :by, :version, :count,
                                   :first, :last)",
    )?;
    for edge in &report.edges {
        let day = edge.last_at / DAY_MS;
        let told_apart = (edge.caller.as_str(), edge.call.as_str(), edge.by.as_str());
        for (caller, call, by) in [told_apart, ("", "", "")] {
            let values = named_params! {
                ":callee": report.callee, ":day": day, ":caller": caller, ":call": call,
                ":verdict": edge.verdict, ":by": by, ":version": edge.version,
                ":count": edge.count, ":first": edge.first_at, ":last": edge.last_at,
            };
            if add.execute(values)? > 0 {
                break;
            }
            if caller.is_empty() || has_room(database, &report.callee, day)? {
                insert.execute(values)?;
                break;
            }
        }
    }
    Ok(())
}

fn has_room(database: &Connection, callee: &str, day: i64) -> rusqlite::Result<bool> {
    let mut count =
        database.prepare_cached("SELECT count(*) FROM edges WHERE callee = ?1 AND day = ?2")?;
    let count: i64 = count.query_row((callee, day), |row| row.get(0))?;
    Ok(count < MAX_EDGES_PER_DAY)
}
