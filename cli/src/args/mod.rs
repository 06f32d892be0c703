//! What can be typed, and which settings come from the environment.

mod load;

use std::{io::IsTerminal, net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use self::load::{Load, Run};

/// Policies, identities and sidecars of a Cellwall mesh.
#[derive(Debug, Parser)]
#[command(
    name = "cellwall",
    version,
    after_help = "Exit codes: 0 done, 1 could not do it, 2 wrong usage, 3 found something, 5 denied,\n6 with --detailed-exitcode: there are changes."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// How data is printed. Tables may change between releases, JSON only grows.
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
    /// The operators' socket of cellwalld.
    #[arg(
        long,
        global = true,
        env = "CELLWALL_SOCKET",
        value_name = "PATH",
        default_value = "./cellwall-data/operator.sock"
    )]
    pub(crate) socket: PathBuf,
    /// Colours; `auto` is a terminal without NO_COLOR and with a TERM other than `dumb`.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: When,
    /// Only data and errors, no hints.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For a pull request: `policy plan`.
    Md,
    /// For Graphviz: `policy edges`, `policy plan`.
    Dot,
    /// For a spreadsheet: `policy edges`.
    Csv,
    /// A picture: `policy edges`.
    Svg,
    /// Annotations of a pull request on GitHub: `policy validate`.
    Github,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum When {
    /// As the terminal and the environment say.
    Auto,
    /// Also into files and pipes.
    Always,
    /// Not at all.
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The policy files, and what is in force.
    #[command(subcommand)]
    Policy(Policy),
    /// Is the mesh well? Control plane, authority, identities, policy, sidecars.
    Check,
    /// Why a call is allowed or denied, why one was, or what a code means.
    Explain {
        /// `ENV/A -> ENV/B CALL`, with CALL `METHOD /path`, `pkg.Service/Method` or `tcp:PORT`;
        /// the id of a decision, `d_...`; or a code such as CW0104.
        question: String,
        /// Ask the files in this folder instead of the policy in force.
        #[arg(long, value_name = "DIR")]
        policy: Option<PathBuf>,
        /// Take the decision from the sidecar that made it: the address of its admin listener.
        #[arg(long, value_name = "[http://]HOST:PORT", value_parser = admin)]
        proxy: Option<SocketAddr>,
    },
    /// The identities of the workloads.
    #[command(subcommand)]
    Identity(Identity),
    /// The sidecars.
    #[command(subcommand)]
    Proxy(Proxy),
    /// What sidecars add to a call: load, measured.
    #[command(subcommand)]
    Load(Load),
    /// The version of this program.
    Version,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Check the files and run their tests, without a server.
    Validate {
        /// The folder of cellwall.yaml.
        #[arg(default_value = "policy")]
        dir: PathBuf,
    },
    /// Run the tests in the files, without a server.
    Test {
        /// The folder of cellwall.yaml.
        #[arg(default_value = "policy")]
        dir: PathBuf,
        /// Show each rule's tests, and end with 3 where a rule has no test that it allows a call,
        /// or none that a neighbour of its calls is denied.
        #[arg(long)]
        coverage: bool,
    },
    /// Rewrite the files in one style; comments and groups of lines stay.
    Fmt {
        /// The folder of cellwall.yaml, a file, or `-`: stdin to stdout.
        #[arg(default_value = "policy", value_name = "DIR|FILE|-")]
        path: PathBuf,
        /// Write nothing, print what would change, and exit with 3 if something would.
        #[arg(long)]
        check: bool,
    },
    /// Print the JSON Schema of the files, for editors.
    Schema,
    /// Put the files in force.
    Apply {
        /// The folder of cellwall.yaml.
        #[arg(default_value = "policy")]
        dir: PathBuf,
        /// Why; it is kept with the version.
        #[arg(short, long, value_name = "MSG", default_value = "")]
        message: String,
        /// Wait until every connected sidecar enforces the version, at most 30 s.
        #[arg(long)]
        wait: bool,
    },
    #[command(flatten)]
    Reach(Reach),
}

