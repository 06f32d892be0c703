//! Policy versions, as people wrote them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Row};

use super::{
    Store, StoreError,
    audit::{append, milliseconds},
};
use crate::audit::Record;

/// One version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyRow {
    /// Larger than every version before.
    pub version: u64,
    /// When it came into force, to the millisecond.
    pub applied_at: SystemTime,
    /// Who put it in force.
    pub applied_by: String,
    /// Why, in their words.
    pub message: String,
    /// The documents, JSON.
    pub sources: String,
    /// Made with the sealing key over version and documents (CP-07).
    pub voucher: Vec<u8>,
}

impl Store {
    /// Writes a version and its audit record, both or neither.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they are not on the disk, also when the version exists already.
    pub async fn put_policy(&self, row: PolicyRow, record: Record) -> Result<i64, StoreError> {
        self.run(move |database| {
            insert(database, &row)?;
            append(database, &record)
        })
        .await
    }

    /// The version in force, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the table cannot be read.
    pub async fn latest_policy(&self) -> Result<Option<PolicyRow>, StoreError> {
        self.run(latest).await
    }

    /// One version, if it was ever put in force.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the table cannot be read.
    pub async fn policy(&self, version: u64) -> Result<Option<PolicyRow>, StoreError> {
        self.run(move |database| numbered(database, version)).await
    }
}

fn insert(database: &Connection, row: &PolicyRow) -> rusqlite::Result<()> {
    let mut insert =
        database.prepare_cached("INSERT INTO policies VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    let applied_at = milliseconds(row.applied_at);
    let version = row.version.cast_signed();
    insert.execute((
        version,
        applied_at,
        &row.applied_by,
        &row.message,
        &row.sources,
        &row.voucher,
    ))?;
    Ok(())
}

fn latest(database: &Connection) -> rusqlite::Result<Option<PolicyRow>> {
    let mut latest = database.prepare_cached(
        "SELECT version, applied_at, applied_by, message, sources, voucher
         FROM policies ORDER BY version DESC LIMIT 1",
    )?;
    latest.query_row([], policy_row).optional()
}

fn numbered(database: &Connection, version: u64) -> rusqlite::Result<Option<PolicyRow>> {
    let mut numbered = database.prepare_cached(
        "SELECT version, applied_at, applied_by, message, sources, voucher
         FROM policies WHERE version = ?1",
    )?;
    numbered.query_row([version.cast_signed()], policy_row).optional()
}

fn policy_row(row: &Row<'_>) -> rusqlite::Result<PolicyRow> {
    let applied_at: i64 = row.get(1)?;
    let since = Duration::from_millis(u64::try_from(applied_at).unwrap_or_default());
    Ok(PolicyRow {
        version: row.get::<_, i64>(0)?.cast_unsigned(),
        applied_at: UNIX_EPOCH + since,
        applied_by: row.get(2)?,
        message: row.get(3)?,
        sources: row.get(4)?,
        voucher: row.get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::json;

    use super::PolicyRow;
    use crate::{
        audit::{Act, Head, Record},
        store::{Store, StoreError},
    };

    #[tokio::test]
    async fn the_latest_version_is_read_back_and_none_is_written_twice() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _thread) = Store::open(&dir.path().join("test.db")).unwrap();
        assert_eq!(store.latest_policy().await.unwrap(), None);
        let row = |version| PolicyRow {
            version,
            applied_at: UNIX_EPOCH + Duration::from_millis(1500),
            applied_by: "uid:0 pid:1".into(),
            message: "why".into(),
            sources: "{}".into(),
            voucher: vec![1, 2],
        };
        let detail = json!({});
        let record = Record { at: UNIX_EPOCH, act: Act::PolicyApplied, actor: "x".into(), detail };
        store.put_policy(row(1), record.clone()).await.unwrap();
        store.put_policy(row(2), record.clone()).await.unwrap();
        let refused = store.put_policy(row(2), record).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))));
        assert_eq!(store.latest_policy().await.unwrap(), Some(row(2)));
        assert_eq!(store.policy(1).await.unwrap(), Some(row(1)));
        assert_eq!(store.policy(3).await.unwrap(), None);
        let head = store.verify_audit().await.unwrap();
        assert_eq!(head, Ok(Head { sequence: 2, at: 0 }));
    }
}
