//! The epoch: what an operator raises after a restore, so that sidecars follow again (POL-02).
//!
//! It lies sealed in the database. It is no secret, but whoever can only write the database must
//! not be able to make an old policy look new (CP-07).

use std::time::SystemTime;

use serde_json::json;

use crate::{
    audit::{Act, Record},
    store::{Founded, SealingKey, SealingKeyError, Store, StoreError, Unsealable},
};

/// The epoch of a trust domain in which nobody raised it.
pub const FIRST: u64 = 1;

const PURPOSE: &str = "policy-epoch";

/// Why the epoch is not known or not raised.
#[derive(Debug, thiserror::Error)]
pub enum EpochError {
    /// What is in the database was not sealed by us.
    #[error("`{PURPOSE}` in the database")]
    Sealed(#[source] Unsealable),
    /// What was sealed is no number.
    #[error("`{PURPOSE}` in the database is not a number")]
    Form,
    /// It would not be raised.
    #[error("--to {to}: the epoch is {from} already; it only goes up")]
    NotHigher {
        /// What it is.
        from: u64,
        /// What it should have been.
        to: u64,
    },
    /// There is no number after this one.
    #[error("the epoch {0} is the last one")]
    Last(u64),
    /// It cannot be sealed.
    #[error("cannot seal the epoch")]
    Sealing(#[source] SealingKeyError),
    /// It, or its audit record, cannot be written.
    #[error("the epoch cannot be written")]
    Store(#[source] StoreError),
}

/// A rise of the epoch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Raised {
    /// What it was.
    pub from: u64,
    /// What it is.
    pub to: u64,
}

/// The epoch of this database.
///
/// # Errors
///
/// [`EpochError`] when somebody else wrote it.
pub fn read(founded: &Founded, sealing: &SealingKey) -> Result<u64, EpochError> {
    let Some(sealed) = founded.secrets.get(PURPOSE) else { return Ok(FIRST) };
    let bytes = sealing.open(PURPOSE, sealed).map_err(EpochError::Sealed)?;
    let bytes = bytes.as_slice().try_into().map_err(|_| EpochError::Form)?;
    Ok(u64::from_be_bytes(bytes))
}

/// Raises the epoch from `from` to `to`, or by one. The audit record is written with it.
///
/// # Errors
///
/// [`EpochError`]: then it is what it was.
pub async fn raise(
    store: &Store,
    sealing: &SealingKey,
    from: u64,
    to: Option<u64>,
    actor: String,
) -> Result<Raised, EpochError> {
    let to = to.or_else(|| from.checked_add(1)).ok_or(EpochError::Last(from))?;
    if to <= from {
        return Err(EpochError::NotHigher { from, to });
    }
    let sealed = sealing.seal(PURPOSE, &to.to_be_bytes()).map_err(EpochError::Sealing)?;
    let record = Record {
        at: SystemTime::now(),
        act: Act::EpochRaised,
        actor,
        detail: json!({ "from": from, "to": to }),
    };
    store.reseal(PURPOSE, sealed, record).await.map_err(EpochError::Store)?;
    Ok(Raised { from, to })
}
