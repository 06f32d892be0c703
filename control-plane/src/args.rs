//! What the operator typed. The only place that reads flags and the environment.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand};

/// The control plane: identities, policy and its distribution.
#[derive(Clone, Debug, Parser)]
#[command(name = "cellwalld", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What cellwalld can be asked to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Make a trust domain: its authority, its policy key, its database.
    Init(InitArgs),
    /// Serve until SIGTERM.
    Run(RunArgs),
    /// What orders policies over restores of the database.
    #[command(subcommand)]
    Epoch(EpochCommand),
}

/// What can be done with the epoch.
#[derive(Clone, Debug, Subcommand)]
pub enum EpochCommand {
    /// After a restore, before the next start: sidecars follow policies of the new epoch, whatever
    /// their version. Recorded in the audit log.
    Raise(RaiseArgs),
}

/// Options of `epoch raise`.
#[derive(Clone, Debug, clap::Args)]
pub struct RaiseArgs {
    /// The directory that `cellwalld init` made. No cellwalld may run on it.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,

    /// The key that opens the secrets in the database. DIR/sealing.key by default.
    #[arg(long, value_name = "FILE")]
    pub sealing_key: Option<PathBuf>,

    /// The new epoch: what a refusing sidecar's reason names. One more than the last by default,
    /// which is not enough when the backup is older than an earlier raise.
    #[arg(long, value_name = "N")]
    pub to: Option<u64>,
}

/// Options of `init`.
#[derive(Clone, Debug, clap::Args)]
pub struct InitArgs {
    /// The directory that holds everything; made if absent.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,

    /// The name of the trust domain, for example `pay.example`.
    #[arg(long, value_name = "NAME")]
    pub trust_domain: String,

    /// The key that opens the secrets in the database; made if absent. DIR/sealing.key by default.
    #[arg(long, value_name = "FILE")]
    pub sealing_key: Option<PathBuf>,

    /// How long the authority lives: 1h to 3650d. Long enough to plan its successor.
    #[arg(long, value_name = "DURATION", default_value = "90d")]
    pub ca_ttl: String,
}

/// Options of `run`.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// The directory that `cellwalld init` made.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,

    /// The key that opens the secrets in the database. DIR/sealing.key by default.
    #[arg(long, value_name = "FILE")]
    pub sealing_key: Option<PathBuf>,

    /// Where sidecars connect, by mutual TLS.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7443")]
    pub mesh_listen: SocketAddr,

    /// The Workload API's socket. DIR/workload.sock by default; name one in a directory that
    /// workloads of other users can enter.
    #[arg(long, value_name = "PATH")]
    pub workload_socket: Option<PathBuf>,

    /// The operators' socket. DIR/operator.sock by default.
    #[arg(long, value_name = "PATH")]
    pub operator_socket: Option<PathBuf>,

    /// Health and metrics; loopback only.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7441")]
    pub health_listen: SocketAddr,

    /// How long an SVID lives: 10s to 24h. Renewed at half; short enough to need no revocation.
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub svid_ttl: String,

    /// For trying out: make the trust domain if there is none, listen on loopback only.
    #[arg(long, requires = "trust_domain")]
    pub dev: bool,

    /// The trust domain that `--dev` makes.
    #[arg(long, value_name = "NAME", requires = "dev")]
    pub trust_domain: Option<String>,

    /// What to log: LEVEL or TARGET=LEVEL, separated by commas.
    #[arg(
        long,
        value_name = "FILTER",
        env = "CELLWALL_LOG",
        hide_env_values = true,
        default_value = "info"
    )]
    pub log: String,
}
