//! What cellwalld was asked to do, checked once; all mistakes are reported at once.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use spiffe::TrustDomain;

use crate::{
    args::{InitArgs, RaiseArgs, RunArgs},
    files::DataDir,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// `init`, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InitConfig {
    /// Where everything is.
    pub data: DataDir,
    /// The key of the secrets.
    pub sealing_key: PathBuf,
    /// What to found.
    pub trust_domain: TrustDomain,
    /// How long its authority lives.
    pub ca_ttl: Duration,
}

/// `run`, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunConfig {
    /// Where everything is.
    pub data: DataDir,
    /// The key of the secrets.
    pub sealing_key: PathBuf,
    /// Where sidecars connect.
    pub mesh: SocketAddr,
    /// The Workload API's socket.
    pub workload_socket: PathBuf,
    /// The operators' socket.
    pub operator_socket: PathBuf,
    /// Health and metrics.
    pub health: SocketAddr,
    /// How long an SVID lives.
    pub svid_ttl: Duration,
    /// What to found if nothing is there.
    pub dev: Option<InitConfig>,
}

/// `epoch raise`, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RaiseConfig {
    /// Where everything is.
    pub data: DataDir,
    /// The key of the secrets.
    pub sealing_key: PathBuf,
    /// The new epoch; the next one if not given.
    pub to: Option<u64>,
}

/// Every mistake, each with its flag.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Mistakes {}

impl Mistakes {
    fn note<T>(&mut self, result: Result<T, String>) -> Option<T> {
        result.map_err(|mistake| self.0.push(mistake)).ok()
    }
}

impl TryFrom<InitArgs> for InitConfig {
    type Error = Mistakes;

    fn try_from(args: InitArgs) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes(Vec::new());
        let data = mistakes.note(data_dir(&args.data_dir));
        let trust_domain = mistakes.note(trust_domain(&args.trust_domain));
        let ca_ttl = mistakes.note(duration("--ca-ttl", &args.ca_ttl, HOUR, 3650 * DAY));
        let sealing_key = mistakes.note(absolute("--sealing-key", args.sealing_key));
        match (data, trust_domain, ca_ttl, sealing_key) {
            (Some(data), Some(trust_domain), Some(ca_ttl), Some(sealing_key)) => {
                let sealing_key = sealing_key.unwrap_or_else(|| data.sealing_key());
                Ok(Self { data, sealing_key, trust_domain, ca_ttl })
            }
            _ => Err(mistakes),
        }
    }
}

impl TryFrom<RaiseArgs> for RaiseConfig {
    type Error = Mistakes;

    fn try_from(args: RaiseArgs) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes(Vec::new());
        let data = mistakes.note(data_dir(&args.data_dir));
        let sealing_key = mistakes.note(absolute("--sealing-key", args.sealing_key));
        let (Some(data), Some(key)) = (data, sealing_key) else { return Err(mistakes) };
        let sealing_key = key.unwrap_or_else(|| data.sealing_key());
        Ok(Self { data, sealing_key, to: args.to })
    }
}

impl TryFrom<RunArgs> for RunConfig {
    type Error = Mistakes;

    fn try_from(args: RunArgs) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes(Vec::new());
        let data = mistakes.note(data_dir(&args.data_dir));
        let svid_ttl = mistakes.note(duration("--svid-ttl", &args.svid_ttl, 10 * SECOND, DAY));
        let sealing_key = mistakes.note(absolute("--sealing-key", args.sealing_key));
        let workload = mistakes.note(absolute("--workload-socket", args.workload_socket));
        let operator = mistakes.note(absolute("--operator-socket", args.operator_socket));
        let named = args.trust_domain.map(|name| trust_domain(&name)).transpose();
        let trust_domain = mistakes.note(named).flatten();
        // OBS-09
        if !args.health_listen.ip().is_loopback() {
            let address = args.health_listen;
            mistakes.0.push(format!("--health-listen: {address} is not a loopback address"));
        }
        if args.dev && !args.mesh_listen.ip().is_loopback() {
            let address = args.mesh_listen;
            mistakes.0.push(format!("--mesh-listen: {address} is not loopback, as --dev wants"));
        }
        let (Some(data), Some(svid_ttl), Some(key), Some(workload), Some(operator), true) =
            (data, svid_ttl, sealing_key, workload, operator, mistakes.0.is_empty())
        else {
            return Err(mistakes);
        };
        let sealing_key = key.unwrap_or_else(|| data.sealing_key());
        let dev = trust_domain.map(|trust_domain| InitConfig {
            data: data.clone(),
            sealing_key: sealing_key.clone(),
            trust_domain,
            ca_ttl: 90 * DAY,
        });
        Ok(Self {
            mesh: args.mesh_listen,
            workload_socket: workload.unwrap_or_else(|| data.workload_socket()),
            operator_socket: operator.unwrap_or_else(|| data.operator_socket()),
            health: args.health_listen,
            data,
            sealing_key,
            svid_ttl,
            dev,
        })
    }
}

