//! Certificates that were issued: whose, with which key, until when.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, ErrorCode, ffi::SQLITE_CONSTRAINT_UNIQUE};

use super::{Store, StoreError, audit::append};
use crate::audit::Record;

/// An expired certificate is forgotten after so long, and with it its key, once its identity has
/// a newer one. The audit log forgets nothing.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// One certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssuanceRow {
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// Whose.
    pub spiffe_id: String,
    /// SHA-256 of its public key (SubjectPublicKeyInfo).
    pub key_sha256: [u8; 32],
    /// When it was signed, to the second.
    pub issued_at: SystemTime,
    /// When it ends, to the second.
    pub not_after: SystemTime,
}

/// What became of the record of an issuance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recorded {
    /// It is on the disk, and so is the audit record with this sequence.
    Audited(i64),
    /// Nothing was written: the key has been certified before (CA-05).
    KeyInUse,
}

impl Store {
    /// Writes the certificate and its audit record, both or neither.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they are not on the disk: then the certificate must not be released.
    pub async fn record_issuance(
        &self,
        row: IssuanceRow,
        record: Record,
    ) -> Result<Recorded, StoreError> {
        self.run(move |database| match insert(database, &row) {
            Ok(()) => append(database, &record).map(Recorded::Audited),
            Err(rusqlite::Error::SqliteFailure(error, _))
                if error.code == ErrorCode::ConstraintViolation
                    && error.extended_code == SQLITE_CONSTRAINT_UNIQUE =>
            {
                Ok(Recorded::KeyInUse)
            }
            Err(error) => Err(error),
        })
        .await
    }

    /// When each identity was last issued a certificate.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the table cannot be read.
    pub async fn last_issuances(&self) -> Result<BTreeMap<String, SystemTime>, StoreError> {
        self.run(|database| {
            let mut last = database.prepare_cached(
                "SELECT spiffe_id, max(issued_at) FROM issuances GROUP BY spiffe_id",
            )?;
            let rows = last.query_map([], |row| Ok((row.get(0)?, from_seconds(row.get(1)?))))?;
            rows.collect()
        })
        .await
    }
}

fn insert(database: &Connection, row: &IssuanceRow) -> rusqlite::Result<()> {
    let mut insert =
        database.prepare_cached("INSERT INTO issuances VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let (issued_at, not_after) = (seconds(row.issued_at), seconds(row.not_after));
    insert.execute((&row.serial, &row.spiffe_id, row.key_sha256, issued_at, not_after))?;
    let mut forget = database.prepare_cached(
        "DELETE FROM issuances WHERE spiffe_id = ?1 AND issued_at < ?2 AND not_after < ?3",
    )?;
    let cutoff = row.issued_at.checked_sub(REMEMBERED).unwrap_or(UNIX_EPOCH);
    forget.execute((&row.spiffe_id, issued_at, seconds(cutoff)))?;
    Ok(())
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn from_seconds(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        time::{Duration, SystemTime, UNIX_EPOCH},
    };

    use serde_json::json;

    use super::{IssuanceRow, Recorded};
    use crate::{
        audit::{Act, Head, Record},
        store::Store,
    };

    fn row(serial: &str, id: &str, key: u8, hours: u64) -> IssuanceRow {
        let issued_at = UNIX_EPOCH + Duration::from_secs(hours * 3600);
        IssuanceRow {
            serial: serial.into(),
            spiffe_id: id.into(),
            key_sha256: [key; 32],
            issued_at,
            not_after: issued_at + Duration::from_secs(3600),
        }
    }

    fn record() -> Record {
        let actor = "cellwalld".to_owned();
        Record { at: UNIX_EPOCH, act: Act::SvidIssued, actor, detail: json!({}) }
    }

    #[tokio::test]
    async fn a_key_is_certified_once_until_it_is_forgotten() {
        // CA-05
        let dir = tempfile::tempdir().unwrap();
        let (store, _thread) = Store::open(&dir.path().join("test.db")).unwrap();
        let mut outcomes = Vec::new();
        for row in [
            row("01", "a", 1, 0),
            row("02", "b", 1, 1),
            row("03", "a", 1, 2),
            row("04", "a", 2, 25),
            row("05", "b", 1, 25),
            row("06", "a", 3, 26),
            row("07", "b", 1, 26),
        ] {
            outcomes.push(store.record_issuance(row, record()).await.unwrap());
        }
        let expected = [
            Recorded::Audited(1),
            Recorded::KeyInUse,
            Recorded::KeyInUse,
            Recorded::Audited(2),
            Recorded::KeyInUse,
            Recorded::Audited(3),
            Recorded::Audited(4),
        ];
        assert_eq!(outcomes, expected);
        let head = store.verify_audit().await.unwrap();
        assert_eq!(head, Ok(Head { sequence: 4, at: 0 }));
    }

    #[tokio::test]
    async fn the_last_issuance_of_each_identity_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _thread) = Store::open(&dir.path().join("test.db")).unwrap();
        for row in [row("01", "a", 1, 1), row("02", "b", 2, 2), row("03", "a", 3, 3)] {
            store.record_issuance(row, record()).await.unwrap();
        }
        let at = |hours: u64| -> SystemTime { UNIX_EPOCH + Duration::from_secs(hours * 3600) };
        let expected = BTreeMap::from([("a".to_owned(), at(3)), ("b".to_owned(), at(2))]);
        assert_eq!(store.last_issuances().await.unwrap(), expected);
    }
}
