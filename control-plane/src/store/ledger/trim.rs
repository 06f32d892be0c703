//! Forgetting: the oldest goes when there is too much, of one callee and of all (CP-10).

use rusqlite::Connection;

use super::DAY_MS;

/// Decisions of one callee: one that denies a lot does not push out what others denied.
pub(super) const MAX_DECISIONS_PER_CALLEE: i64 = 5000;
/// Decisions of all.
const MAX_DECISIONS: i64 = 50_000;
/// How long a decision is kept.
const DECISION_DAYS: i64 = 90;
/// Edges of all callees and days.
const MAX_EDGES: i64 = 200_000;
/// How long an edge is kept.
const EDGE_DAYS: i64 = 400;
/// Sidecar processes of one callee whose last number is known.
pub(super) const MAX_REPORTERS_PER_CALLEE: i64 = 256;
/// How long a process that says nothing is known. One that comes back later counts anew.
const REPORTER_DAYS: i64 = 7;

/// How much was forgotten.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Trimmed {
    /// Decisions.
    pub decisions: usize,
    /// Edges.
    pub edges: usize,
}

/// After each batch: what one callee may have.
pub(super) fn trim_callee(database: &Connection, callee: &str) -> rusqlite::Result<()> {
    let mut decisions = database.prepare_cached(
        "DELETE FROM decisions WHERE callee = ?1 AND number <= (SELECT number FROM decisions
         WHERE callee = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
    )?;
    decisions.execute((callee, MAX_DECISIONS_PER_CALLEE))?;
    let mut reporters = database.prepare_cached(
        "DELETE FROM reporters WHERE callee = ?1 AND instance IN (SELECT instance FROM reporters
         WHERE callee = ?1 ORDER BY seen_at DESC, instance LIMIT -1 OFFSET ?2)",
    )?;
    reporters.execute((callee, MAX_REPORTERS_PER_CALLEE))?;
    Ok(())
}

/// Now and then: what all together may have, and for how long.
pub(super) fn trim(database: &Connection, now: i64) -> rusqlite::Result<Trimmed> {
    let before = |days: i64| now - days * DAY_MS;
    let old = "DELETE FROM decisions WHERE received_at < ?1";
    let mut decisions = database.execute(old, [before(DECISION_DAYS)])?;
    decisions += database.execute(
        "DELETE FROM decisions WHERE number <= (SELECT number FROM decisions
         ORDER BY number DESC LIMIT 1 OFFSET ?1)",
        [MAX_DECISIONS],
    )?;
    let mut edges =
        database.execute("DELETE FROM edges WHERE day < ?1", [before(EDGE_DAYS) / DAY_MS])?;
    let count: i64 = database.query_row("SELECT count(*) FROM edges", [], |row| row.get(0))?;
    if count > MAX_EDGES {
        // Whole days: a day of which a part is missing says something wrong.
        edges += database.execute(
            "DELETE FROM edges WHERE day <= (SELECT day FROM edges ORDER BY day DESC
             LIMIT 1 OFFSET ?1) AND day < (SELECT max(day) FROM edges)",
            [MAX_EDGES],
        )?;
    }
    database.execute("DELETE FROM reporters WHERE seen_at < ?1", [before(REPORTER_DAYS)])?;
    Ok(Trimmed { decisions, edges })
}
