//! What an operator and a scraper may read, on loopback: nothing here changes anything (OBS-10).

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use cellwall_policy::Snapshot;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};

use crate::{
    Directory, Drain, DrainWatch, Identities, Live, Standing,
    directory::Endpoints,
    http::{Body, Version, serve},
    listen,
};

/// Connections at once: a scraper, a probe, an operator.
const CONNECTIONS: usize = 32;

/// How often the exporter empties its buckets: samples wait in memory until then.
const UPKEEP: Duration = Duration::from_secs(5);

/// What `/config` shows: addresses and names, no secret.
#[derive(Clone, Debug, Serialize)]
pub struct Configured {
    /// Where other sidecars connect.
    pub inbound: SocketAddr,
    /// Where our workload listens.
    pub workload: SocketAddr,
    /// The local listener of each destination.
    pub outbound: BTreeMap<String, SocketAddr>,
    /// This listener.
    pub admin: SocketAddr,
    /// The control plane.
    pub control: String,
}

/// Answers `/livez`, `/readyz`, `/metrics` and `/config`.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The rendered metrics.
    pub metrics: PrometheusHandle,
    /// Whether we have an identity.
    pub identities: Identities,
    /// Whether we have a policy.
    pub policy: Arc<Live<Snapshot>>,
    /// Whether we are on our way out.
    pub draining: DrainWatch,
    /// Where others are.
    pub directory: Arc<Directory>,
    /// How the policy stands.
    pub standing: Arc<Standing>,
    /// What was configured.
    pub configured: Configured,
}

#[derive(Serialize)]
struct State<'a> {
    #[serde(flatten)]
    configured: &'a Configured,
    endpoints: Endpoints,
    version: &'static str,
    spiffe_id: Option<String>,
    svid_serial: Option<String>,
    svid_not_after: Option<u64>,
    generation: Option<u64>,
    policy_version: Option<u64>,
    policy_epoch: Option<u64>,
    policy_digest: Option<String>,
    policy_age_seconds: Option<u64>,
    workload_name: Option<String>,
    protocol: Option<&'static str>,
}

impl Admin {
    /// Serves until `drain` stops.
    pub async fn serve(self, listener: TcpListener, drain: Drain) {
        let connections = drain.clone();
        let admin = Arc::new(self);
        listen(listener, CONNECTIONS, drain, move |tcp: TcpStream, _| {
            let (admin, drain) = (admin.clone(), connections.clone());
            async move {
                let answer = |request| {
                    let admin = admin.clone();
                    async move { admin.answer(&request) }
                };
                serve(tcp, Version::Http1, (&drain, None), answer).await;
            }
        })
        .await;
    }

    /// Empties the exporter's buckets now and then, until `drain` stops.
    pub async fn upkeep(metrics: PrometheusHandle, drain: DrainWatch) {
        loop {
            tokio::select! {
                () = drain.stopping() => return,
                () = tokio::time::sleep(UPKEEP) => metrics.run_upkeep(),
            }
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        if request.method() != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned());
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "text/plain", "alive\n".to_owned()),
            "/readyz" => self.ready(),
            "/metrics" => {
                self.standing.measure(self.policy.load().as_deref(), SystemTime::now());
                text(StatusCode::OK, "text/plain; version=0.0.4", self.metrics.render())
            }
            "/config" => self.config(),
            _ => text(
                StatusCode::NOT_FOUND,
                "text/plain",
                "/livez /readyz /metrics /config\n".to_owned(),
            ),
        }
    }

    /// Ready is: a valid SVID, a verified policy, and not on our way out. Anything else denies
    /// (ID-21, AZ-01). Warnings follow, and change nothing (POL-03).
    fn ready(&self) -> Response<Body> {
        let policy = self.policy.load();
        let missing: Vec<_> = [
            (self.identities.current().is_none(), "no valid svid\n"),
            (policy.is_none(), "no verified policy\n"),
            (self.draining.is_stopping(), "draining\n"),
        ]
        .into_iter()
        .filter_map(|(missing, what)| missing.then_some(what))
        .collect();
        if missing.is_empty() {
            let warnings = policy.map(|it| self.standing.warnings(&it, SystemTime::now()));
            let lines = warnings.into_iter().flatten().map(|line| line + "\n");
            text(StatusCode::OK, "text/plain", "ready\n".to_owned() + &lines.collect::<String>())
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", missing.concat())
        }
    }

    fn config(&self) -> Response<Body> {
        let identity = self.identities.current();
        let material = identity.as_deref().map(|identity| &identity.material);
        let policy = self.policy.load();
        let snapshot = policy.as_deref();
        let state = State {
            configured: &self.configured,
            endpoints: self.directory.known().as_ref().clone(),
            version: env!("CARGO_PKG_VERSION"),
            spiffe_id: material.map(|material| material.id().to_string()),
            svid_serial: material.map(|material| material.serial().to_string()),
            svid_not_after: material.map(|material| material.not_after().as_secs()),
            generation: material.map(cellwall_mtls::TlsMaterial::generation),
            policy_version: snapshot.map(|snapshot| snapshot.version().0),
            policy_epoch: snapshot.map(|snapshot| snapshot.publication().epoch),
            policy_digest: snapshot.map(|snapshot| snapshot.publication().digest.to_string()),
            policy_age_seconds: self.standing.age(SystemTime::now()).map(|age| age.as_secs()),
            workload_name: snapshot.map(|snapshot| snapshot.workload().to_string()),
            protocol: snapshot.map(|snapshot| snapshot.protocol().as_str()),
        };
        match serde_json::to_string_pretty(&state) {
            Ok(json) => text(StatusCode::OK, "application/json", json),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
        }
    }
}

fn text(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::ours(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
