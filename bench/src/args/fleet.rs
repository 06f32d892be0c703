//! The flags of `cellwall-bench fleet`.

use std::{path::PathBuf, time::Duration};

/// How large a fleet, and what it does.
#[derive(Debug, clap::Args)]
pub(crate) struct Fleet {
    /// Sidecars: mutual TLS connections to `cellwalld`. 0: rotation alone is looked at.
    #[arg(long, default_value_t = 2000)]
    pub(crate) proxies: usize,

    /// Clients of the Workload API, an SVID each. 1,000 as root, else 480: what one user may have.
    #[arg(long)]
    pub(crate) agents: Option<usize>,

    /// Workloads that these are of.
    #[arg(long, default_value_t = 40)]
    pub(crate) workloads: usize,

    /// Rules of the policy.
    #[arg(long, default_value_t = 1000)]
    pub(crate) rules: usize,

    /// Workloads that each sidecar wants to know the addresses of.
    #[arg(long, default_value_t = 1)]
    pub(crate) destinations: usize,

    /// How often the policy is changed.
    #[arg(long, default_value_t = 3)]
    pub(crate) pushes: usize,

    /// How long SVIDs live while their rotation is looked at; they are renewed at half of it. 0s:
    /// it is not looked at.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) ttl: Duration,

    /// How long all of them together may take for each step.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    pub(crate) deadline: Duration,

    /// Where `cellwalld` is looked for first. May repeat.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) programs: Vec<PathBuf>,

    /// The result, JSON.
    #[arg(long, default_value = "fleet.json")]
    pub(crate) out: PathBuf,
}
