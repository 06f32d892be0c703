//! Opening the database: settings, the schema, and the version it was made by.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

/// What each version of the schema adds to the one before: an older database is brought up.
const SCHEMA: [&str; 2] = [include_str!("schema.sql"), include_str!("ledger/schema.sql")];
const SCHEMA_VERSION: i64 = SCHEMA.len() as i64;
/// Only readers from outside can hold us up: `sqlite3` in an operator's hands.
const BUSY: Duration = Duration::from_secs(5);

/// Why the database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// SQLite refused.
    #[error("database {}", .path.display())]
    Sqlite {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The schema is another release's.
    #[error("database {}: schema version {found} is not {SCHEMA_VERSION}, this release's",
        .path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// What it has.
        found: i64,
    },
    /// The writer's thread cannot be started.
    #[error("cannot start the thread that writes the database")]
    Thread(#[source] io::Error),
}

/// Opens the database at `path` and makes the tables that it lacks.
pub(super) fn open(path: &Path) -> Result<Connection, DatabaseError> {
    let sqlite = |source| DatabaseError::Sqlite { path: path.to_owned(), source };
    let mut database = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(sqlite)?;
    prepare(&mut database).map_err(sqlite)?;
    match version(&database).map_err(sqlite)? {
        SCHEMA_VERSION => Ok(database),
        found => Err(DatabaseError::Version { path: path.to_owned(), found }),
    }
}

fn prepare(database: &mut Connection) -> rusqlite::Result<()> {
    database.busy_timeout(BUSY)?;
    // FULL: a commit that was reported is on the disk, also after a power cut (CA-08).
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "FULL")?;
    database.pragma_update(None, "trusted_schema", "OFF")?;
    database.pragma_update(None, "temp_store", "MEMORY")?;
    let transaction = database.transaction()?;
    let found = version(&transaction)?;
    if let Ok(known) = usize::try_from(found)
        && found < SCHEMA_VERSION
    {
        for step in SCHEMA.iter().skip(known) {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()
}

fn version(database: &Connection) -> rusqlite::Result<i64> {
    database.pragma_query_value(None, "user_version", |row| row.get(0))
}
