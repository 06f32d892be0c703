//! Health checks of the node: plain HTTP, without an identity, for what the policy lists under
//! `probes` and nothing else.
//!
//! No byte of whoever asks reaches the workload: the sidecar asks in its own words, once the policy
//! has named the method and the path, and hands on the status alone.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use cellwall_policy::RequestPath;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::net::TcpStream;

use crate::{
    Authz, Drain,
    authz::Probe,
    http::{self as web, Body, Version},
    metrics,
    upstream::Workload,
};

/// How long the workload may take to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// One listener for health checks.
#[derive(Debug)]
pub struct Probes {
    /// The policy in force.
    pub authz: Authz,
    /// Our workload's HTTP port.
    pub workload: Workload,
    /// Who may ask besides this host.
    pub from: Vec<IpAddr>,
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
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl Probes {
    /// One connection of whoever checks.
    pub async fn serve(self: Arc<Self>, tcp: TcpStream, from: SocketAddr) {
        if !self.may_ask(from.ip(), tcp.local_addr().ok().map(|address| address.ip())) {
            return metrics::probe(Outcome::Refused.as_str());
        }
        let (drain, answer) = (self.drain.clone(), |request| self.clone().answer(request));
        web::serve(tcp, Version::Http1, (&drain, None), answer).await;
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
        response
    }

    /// What the policy lists: the request has this method, this path, and nothing more.
    fn probe(&self, request: &Request<Incoming>) -> Option<Probe> {
        let is_plain = request.uri().query().is_none() && request.uri().authority().is_none();
        let path = RequestPath::parse(request.uri().path()).ok().filter(|_| is_plain)?;
        self.authz.probe(request.method(), &path)
    }

    async fn ask(&self, probe: &Probe) -> (Outcome, StatusCode) {
        match tokio::time::timeout(ANSWER_DEADLINE, self.workload.probe(probe)).await {
            Ok(Ok(status)) => (Outcome::Answered, status),
            Ok(Err(_)) | Err(_) => (Outcome::Failed, StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}
