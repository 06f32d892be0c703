//! The sockets of a sidecar: bound first, described, and opened when everything else is there.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

use crate::{
    Configured, Destination, Probes, Proxy, Served, Workload,
    config::{Config, InboundConfig},
    listen,
    listener::Callers,
    probes,
};

/// The listeners, bound before anything else starts: a mistake ends the process at once.
pub(crate) struct Listeners {
    pub(crate) doors: Doors,
    pub(crate) admin: TcpListener,
}

/// The sockets that calls and health checks come to.
pub(crate) struct Doors {
    inbound: Vec<(InboundConfig, TcpListener)>,
    outbound: Vec<(Arc<Destination>, TcpListener)>,
    probes: Option<(InboundConfig, TcpListener)>,
}

impl Listeners {
    pub(crate) fn bind(config: &Config) -> anyhow::Result<Self> {
        let mut inbound = Vec::new();
        for one in &config.inbound {
            inbound.push((*one, bind("--inbound", one.listen)?));
        }
        let admin = bind("--admin", config.admin)?;
        let probes = match config.probes {
            Some(one) => Some((one, bind("--probes", one.listen)?)),
            None => None,
        };
        let mut outbound = Vec::new();
        for one in &config.outbound {
            let listener = bind("--outbound", SocketAddr::from(([127, 0, 0, 1], one.port)))?;
            let destination = Destination::new(&one.destination, one.places.clone());
            outbound.push((Arc::new(destination), listener));
        }
        Ok(Self { doors: Doors { inbound, outbound, probes }, admin })
    }

    pub(crate) fn describe(&self, config: &Config) -> anyhow::Result<Configured> {
        let mut outbound = BTreeMap::new();
        for (destination, listener) in &self.doors.outbound {
            outbound.insert(destination.name.to_string(), listener.local_addr()?);
        }
        let mut listeners = BTreeMap::new();
        for (one, listener) in &self.doors.inbound {
            let port = one.port.map_or_else(String::new, |port| port.to_string());
            listeners.insert(port, listener.local_addr()?);
        }
        let (first, listener) = self.doors.inbound.first().context("--inbound")?;
        Ok(Configured {
            inbound: listener.local_addr()?,
            workload: first.workload,
            listeners,
            probes: self.doors.probes.as_ref().map(|(_, it)| it.local_addr()).transpose()?,
            outbound,
            admin: self.admin.local_addr()?,
            control: config.control.clone(),
        })
    }

    /// What others connect to, each with the port that the policy declares for it.
    pub(crate) fn serving(&self, control: &str) -> anyhow::Result<Vec<String>> {
        let mut serving = Vec::new();
        for (one, listener) in &self.doors.inbound {
            let address = advertised(one.advertise, listener.local_addr()?, control)?;
            serving.push(match one.port {
                Some(port) => format!("{port}@{address}"),
                None => address,
            });
        }
        Ok(serving)
    }
}

impl Doors {
    /// Opens them: each connection is a task of the proxy's drain. `limit` is for each listener.
    pub(crate) fn open(self, proxy: &Arc<Proxy>, limit: usize, probes_from: Vec<IpAddr>) {
        let drain = &proxy.drain;
        for (destination, listener) in self.outbound {
            let proxy = proxy.clone();
            drain.spawn(listen(listener, (Callers::Apps, limit), drain.clone(), move |accepted| {
                proxy.clone().outbound(accepted, destination.clone());
            }));
        }
        let known: Vec<_> = self.inbound.iter().map(|(it, _)| (it.workload, it.port)).collect();
        for (config, listener) in self.inbound {
            let proxy = proxy.clone();
            let workload = Workload::new(config.workload, drain.clone());
            let InboundConfig { port, advertise: advertised, .. } = config;
            let streams = Semaphore::new(limit);
            let served = Arc::new(Served { port, advertised, streams, workload });
            drain.spawn(listen(
                listener,
                (Callers::Others, limit),
                drain.clone(),
                move |accepted| {
                    let serve = |tcp, from| proxy.clone().inbound(tcp, from, served.clone());
                    accepted.served(&proxy.drain, serve);
                },
            ));
        }
        if let Some((config, listener)) = self.probes {
            let probes = Arc::new(Probes {
                authz: proxy.authz.clone(),
                workload: Workload::new(config.workload, drain.clone()),
                inbound: known.iter().find(|(it, _)| *it == config.workload).map(|(_, port)| *port),
                from: probes_from,
                arrived: watch::Sender::default(),
                drain: drain.clone(),
            });
            drain.spawn(listen(
                listener,
                (Callers::Others, probes::CONNECTIONS),
                drain.clone(),
                move |accepted| {
                    let serve = |tcp, from| probes.clone().serve(tcp, from);
                    accepted.served(&probes.drain, serve);
                },
            ));
        }
    }
}

fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    crate::listener::bind(address).with_context(|| format!("{flag} {address}"))
}

/// What others connect to. An unspecified address means this host, as the control plane's route
/// sees it.
fn advertised(
    configured: Option<SocketAddr>,
    inbound: SocketAddr,
    control: &str,
) -> anyhow::Result<String> {
    let mut address = configured.unwrap_or(inbound);
    if address.ip().is_unspecified() {
        // A UDP socket that sends nothing tells which of our addresses leads there.
        let probe = std::net::UdpSocket::bind((address.ip(), 0))?;
        probe.connect(control).with_context(|| format!("--control {control}: no route"))?;
        address.set_ip(probe.local_addr()?.ip());
    }
    Ok(address.to_string())
}