/// What the files come to: offline, and exact.
#[derive(Debug, Subcommand)]
pub(crate) enum Reach {
    /// Who may call whom, with what.
    Edges {
        /// The folder of cellwall.yaml.
        #[arg(default_value = "policy")]
        dir: PathBuf,
        /// Only what this workload may call.
        #[arg(long, value_name = "WORKLOAD")]
        from: Option<String>,
        /// Only who may call this workload.
        #[arg(long, value_name = "WORKLOAD")]
        to: Option<String>,
        /// Only this environment.
        #[arg(long, value_name = "ENV")]
        env: Option<String>,
    },
    /// What a change would open and close, and which recorded calls it would deny.
    Plan {
        /// The folder of the new cellwall.yaml.
        #[arg(default_value = "policy")]
        dir: PathBuf,
        /// The folder of the old one.
        #[arg(long, value_name = "DIR")]
        against: PathBuf,
        /// Recorded calls: lines of sidecars' access logs, or edges of the ledger as JSON, JSON
        /// lines or CSV.
        #[arg(long, value_name = "FILE")]
        replay: Vec<PathBuf>,
        /// Only what is between these two.
        #[arg(long, value_name = "CALLER:CALLEE", value_parser = edge)]
        edge: Option<(String, String)>,
        /// Exit with 6 where there are changes and nothing blocks them.
        #[arg(long)]
        detailed_exitcode: bool,
    },
    /// The difference of two folders: edges first, then text.
    Diff {
        /// The folder of the old cellwall.yaml.
        old: PathBuf,
        /// The folder of the new one.
        new: PathBuf,
        /// Also the lines that differ.
        #[arg(long)]
        text: bool,
    },
    /// What to look at before a review date is moved.
    Review {
        /// The folder of cellwall.yaml, or one file of it.
        #[arg(default_value = "policy", value_name = "DIR|FILE")]
        path: PathBuf,
        /// Write this date to every `review_by` of the file.
        #[arg(long, value_name = "YYYY-MM-DD")]
        bump: Option<String>,
    },
    /// The policy in another form.
    Export {
        /// The folder of cellwall.yaml.
        #[arg(default_value = "policy")]
        dir: PathBuf,
        /// Which.
        #[arg(long, value_enum)]
        format: Export,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Export {
    /// Policies, schema and entities for Cedar.
    Cedar,
    /// What each callee enforces, compiled.
    Json,
    /// The edges, for Graphviz.
    Dot,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Identity {
    /// Every identity, who holds it, and when it renews.
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Proxy {
    /// Every connected sidecar, and which policy it enforces.
    Status,
}

/// Reads the command line, or prints why not and ends the program with code 2.
pub(crate) fn parse() -> Args {
    Args::parse()
}

/// `CALLER:CALLEE`.
fn edge(text: &str) -> Result<(String, String), String> {
    let (caller, callee) = text.rsplit_once(':').ok_or("not CALLER:CALLEE")?;
    Ok((caller.to_owned(), callee.to_owned()))
}

impl Command {
    /// The forms that the command prints.
    pub(crate) const fn formats(&self) -> &'static [Format] {
        match self {
            Self::Policy(Policy::Reach(Reach::Edges { .. })) => {
                &[Format::Table, Format::Json, Format::Dot, Format::Csv, Format::Svg]
            }
            Self::Policy(Policy::Reach(Reach::Plan { .. })) => {
                &[Format::Table, Format::Json, Format::Md, Format::Dot]
            }
            Self::Policy(Policy::Validate { .. }) => &[Format::Table, Format::Json, Format::Github],
            _ => &[Format::Table, Format::Json],
        }
    }
}

/// An address, with or without the scheme that a browser shows.
fn admin(text: &str) -> Result<SocketAddr, String> {
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let address: SocketAddr = address.parse().map_err(|_| "not IP:PORT".to_owned())?;
    if address.ip().is_loopback() { Ok(address) } else { Err("not a loopback address".to_owned()) }
}

impl Global {
    /// Whether more than ASCII can be shown.
    pub(crate) fn draws() -> bool {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
        let locale = locale.map(|it| it.to_string_lossy().to_ascii_lowercase());
        locale.is_some_and(|it| it.contains("utf-8") || it.contains("utf8"))
    }

    /// Whether to paint what goes to `stream`.
    pub(crate) fn paints(&self, stream: &impl IsTerminal) -> bool {
        match self.color {
            When::Always => true,
            When::Never => false,
            When::Auto => {
                let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
                let dumb = set("TERM").is_some_and(|term| term == "dumb");
                stream.is_terminal() && set("NO_COLOR").is_none() && !dumb
            }
        }
    }
}
