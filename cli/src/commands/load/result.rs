//! What came of a load: measured, saved, read again.

use std::{collections::BTreeMap, fs, io::Write as _, path::Path};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

/// The form of a saved result.
const SCHEMA_VERSION: u32 = 1;

/// What a load was.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Load {
    pub(super) schema_version: u32,
    /// When it ended, RFC 3339.
    pub(super) at: String,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    /// What sidecars of both enforced when it began.
    pub(super) policy_version: Option<u64>,
    pub(super) call: String,
    pub(super) rate: u32,
    pub(super) duration: String,
    /// Whether all of it stayed on this machine.
    pub(super) loopback: bool,
    /// Without proxies.
    pub(super) direct: Option<Report>,
    /// Through them.
    pub(super) via: Report,
    /// What those of them cost that were named.
    pub(super) proxies: Option<Cost>,
}

/// What `cellwall-bench` reports, as far as it is shown.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Report {
    pub(super) sent: u64,
    pub(super) ok: u64,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) latency_us: Latency,
}

/// In microseconds, from the intended start of each call.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Latency {
    pub(super) p50: u64,
    pub(super) p90: u64,
    pub(super) p99: u64,
    pub(super) p999: u64,
    pub(super) max: u64,
}

/// What one sidecar cost.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Cost {
    /// Cores, the mean of them.
    pub(super) cores: f64,
    /// Resident memory of the largest, KiB.
    pub(super) rss_kib: u64,
}

impl Report {
    /// Calls without a right answer.
    pub(super) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl Latency {
    /// What the table has columns for.
    pub(super) const fn columns(&self) -> [u64; 5] {
        [self.p50, self.p90, self.p99, self.p999, self.max]
    }
}

impl Load {
    pub(super) const SCHEMA_VERSION: u32 = SCHEMA_VERSION;

    /// Whether every call of it was answered as it should be.
    pub(super) fn is_clean(&self) -> bool {
        let reports = self.direct.iter().chain([&self.via]);
        reports.into_iter().all(|report| report.ok > 0 && report.failed() == 0)
    }

    /// Writes it to a new file.
    pub(super) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self).context("cannot write JSON")?;
        let mut file = fs::File::create(path).with_context(|| path.display().to_string())?;
        file.write_all(&text).with_context(|| path.display().to_string())
    }

    /// Reads one that was saved.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read(path).with_context(|| path.display().to_string())?;
        let load = serde_json::from_slice::<Self>(&text);
        let load = load.with_context(|| format!("{}: no result of a load", path.display()))?;
        if load.schema_version != SCHEMA_VERSION {
            bail!("{}: schema_version {} is not known", path.display(), load.schema_version);
        }
        Ok(load)
    }
}
