//! A policy distribution server whose every message is written by the test.
//!
//! It signs nothing and compiles nothing: snapshots come as bytes.

mod incoming;
mod reports;
mod script;
mod service;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::bail;
use cellwall_api::distribution::{
    ControlMessage, Endpoints, SignedSnapshot, distribution_server::DistributionServer,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, transport::Server};

use self::{reports::Reports, script::Script, service::Service};
pub use self::{
    reports::{ReportAnswer, Reported},
    script::{Event, Said},
};
use crate::{
    ca::{Svid, TestCa},
    tasks::Tasks,
    tls::DangerousParty,
};

/// The path of the control plane's own SPIFFE ID.
pub const CONTROL_PLANE_PATH: &str = "/cellwall/control-plane";

/// A distribution server over mutual TLS on this machine. It lets in whoever shows a certificate with
/// a URI, and believes it.
#[derive(Debug)]
pub struct ScriptedDistribution {
    address: SocketAddr,
    script: Arc<Script>,
    reports: Arc<Reports>,
    tasks: Tasks,
}

impl ScriptedDistribution {
    /// Listens on a free port of loopback, as `spiffe://TD/cellwall/control-plane`.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn start(ca: &TestCa) -> io::Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST, ca).await
    }

    /// As [`ScriptedDistribution::start`], at another address of this machine.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn start_at(address: Ipv4Addr, ca: &TestCa) -> io::Result<Self> {
        let id = format!("spiffe://{}{CONTROL_PLANE_PATH}", ca.trust_domain());
        Self::start_on((address, 0).into(), &ca.svid(&id)).await
    }

    /// Listens on this address, presenting this SVID: to come back where an earlier one was, or to
    /// pretend to be what it is not.
    ///
    /// # Errors
    /// If the address is taken.
    pub async fn start_on(address: SocketAddr, svid: &Svid) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let tasks = Tasks::new();
        let spawner = tasks.spawner();
        let script = Arc::new(Script::default());
        // Handshakes that wait for the server to take them: few, and nothing is lost when it stops.
        let (accepted, incoming) = mpsc::channel(16);
        let party = DangerousParty::presenting(svid).alpn(&["h2"]);
        spawner.spawn(incoming::accept(listener, party, accepted, spawner.clone()));
        let reports = Arc::new(Reports::default());
        let service = Service::new(script.clone(), reports.clone(), spawner.clone());
        let service = DistributionServer::new(service);
        let stopped = spawner.stopped().cancelled_owned();
        let server = Server::builder().add_service(service);
        spawner.spawn_graceful(async move {
            let incoming = ReceiverStream::new(incoming);
            // A server that fails shows as calls that fail.
            drop(server.serve_with_incoming_shutdown(incoming, stopped).await);
        });
        Ok(Self { address, script, reports, tasks })
    }

    /// Where it listens; for `--control`.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends this snapshot to the sidecars with this SPIFFE ID, now and whenever one comes.
    pub fn set_snapshot(&self, id: &str, payload: Vec<u8>, signature: Vec<u8>) {
        self.script.set_snapshot(id, SignedSnapshot { payload, signature });
    }

    /// Tells every sidecar that named this destination, now and whenever one comes, that it is
    /// served at these addresses, where each TCP connection needs a session of its own.
    pub fn set_endpoints(&self, destination: &str, addresses: &[String]) {
        let (destination, addresses) = (destination.to_owned(), addresses.to_vec());
        self.script.set_endpoints(Endpoints { destination, addresses, streams: Vec::new() });
    }

    /// The same, of addresses where TCP connections are taken as streams of a session.
    pub fn set_sharing_endpoints(&self, destination: &str, addresses: &[String]) {
        let (destination, addresses) = (destination.to_owned(), addresses.to_vec());
        let streams = addresses.clone();
        self.script.set_endpoints(Endpoints { destination, addresses, streams });
    }

    /// From now on this destination is served where the sidecars with this SPIFFE ID say they
    /// serve, as with a real control plane.
    pub fn follow(&self, destination: &str, id: &str) {
        self.script.follow(destination, id);
    }

    /// Sends any message to the sidecars with this SPIFFE ID that are connected now.
    pub fn send(&self, id: &str, message: &ControlMessage) {
        self.script.send(id, message);
    }

    /// Ends all streams with `Unavailable`. Whoever comes back is served.
    pub fn cut_streams(&self) {
        self.script.cut(&Status::unavailable("cut by the test"));
    }

    /// Everything that sidecars said so far, in order.
    pub fn events(&self) -> Vec<Event> {
        self.script.events()
    }

    /// Waits for the first event that fits, beginning with the one of this number.
    ///
    /// # Errors
    /// If there is none within `deadline`; with all events so far.
    pub async fn event(
        &self,
        from: usize,
        deadline: Duration,
        fits: impl Fn(&Event) -> bool,
    ) -> anyhow::Result<Event> {
        let mut changes = self.script.changes();
        let found = async {
            loop {
                changes.mark_unchanged();
                if let Some(event) = self.events().into_iter().skip(from).find(&fits) {
                    return event;
                }
                if changes.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        };
        match tokio::time::timeout(deadline, found).await {
            Ok(event) => Ok(event),
            Err(_) => bail!("no such event within {deadline:?} among {:#?}", self.events()),
        }
    }

    /// Waits until a sidecar with this SPIFFE ID acknowledges this version.
    ///
    /// # Errors
    /// If none does within `deadline`.
    pub async fn acknowledged(
        &self,
        id: &str,
        version: u64,
        deadline: Duration,
    ) -> anyhow::Result<Event> {
        let fits = |event: &Event| match &event.said {
            Said::Ack(ack) => event.id == id && ack.version == version,
            Said::Hello(_) | Said::Serving(_) | Said::Nack(_) | Said::Left => false,
        };
        self.event(0, deadline, fits).await
    }

    /// From now on batches of decisions are answered so. At first they are acknowledged.
    pub fn answer_reports(&self, answer: ReportAnswer) {
        self.reports.answer(answer);
    }

    /// From now on batches are answered and not taken down: there may be millions of decisions.
    pub fn forget_reports(&self) {
        self.reports.forget();
    }

    /// Every batch of decisions that came, each time it came.
    pub fn reports(&self) -> Vec<Reported> {
        self.reports.all()
    }

    /// Waits until the batches that came are as wanted, and returns them.
    ///
    /// # Errors
    /// If they are not within `deadline`; with all of them.
    pub async fn reported(
        &self,
        deadline: Duration,
        fit: impl Fn(&[Reported]) -> bool,
    ) -> anyhow::Result<Vec<Reported>> {
        let mut changes = self.reports.changes();
        let found = async {
            loop {
                changes.mark_unchanged();
                let reports = self.reports();
                if fit(&reports) {
                    return reports;
                }
                if changes.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        };
        match tokio::time::timeout(deadline, found).await {
            Ok(reports) => Ok(reports),
            Err(_) => bail!("not as wanted within {deadline:?}: {:#?}", self.reports()),
        }
    }

    /// Ends all streams and stops listening.
    pub async fn stop(self) {
        self.cut_streams();
        self.tasks.stop().await;
    }
}

impl Drop for ScriptedDistribution {
    fn drop(&mut self) {
        self.cut_streams();
    }
}
