//! The audit log's table.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension};

use super::{Store, StoreError};
use crate::audit::{Broken, GENESIS, Head, Line, Record};

impl Store {
    /// Reads the whole log and checks every link.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the log cannot be read.
    pub async fn verify_audit(&self) -> Result<Result<Head, Broken>, StoreError> {
        self.run(verify).await
    }

    /// The position of the last record; 0 if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the log cannot be read.
    pub async fn audit_sequence(&self) -> Result<i64, StoreError> {
        self.run(|database| {
            let last = "SELECT coalesce(max(sequence), 0) FROM audit";
            database.query_row(last, [], |row| row.get(0))
        })
        .await
    }
}

/// Adds a record to the log, within whatever it is the record of.
pub(super) fn append(database: &Connection, record: &Record) -> rusqlite::Result<i64> {
    let mut last = database
        .prepare_cached("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1")?;
    let last = last.query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)));
    let (sequence, previous) = last.optional()?.unwrap_or_else(|| (0, GENESIS.to_vec()));
    let detail = record.detail.to_string();
    let line = Line {
        sequence: sequence + 1,
        at: milliseconds(record.at),
        kind: record.act.as_str(),
        actor: &record.actor,
        detail: &detail,
    };
    let mut insert =
        database.prepare_cached("INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    insert.execute((
        line.sequence,
        line.at,
        line.kind,
        line.actor,
        line.detail,
        line.hash(&previous),
    ))?;
    Ok(line.sequence)
}

fn verify(database: &Connection) -> rusqlite::Result<Result<Head, Broken>> {
    let mut all = database
        .prepare("SELECT sequence, at, kind, actor, detail, hash FROM audit ORDER BY sequence")?;
    let mut rows = all.query([])?;
    let mut head = Head { sequence: 0, at: 0 };
    let mut previous = GENESIS.to_vec();
    while let Some(row) = rows.next()? {
        let line = Line {
            sequence: row.get(0)?,
            at: row.get(1)?,
            kind: row.get_ref(2)?.as_str()?,
            actor: row.get_ref(3)?.as_str()?,
            detail: row.get_ref(4)?.as_str()?,
        };
        let expected = line.hash(&previous);
        if row.get_ref(5)?.as_blob()? != expected {
            return Ok(Err(Broken { sequence: line.sequence }));
        }
        head = Head { sequence: line.sequence, at: line.at };
        previous = expected;
    }
    Ok(Ok(head))
}

pub(super) fn milliseconds(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use rusqlite::Connection;
    use serde_json::json;

    use super::append;
    use crate::{
        audit::{Act, Broken, Head, Record},
        store::{Store, StoreError},
    };

    fn record(serial: u32) -> Record {
        Record {
            at: UNIX_EPOCH + Duration::from_millis(u64::from(serial)),
            act: Act::SvidIssued,
            actor: "uid:1 pid:2".into(),
            detail: json!({ "serial": serial }),
        }
    }

    /// Three records, then `vandalism`, then what the verifier says.
    async fn after(vandalism: &str) -> Result<Head, Broken> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.db");
        let (store, thread) = Store::open(&path).unwrap();
        for serial in 1..=3 {
            store.run(move |database| append(database, &record(serial))).await.unwrap();
        }
        drop(store);
        thread.join();
        let database = Connection::open(&path).unwrap();
        let triggers = "DROP TRIGGER audit_is_not_edited; DROP TRIGGER audit_is_not_cut;";
        database.execute_batch(&format!("{triggers}{vandalism}")).unwrap();
        let (store, _thread) = Store::open(&path).unwrap();
        store.verify_audit().await.unwrap()
    }

    #[tokio::test]
    async fn a_log_that_was_edited_cut_or_reordered_is_noticed() {
        // OBS-05
        assert_eq!(after("").await, Ok(Head { sequence: 3, at: 3 }));
        for (vandalism, sequence) in [
            ("UPDATE audit SET actor = 'uid:1 pid:3' WHERE sequence = 2", 2),
            ("UPDATE audit SET detail = '{}' WHERE sequence = 1", 1),
            ("UPDATE audit SET hash = x'00' WHERE sequence = 3", 3),
            ("DELETE FROM audit WHERE sequence = 1", 2),
            ("DELETE FROM audit WHERE sequence = 2", 3),
            (
                "UPDATE audit SET sequence = 9 WHERE sequence = 2;
                 UPDATE audit SET sequence = 2 WHERE sequence = 3;
                 UPDATE audit SET sequence = 3 WHERE sequence = 9",
                2,
            ),
        ] {
            assert_eq!(after(vandalism).await, Err(Broken { sequence }), "{vandalism}");
        }
    }

    #[tokio::test]
    async fn the_log_is_append_only() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _thread) = Store::open(&dir.path().join("test.db")).unwrap();
        store.run(|database| append(database, &record(1))).await.unwrap();
        for sql in ["DELETE FROM audit", "UPDATE audit SET actor = 'x'"] {
            let refused = store.run(move |database| database.execute(sql, [])).await;
            assert!(matches!(refused, Err(StoreError::Refused(_))), "{sql}");
        }
    }
}
