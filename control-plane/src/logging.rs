//! Operational logs: one JSON object a line, on stderr.

use std::io;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

/// Starts logging by `filter`, once in a process.
///
/// # Errors
///
/// When the filter is not one.
pub fn init(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).with_context(|| format!("--log: `{filter}`"))?;
    let logs = tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter);
    let started = logs.with_writer(io::stderr).try_init();
    started.map_err(|error| anyhow::anyhow!("logging: {error}"))
}
