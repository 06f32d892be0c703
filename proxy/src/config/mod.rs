//! What the proxy runs with: [`Args`] checked once, all mistakes reported at once.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    time::Duration,
};

use cellwall_policy::{PolicyKey, is_destination};
use spiffe::{SpiffeId, transport::Endpoint};

use crate::{
    Places, TcpSessions,
    args::{self, Args},
};

/// The checked configuration.
#[derive(Debug)]
pub struct Config {
    /// Where other sidecars connect, and what stands behind.
    pub inbound: Vec<InboundConfig>,
    /// Where health checks come to, and what stands behind.
    pub probes: Option<InboundConfig>,
    /// Who may ask there besides this host.
    pub probes_from: Vec<IpAddr>,
    /// A local listener for each destination.
    pub outbound: Vec<OutboundConfig>,
    /// The admin listener, on loopback.
    pub admin: SocketAddr,
    /// The control plane, `HOST:PORT`.
    pub control: String,
    /// Whose signature makes a policy.
    pub policy_key: PolicyKey,
    /// Where the last policy is kept.
    pub state_dir: Option<PathBuf>,
    /// The Workload API's endpoint.
    pub workload_api: String,
    /// The one identity to take.
    pub spiffe_id: Option<SpiffeId>,
    /// Where spans go, and who is sampled.
    pub traces: Option<TracesConfig>,
    /// How TCP connections travel.
    pub tcp_sessions: TcpSessions,
    /// Connections at once in each direction.
    pub max_connections: usize,
    /// What calls in progress may take after SIGTERM.
    pub drain: Duration,
    /// Worker threads.
    pub threads: usize,
}

/// One listener for other sidecars.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InboundConfig {
    /// The port that the policy declares for it; `None`: the only one.
    pub port: Option<u16>,
    /// Where other sidecars connect.
    pub listen: SocketAddr,
    /// Where our workload listens.
    pub workload: SocketAddr,
    /// What others connect to, if not the listener's own address.
    pub advertise: Option<SocketAddr>,
}

/// Traces.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TracesConfig {
    /// The collector, on loopback.
    pub collector: SocketAddr,
    /// The share of calls without a trace for which one is begun, from 0 to 1.
    pub ratio: f64,
}

/// One local listener.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OutboundConfig {
    /// On loopback.
    pub port: u16,
    /// `WORKLOAD` or `ENVIRONMENT/WORKLOAD`, and `:PORT` for one of several listeners.
    pub destination: String,
    /// Where it is, if not where the control plane says.
    pub places: Option<Places>,
}

/// The options that cannot be used, one line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(Vec<String>);

impl TryFrom<Args> for Config {
    type Error = ConfigError;

    fn try_from(args: Args) -> Result<Self, ConfigError> {
        let mut mistakes = Vec::new();
        let mut inbound = Vec::new();
        for text in &args.inbound {
            inbound.extend(keep(&mut mistakes, parse_inbound(text)));
        }
        let probes = args.probes.as_deref().map(parse_probes).transpose();
        let probes = keep(&mut mistakes, probes).flatten();
        keep(&mut mistakes, declared_ports(&inbound));
        keep(&mut mistakes, advertise(&mut inbound, &args));
        let mut outbound = Vec::new();
        for text in &args.outbound {
            outbound.extend(keep(&mut mistakes, parse_outbound(text)));
        }
        keep(&mut mistakes, unique(&outbound));
        let policy_key = keep(&mut mistakes, read_key(&args.policy_key));
        let spiffe_id = args
            .spiffe_id
            .as_deref()
            .map(|id| SpiffeId::new(id).map_err(|error| format!("--spiffe-id {id}: {error}")));
        let spiffe_id = keep(&mut mistakes, spiffe_id.transpose());
        keep(&mut mistakes, check_endpoint(&args.workload_api));
        keep(&mut mistakes, check_limits(&args));
        let traces = keep(&mut mistakes, parse_traces(&args)).flatten();
        match (policy_key, spiffe_id) {
            (Some(policy_key), Some(spiffe_id)) if mistakes.is_empty() => Ok(Self {
                inbound,
                probes,
                probes_from: args.probes_from,
                outbound,
                admin: args.admin,
                control: args.control,
                policy_key,
                state_dir: args.state_dir,
                workload_api: args.workload_api,
                spiffe_id,
                traces,
                tcp_sessions: match args.tcp_sessions {
                    args::TcpSessions::Shared => TcpSessions::Shared,
                    args::TcpSessions::Own => TcpSessions::Own,
                },
                max_connections: args.max_connections,
                drain: Duration::from_secs(args.drain_seconds),
                threads: args.threads,
            }),
            _ => Err(ConfigError(mistakes)),
        }
    }
}

fn keep<T>(mistakes: &mut Vec<String>, parsed: Result<T, String>) -> Option<T> {
    parsed.map_err(|mistake| mistakes.push(mistake)).ok()
}

fn parse_inbound(text: &str) -> Result<InboundConfig, String> {
    let mistake = || format!("--inbound {text}: not [PORT@]LISTEN=WORKLOAD, the two IP:PORT");
    let (port, rest) = match text.split_once('@') {
        Some((port, rest)) => (Some(declared_port(port).ok_or_else(mistake)?), rest),
        None => (None, text),
    };
    let (listen, workload) = rest.split_once('=').ok_or_else(mistake)?;
    let listen = listen.parse().map_err(|_| mistake())?;
    let workload: SocketAddr = workload.parse().map_err(|_| mistake())?;
    if !workload.ip().is_loopback() {
        // CAP-02: whoever reaches the workload beside its sidecar reaches it without a decision.
        return Err(format!("--inbound {text}: the workload must listen on loopback"));
    }
    Ok(InboundConfig { port, listen, workload, advertise: None })
}

