//! Health checks of the node: plain HTTP, without an identity, for what the policy lists under
//! `probes` and nothing else.
//!
//! No byte of whoever asks reaches the workload: the sidecar asks in its own words, once the policy
//! has named the method and the path, and hands on the status alone.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cellwall_policy::RequestPath;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use tokio::{net::TcpStream, sync::watch};

use crate::{
    Authz, Drain,
    authz::Probe,
    http::{self as web, Body},
    listener::Declared,
    metrics,
    upstream::Workload,
};

/// How many younger connections there may be before one that has asked nothing gives way. A node asks
/// every few seconds, as soon as it has connected.
const YOUNGER: u64 = 32;

/// Connections at once: those, and as many that wait for the workload.
pub(crate) const CONNECTIONS: usize = 64;

/// How long a connection may take to ask.
const ASKING_DEADLINE: Duration = Duration::from_secs(3);

/// How long the workload may take to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// One listener for health checks.
#[derive(Debug)]
pub struct Probes {
    /// The policy in force.
    pub authz: Authz,
    /// Our workload's HTTP port.
    pub workload: Workload,
    /// The inbound listener that stands for the same port, by the port that the policy declares for
    /// it; a second `None`: the only one.
    pub inbound: Option<Option<u16>>,
    /// Who may ask besides this host.
    pub from: Vec<IpAddr>,
    /// How many have connected.
    pub arrived: watch::Sender<u64>,
    /// Ends all of it.
    pub drain: Drain,
}

/// How a health check ended: a metric label, so a name never changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    /// The workload answered.
    Answered,
    /// Somebody else's, or not in the policy.
    Refused,
    /// The workload did not answer.
    Failed,
    /// Nothing was asked in time, or before others needed the place.
    Silent,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Silent => "silent",
        }
    }
}

impl Probes {
    /// One connection of whoever checks: one question, one answer.
    pub async fn serve(self: Arc<Self>, tcp: TcpStream, from: SocketAddr) {
        if !self.may_ask(from.ip(), tcp.local_addr().ok().map(|address| address.ip())) {
            return metrics::probe(Outcome::Refused.as_str());
        }
        let asked = AtomicBool::new(false);
        let answer = |request| {
            asked.store(true, Ordering::Relaxed);
            self.clone().answer(request)
        };
        tokio::select! {
            biased; // what is there to be read was asked
            _ = web::serve(tcp, web::Version::Http1, (&self.drain, None), answer) => {}
            () = self.silence(&asked) => metrics::probe(Outcome::Silent.as_str()),
        }
    }

    /// Resolves when a connection that comes now has to go because nothing is asked on it. Whoever
    /// only connects takes no place from whoever asks (RES-03).
    async fn silence(&self, asked: &AtomicBool) {
        let mut arrived = self.arrived.subscribe();
        let mut number = 0;
        self.arrived.send_modify(|all| {
            *all += 1;
            number = *all;
        });
        let crowd = arrived.wait_for(|all| all - number >= YOUNGER);
        let _ = tokio::time::timeout(ASKING_DEADLINE, crowd).await;
        if asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    /// This host, or whom the operator named.
    fn may_ask(&self, from: IpAddr, own: Option<IpAddr>) -> bool {
        let from = from.to_canonical();
        from.is_loopback()
            || own.map(|own| own.to_canonical()) == Some(from)
            || self.from.iter().any(|known| known.to_canonical() == from)
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (outcome, status) = match self.probe(&request) {
            Some(probe) => self.ask(&probe).await,
            None => (Outcome::Refused, StatusCode::NOT_FOUND),
        };
        metrics::probe(outcome.as_str());
        let mut response = Response::new(Body::ours(""));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }

    /// What the policy lists: the request has this method, this path, and nothing more.
    fn probe(&self, request: &Request<Incoming>) -> Option<Probe> {
        let is_plain = request.uri().query().is_none() && request.uri().authority().is_none();
        let path = RequestPath::parse(request.uri().path()).ok().filter(|_| is_plain)?;
        self.authz.probe(request.method(), &path)
    }

    /// In which version our workload is spoken to: as in calls, where that is known.
    fn version(&self) -> Version {
        let declared = self.inbound.and_then(|port| self.authz.declared(port).ok());
        declared.and_then(Declared::version).unwrap_or(Version::HTTP_11)
    }

    async fn ask(&self, probe: &Probe) -> (Outcome, StatusCode) {
        match tokio::time::timeout(ANSWER_DEADLINE, self.workload.probe(probe, self.version()))
            .await
        {
            Ok(Ok(status)) => (Outcome::Answered, status),
            Ok(Err(_)) | Err(_) => (Outcome::Failed, StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}
