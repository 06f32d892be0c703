//! Where a callee is called, and what is spoken there.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Protocol, SnapshotError};

/// A listener.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListensDocument {
    /// What is spoken there.
    pub protocol: Protocol,
    /// The declared port, 1 to 65535.
    pub port: u16,
    /// For `http`, in which version our own sidecar speaks to the workload: between sidecars, and
    /// to the policy, both are one protocol.
    #[serde(default, skip_serializing_if = "HttpVersion::is_default")]
    pub version: HttpVersion,
}

/// In which version a sidecar speaks HTTP to its own workload.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub enum HttpVersion {
    /// HTTP/1.1.
    #[default]
    #[serde(rename = "1.1")]
    Http1,
    /// HTTP/2 with prior knowledge (RFC 9113 §3.3).
    #[serde(rename = "2")]
    Http2,
}

impl HttpVersion {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl ListensDocument {
    /// A listener of `protocol`, in the version that is not written.
    pub const fn of(protocol: Protocol, port: u16) -> Self {
        Self { protocol, port, version: HttpVersion::Http1 }
    }
}

/// At least one listener, each port from 1 to 65535 and once; only HTTP has a version.
pub(crate) fn check_listens(listens: &[ListensDocument]) -> Result<(), SnapshotError> {
    let ports: BTreeSet<u16> = listens.iter().map(|listener| listener.port).collect();
    let is_legal = |it: &ListensDocument| {
        it.protocol == Protocol::Http || it.version == HttpVersion::default()
    };
    if ports.is_empty()
        || ports.len() < listens.len()
        || ports.contains(&0)
        || !listens.iter().all(is_legal)
    {
        return Err(SnapshotError::Listeners);
    }
    Ok(())
}
