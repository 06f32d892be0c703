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
    let filter = targets(filter).with_context(|| format!("--log: `{filter}`"))?;
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
    let lines = lines.with_writer(io::stderr);
    let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
    started.map_err(|error| anyhow::anyhow!("logging: {error}"))
}

/// `Targets` by itself takes what is misspelt for a target, and nothing for `error`.
fn targets(filter: &str) -> anyhow::Result<Targets> {
    let said: Vec<_> = filter.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
    let is_odd = |letter: char| !(letter.is_ascii_alphanumeric() || "_:-".contains(letter));
    let mut parts = said.iter().flat_map(|one| one.split('='));
    if parts.any(|part| part.is_empty() || part.contains(is_odd)) {
        anyhow::bail!("neither LEVEL nor TARGET=LEVEL");
    }
    Ok(said.join(",").parse()?)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::{init, targets};

    #[test]
    fn a_comma_too_many_changes_nothing() {
        for filter in ["info", "info,", ",info", "info,,h2=debug", " info , h2=debug"] {
            let targets = targets(filter).unwrap();
            assert!(targets.would_enable("x", &Level::INFO), "{filter:?}");
            assert!(!targets.would_enable("x", &Level::DEBUG), "{filter:?}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused_by_the_name_of_its_flag() {
        for filter in ["h2=loud", "h2=", "=debug", "inf o", "info;h2=debug", "[span]=info", "a=b=c"]
        {
            let error = format!("{:#}", init(filter).unwrap_err());
            assert!(error.starts_with(&format!("--log: `{filter}`: ")), "{error}");
        }
    }
}
