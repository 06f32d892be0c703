//! The flags of `cellwall-workload`.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use clap::Parser;

use super::{Protocol, Route, WorkloadConfig};

/// A workload for tests and the demo. Prints one JSON line with its addresses on stdout, then
/// reads JSON lines from stdin: objects `{"NAME": "IP:PORT"}` that replace where others are
/// reached.
#[derive(Debug, Parser)]
#[command(name = "cellwall-workload", version)]
pub struct Args {
    /// Its name in the policy.
    #[arg(long)]
    name: String,

    /// Its environment, for example `prod`.
    #[arg(long, default_value = "")]
    environment: String,

    /// What it speaks.
    #[arg(long, value_enum)]
    protocol: Protocol,

    /// Where it listens; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Where it serves `GET /stats`; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    stats: SocketAddr,

    /// The file that gets one JSON line per request, before the answer.
    #[arg(long)]
    log: PathBuf,

    /// Calls to make for a request: `CALL => TO CALL; TO CALL`. A CALL is `METHOD /path/{id}`,
    /// `pkg.Service/Method` or, after `=>`, `tcp`; `{id}` and `{seq}` are filled in. May repeat.
    #[arg(long = "on", value_name = "ROUTE")]
    routes: Vec<Route>,

    /// Where a destination is reached: a local port of the own sidecar. May repeat.
    #[arg(long = "to", value_name = "NAME=IP:PORT", value_parser = destination)]
    destinations: Vec<(String, SocketAddr)>,
}

impl Args {
    /// What the flags say.
    pub fn into_config(self) -> WorkloadConfig {
        WorkloadConfig {
            name: self.name,
            environment: self.environment,
            protocol: self.protocol,
            listen: self.listen,
            stats: self.stats,
            log: self.log,
            routes: self.routes,
            destinations: self.destinations.into_iter().collect::<BTreeMap<_, _>>(),
        }
    }
}

fn destination(text: &str) -> Result<(String, SocketAddr), String> {
    let (name, address) = text.split_once('=').ok_or("expected NAME=IP:PORT")?;
    let address = address.parse().map_err(|error| format!("{address:?}: {error}"))?;
    Ok((name.to_owned(), address))
}
