//! How what is kept is written. A form that this release does not know is refused.

use cellwall_policy::{Digest, MAX_PAYLOAD_BYTES, PolicyVersion, Publication, SignedSnapshot};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use spiffe::SpiffeId;

use crate::directory::Endpoints;

/// The one form that this release reads and writes.
const SCHEMA: u32 = 1;

/// The longest file: a policy, and what stands before it.
pub(super) const MAX_BYTES: u64 = MAX_PAYLOAD_BYTES as u64 + 65_536;

/// Why a file is not what we wrote.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damaged {
    #[error("it has not the lines that it should have")]
    Lines,
    #[error("its checksum does not fit")]
    Checksum,
    #[error("a line is not of the form that this release writes")]
    Form(#[source] serde_json::Error),
    #[error("schema {0} is not known, this release reads schema {SCHEMA}")]
    Schema(u32),
    #[error("it is `{0}`'s")]
    Callee(String),
    #[error("the digest")]
    Digest(#[source] cellwall_policy::NotADigest),
}

/// A line of JSON, then the SHA-256 of that line: a number that lost a bit must not pass for
/// another.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HighWater {
    schema: u32,
    callee: String,
    epoch: u64,
    version: u64,
    digest: String,
}

impl HighWater {
    pub(super) fn write(callee: &SpiffeId, publication: &Publication) -> String {
        let line = json(&Self {
            schema: SCHEMA,
            callee: callee.to_string(),
            epoch: publication.epoch,
            version: publication.version.0,
            digest: publication.digest.to_string(),
        });
        let checksum = Digest::of(line.as_bytes());
        format!("{line}\n{checksum}\n")
    }

    pub(super) fn read(bytes: &[u8], callee: &SpiffeId) -> Result<Publication, Damaged> {
        let text = std::str::from_utf8(bytes).map_err(|_| Damaged::Lines)?;
        let text = text.strip_suffix('\n').ok_or(Damaged::Lines)?;
        let (line, checksum) = text.split_once('\n').ok_or(Damaged::Lines)?;
        if checksum != Digest::of(line.as_bytes()).to_string() {
            return Err(Damaged::Checksum);
        }
        let Self { schema, callee: of, epoch, version, digest } = parse(line.as_bytes())?;
        check(schema, &of, callee)?;
        let digest = digest.parse().map_err(Damaged::Digest)?;
        Ok(Publication { epoch, version: PolicyVersion(version), digest })
    }
}

/// A line of JSON with the signature, then the payload as it was signed.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    schema: u32,
    signature: Vec<u8>,
}

impl Policy {
    pub(super) fn header(signed: &SignedSnapshot) -> String {
        json(&Self { schema: SCHEMA, signature: signed.signature.clone() }) + "\n"
    }

    pub(super) fn read(bytes: &[u8]) -> Result<SignedSnapshot, Damaged> {
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(Damaged::Lines)?;
        let (header, rest) = bytes.split_at(end);
        let Self { schema, signature } = parse(header)?;
        if schema != SCHEMA {
            return Err(Damaged::Schema(schema));
        }
        let payload = rest.get(1..).unwrap_or_default().to_vec();
        Ok(SignedSnapshot { payload, signature })
    }
}

/// One JSON document.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hints {
    schema: u32,
    callee: String,
    destinations: Endpoints,
}

impl Hints {
    pub(super) fn write(callee: &SpiffeId, known: &Endpoints) -> String {
        let callee = callee.to_string();
        json(&Self { schema: SCHEMA, callee, destinations: known.clone() })
    }

    pub(super) fn read(bytes: &[u8], callee: &SpiffeId) -> Result<Endpoints, Damaged> {
        let Self { schema, callee: of, destinations } = parse(bytes)?;
        check(schema, &of, callee)?;
        Ok(destinations)
    }
}

fn check(schema: u32, found: &str, callee: &SpiffeId) -> Result<(), Damaged> {
    if schema != SCHEMA {
        return Err(Damaged::Schema(schema));
    }
    if found != callee.to_string() {
        return Err(Damaged::Callee(found.to_owned()));
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Damaged> {
    serde_json::from_slice(bytes).map_err(Damaged::Form)
}

/// Plain structs of numbers and texts always have a JSON form; an empty line would be refused by
/// the reader.
fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