fn data_dir(path: &std::path::Path) -> Result<DataDir, String> {
    DataDir::new(path).map_err(|error| format!("--data-dir: {error}"))
}

fn absolute(flag: &str, path: Option<PathBuf>) -> Result<Option<PathBuf>, String> {
    let path = path.map(std::path::absolute).transpose();
    path.map_err(|error| format!("{flag}: {error}"))
}

/// SPID-03: canonical as it stands, not after folding.
fn trust_domain(name: &str) -> Result<TrustDomain, String> {
    match TrustDomain::new(name) {
        Ok(trust_domain) if trust_domain.as_str() == name => Ok(trust_domain),
        Ok(_) => Err(format!("--trust-domain: `{name}` is not a bare lower-case name")),
        Err(error) => Err(format!("--trust-domain: `{name}`: {error}")),
    }
}

fn duration(flag: &str, text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let format = humantime::format_duration;
    match humantime::parse_duration(text) {
        Ok(value) if value < min || value > max => {
            Err(format!("{flag}: {text} is not between {} and {}", format(min), format(max)))
        }
        Ok(value) if value.subsec_nanos() != 0 => Err(format!("{flag}: {text} has fractions")),
        Ok(value) => Ok(value),
        Err(error) => Err(format!("{flag}: `{text}`: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use clap::Parser;

    use super::{InitConfig, RunConfig};
    use crate::args::{Cli, Command};

    fn run(flags: &[&str]) -> Result<RunConfig, String> {
        let args = ["cellwalld", "run", "--data-dir", "/d"].iter().chain(flags);
        match Cli::try_parse_from(args).unwrap().command {
            Command::Run(args) => {
                args.try_into().map_err(|mistakes: super::Mistakes| mistakes.to_string())
            }
            Command::Init(_) | Command::Epoch(_) => unreachable!(),
        }
    }

    fn init(flags: &[&str]) -> Result<InitConfig, String> {
        let args = ["cellwalld", "init", "--data-dir", "/d"].iter().chain(flags);
        match Cli::try_parse_from(args).unwrap().command {
            Command::Init(args) => {
                args.try_into().map_err(|mistakes: super::Mistakes| mistakes.to_string())
            }
            Command::Run(_) | Command::Epoch(_) => unreachable!(),
        }
    }

    #[test]
    fn without_flags_everything_is_in_the_data_directory_and_on_loopback() {
        let config = run(&[]).unwrap();
        assert_eq!(config.workload_socket, Path::new("/d/workload.sock"));
        assert_eq!(config.operator_socket, Path::new("/d/operator.sock"));
        assert_eq!(config.sealing_key, Path::new("/d/sealing.key"));
        assert_eq!(config.svid_ttl, Duration::from_secs(3600));
        assert!(config.mesh.ip().is_loopback() && config.health.ip().is_loopback());
        assert_eq!(config.dev, None);
    }

    #[test]
    fn every_mistake_is_reported_with_its_flag() {
        let error = run(&["--svid-ttl", "9s", "--health-listen", "0.0.0.0:1"]).unwrap_err();
        let expected = "--svid-ttl: 9s is not between 10s and 1day\n\
                        --health-listen: 0.0.0.0:1 is not a loopback address";
        assert_eq!(error, expected);
        for (ttl, why) in [
            ("25h", "--svid-ttl: 25h is not between 10s and 1day"),
            ("1", "--svid-ttl: `1`: time unit needed, for example 1sec or 1ms"),
            ("10500ms", "--svid-ttl: 10500ms has fractions"),
        ] {
            assert_eq!(run(&["--svid-ttl", ttl]), Err(why.into()));
        }
        let dev = ["--dev", "--trust-domain", "Pay.example", "--mesh-listen", "10.0.0.1:1"];
        let expected = "--trust-domain: `Pay.example` is not a bare lower-case name\n\
                        --mesh-listen: 10.0.0.1:1 is not loopback, as --dev wants";
        assert_eq!(run(&dev), Err(expected.into()));
    }

    #[test]
    fn a_trust_domain_is_a_bare_lower_case_name() {
        // SPID-03
        init(&["--trust-domain", "pay.example"]).unwrap();
        for name in ["", "Pay", "spiffe://pay.example", "pay.example/x", "a b", "pay:1", "é"] {
            assert!(init(&["--trust-domain", name]).is_err(), "{name:?}");
        }
    }
}
