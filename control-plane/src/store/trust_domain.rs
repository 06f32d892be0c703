//! What `init` makes once: the trust domain's name, its authority, its sealed keys.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};

use super::{Store, StoreError, audit::append};
use crate::audit::Record;

/// A trust domain that is about to be founded.
#[derive(Debug)]
pub struct Founding {
    /// Its name.
    pub name: String,
    /// The authority's certificate, DER.
    pub certificate: Vec<u8>,
    /// Sealed keys, by purpose.
    pub secrets: Vec<(&'static str, Vec<u8>)>,
    /// The first audit record.
    pub record: Record,
}

/// A trust domain that was founded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Founded {
    /// Its name.
    pub name: String,
    /// The authority's certificate, DER.
    pub certificate: Vec<u8>,
    /// Sealed keys, by purpose.
    pub secrets: BTreeMap<String, Vec<u8>>,
}

impl Store {
    /// Writes all of it, or nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it is not on the disk, also when a trust domain was founded before.
    pub async fn found(&self, founding: Founding) -> Result<(), StoreError> {
        self.run(move |database| insert(database, &founding)).await
    }

    /// Replaces what is sealed for one purpose, with its audit record: both or neither.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they are not on the disk.
    pub async fn reseal(
        &self,
        purpose: &'static str,
        sealed: Vec<u8>,
        record: Record,
    ) -> Result<(), StoreError> {
        self.run(move |database| {
            append(database, &record)?; // CA-08: the record first
            let put = "INSERT OR REPLACE INTO secrets VALUES (?1, ?2)";
            database.execute(put, (purpose, sealed)).map(drop)
        })
        .await
    }

    /// The trust domain of this database, if it has been founded.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the tables cannot be read.
    pub async fn founded(&self) -> Result<Option<Founded>, StoreError> {
        self.run(read).await
    }
}

fn insert(database: &Connection, founding: &Founding) -> rusqlite::Result<()> {
    database.execute("INSERT INTO trust_domain VALUES (1, ?1)", [&founding.name])?;
    database.execute("INSERT INTO authorities VALUES (1, ?1)", [&founding.certificate])?;
    for (purpose, sealed) in &founding.secrets {
        database.execute("INSERT INTO secrets VALUES (?1, ?2)", (purpose, sealed))?;
    }
    append(database, &founding.record)?;
    Ok(())
}

fn read(database: &Connection) -> rusqlite::Result<Option<Founded>> {
    let query = "SELECT name, certificate FROM trust_domain, authorities WHERE id = 1";
    let row = database.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?)));
    let Some((name, certificate)) = row.optional()? else { return Ok(None) };
    let mut secrets = database.prepare("SELECT purpose, sealed FROM secrets")?;
    let secrets = secrets.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let secrets = secrets.collect::<rusqlite::Result<_>>()?;
    Ok(Some(Founded { name, certificate, secrets }))
}
