//! Operational logs: one JSON object a line, on stderr.

use std::io;

use anyhow::Context as _;
use tracing_subscriber::{filter::Targets, prelude::*};

/// Starts logging by `filter`, once in a process.
///
/// # Errors
///
/// When the filter is not one.
pub fn init(filter: &str) -> anyhow::Result<()> {
    let filter: Targets = filter.parse().with_context(|| format!("--log: `{filter}`"))?;
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
    let lines = lines.with_writer(io::stderr);
    let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
    started.map_err(|error| anyhow::anyhow!("logging: {error}"))
}