fn parse_probes(text: &str) -> Result<InboundConfig, String> {
    match parse_inbound(text) {
        Ok(config) if config.port.is_none() => Ok(config),
        Ok(_) => Err(format!("--probes {text}: not LISTEN=WORKLOAD, both IP:PORT")),
        Err(mistake) => Err(mistake.replace("--inbound", "--probes")),
    }
}

fn declared_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port: &u16| *port > 0 && port.to_string() == text)
}

/// Several listeners are told apart by the ports that the policy declares.
fn declared_ports(inbound: &[InboundConfig]) -> Result<(), String> {
    let ports: BTreeSet<_> = inbound.iter().map(|one| one.port).collect();
    if ports.len() < inbound.len() || inbound.len() > 1 && ports.contains(&None) {
        return Err("--inbound: each of several needs a PORT@ of its own".to_owned());
    }
    Ok(())
}

fn advertise(inbound: &mut [InboundConfig], args: &Args) -> Result<(), String> {
    if args.advertise.is_empty() {
        return Ok(());
    }
    if args.advertise.len() != args.inbound.len() {
        return Err("--advertise: once for each --inbound, or not at all".to_owned());
    }
    for (one, address) in inbound.iter_mut().zip(&args.advertise) {
        one.advertise = Some(*address);
    }
    Ok(())
}

fn parse_outbound(text: &str) -> Result<OutboundConfig, String> {
    let mistake =
        || format!("--outbound {text}: not PORT=[ENV/]WORKLOAD[:PORT][@[streams:]ADDR,...]");
    let (port, rest) = text.split_once('=').ok_or_else(mistake)?;
    let port = port.parse().map_err(|_| mistake())?;
    let (destination, addresses) =
        rest.split_once('@').map_or((rest, None), |(name, addresses)| (name, Some(addresses)));
    if !is_destination(destination) {
        return Err(mistake());
    }
    let places = addresses.map(|list| parse_places(list).ok_or_else(mistake)).transpose()?;
    Ok(OutboundConfig { port, destination: destination.to_owned(), places })
}

fn parse_places(list: &str) -> Option<Places> {
    let (mut addresses, mut streams) = (Vec::new(), Vec::new());
    for text in list.split(',') {
        let (address, takes_streams) =
            text.strip_prefix("streams:").map_or((text, false), |address| (address, true));
        let address: SocketAddr = address.parse().ok()?;
        addresses.push(address);
        streams.extend(takes_streams.then_some(address));
    }
    Some(Places { addresses: addresses.into(), streams: streams.into() })
}

fn unique(outbound: &[OutboundConfig]) -> Result<(), String> {
    let mut names: Vec<_> = outbound.iter().map(|one| one.destination.as_str()).collect();
    names.sort_unstable();
    match names.array_windows().find(|[first, second]| first == second) {
        Some([name, _]) => Err(format!("--outbound: `{name}` is there twice")),
        None => Ok(()),
    }
}

/// The bits of a file's mode that let others write.
const OTHERS_WRITE: u32 = 0o022;

fn read_key(path: &std::path::Path) -> Result<PolicyKey, String> {
    let mistake = |error: &dyn std::error::Error| {
        format!("--policy-key {}: {}", path.display(), crate::identity::chain(error))
    };
    let mode = std::fs::metadata(path).map_err(|error| mistake(&error))?.permissions().mode();
    if mode & OTHERS_WRITE != 0 {
        // SEC-02: whoever replaces it makes our policies.
        let (path, mode) = (path.display(), mode & 0o7777);
        return Err(format!(
            "--policy-key {path}: others may change it (mode {mode:04o}); run: chmod go-w {path}"
        ));
    }
    let pem = std::fs::read(path).map_err(|error| mistake(&error))?;
    PolicyKey::from_pem(&pem).map_err(|error| mistake(&error))
}

/// WEP-07: `unix:` with an absolute path, or `tcp:` with an address and a port, and nothing else.
fn check_endpoint(text: &str) -> Result<(), String> {
    Endpoint::parse(text)
        .map(drop)
        .map_err(|error| format!("--workload-api {text}: {}", crate::identity::chain(&error)))
}

fn parse_traces(args: &Args) -> Result<Option<TracesConfig>, String> {
    let (Some(url), ratio) = (&args.otlp, args.trace_ratio) else { return Ok(None) };
    let address = url.strip_prefix("http://").and_then(|address| address.parse().ok());
    // Spans name who calls whom: to another host they would go in the clear.
    let collector = address
        .filter(|address: &SocketAddr| address.ip().is_loopback())
        .ok_or_else(|| format!("--otlp {url}: not http://IP:PORT on loopback"))?;
    if !(0.0..=1.0).contains(&ratio) {
        return Err(format!("--trace-ratio {ratio}: not from 0 to 1"));
    }
    Ok(Some(TracesConfig { collector, ratio }))
}

fn check_limits(args: &Args) -> Result<(), String> {
    if !args.admin.ip().is_loopback() {
        return Err(format!("--admin {}: loopback only (OBS-09)", args.admin)); // OBS-09
    }
    if args.max_connections == 0 {
        return Err("--max-connections 0: nothing could be served".to_owned());
    }
    if args.threads == 0 {
        return Err("--threads 0: nothing could run".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
