//! How a callee's workload is told who calls: the headers that it reads.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::SnapshotError;

/// A header by which a sidecar tells its workload who calls.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum IdentityHeader {
    /// The caller's SPIFFE ID, and nothing else.
    #[serde(rename = "x-spiffe-id")]
    SpiffeId,
    /// One element in Envoy's form: the callee's SPIFFE ID, the hash of the caller's certificate and
    /// the caller's SPIFFE ID.
    #[serde(rename = "x-forwarded-client-cert")]
    ForwardedClientCert,
}

impl IdentityHeader {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::SpiffeId, Self::ForwardedClientCert];

    /// What a workload reads whose documents say nothing.
    pub const USUAL: [Self; 1] = [Self::SpiffeId];

    /// Its name, as documents and requests have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SpiffeId => "x-spiffe-id",
            Self::ForwardedClientCert => "x-forwarded-client-cert",
        }
    }

    pub(crate) fn usual() -> Vec<Self> {
        Self::USUAL.to_vec()
    }

    pub(crate) fn are_usual(headers: &[Self]) -> bool {
        headers == Self::USUAL
    }
}

/// How a callee's workload is told who calls.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Introduction {
    callee: Box<str>,
    headers: Box<[IdentityHeader]>,
}

impl Introduction {
    /// To `callee`, in these headers: at least one, each once. A workload that is told nothing could
    /// believe what a caller says.
    pub(crate) fn checked(callee: &str, headers: &[IdentityHeader]) -> Result<Self, SnapshotError> {
        let each: BTreeSet<_> = headers.iter().collect();
        if each.is_empty() || each.len() < headers.len() {
            return Err(SnapshotError::IdentityHeaders);
        }
        Ok(Self { callee: callee.into(), headers: headers.into() })
    }

    /// The SPIFFE ID of the callee, as text.
    pub fn callee(&self) -> &str {
        &self.callee
    }

    /// The headers that its workload reads: at least one, each once.
    pub fn headers(&self) -> &[IdentityHeader] {
        &self.headers
    }
}
