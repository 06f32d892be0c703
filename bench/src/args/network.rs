//! How both sides of a pair are to reach each other.

use cellwall_bench::network::Wanted;
use clap::ValueEnum;

/// How both sides are to reach each other.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Network {
    /// Two namespaces where that is allowed, loopback otherwise: the result says which and why.
    Auto,
    /// A network namespace for each side, joined by veth. Needs root.
    Veth,
    /// All on loopback.
    Loopback,
}

impl From<Network> for Wanted {
    fn from(network: Network) -> Self {
        match network {
            Network::Auto => Self::Auto,
            Network::Veth => Self::Veth,
            Network::Loopback => Self::Loopback,
        }
    }
}
