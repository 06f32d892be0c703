//! What an operator and a scraper may read, on loopback: nothing here changes anything (OBS-10).

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use cellwall_policy::{ListensDocument, Snapshot};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::{
    DecisionRecord, Decisions, Directory, Drain, DrainWatch, Identities, Live, Standing,
    decisions::RECENT,
    directory::Endpoints,
    http::{Body, Version, serve},
    listen,
    listener::{Accepted, Callers},
    memory,
};

/// Connections at once: a scraper, a probe, an operator.
const CONNECTIONS: usize = 32;

/// How often the exporter empties its buckets: samples wait in memory until then. And how often the kernel
/// gets back what is free.
const UPKEEP: Duration = Duration::from_secs(2);

/// What `/config` shows: addresses and names, no secret.
#[derive(Clone, Debug, Serialize)]
pub struct Configured {
    /// Where other sidecars connect, and where our workload listens, of the first listener.
    pub inbound: SocketAddr,
    /// Where our workload listens there.
    pub workload: SocketAddr,
    /// Every inbound listener by its declared port; `""` for the only one.
    pub listeners: BTreeMap<String, SocketAddr>,
    /// Where health checks come to.
    pub probes: Option<SocketAddr>,
    /// The local listener of each destination.
    pub outbound: BTreeMap<String, SocketAddr>,
    /// This listener.
    pub admin: SocketAddr,
    /// The control plane.
    pub control: String,
}

/// Decisions that `/decisions` shows when it is not told how many.
const SHOWN: usize = 50;

/// What is served, for whoever asks for anything else.
const PATHS: &str = "/livez /readyz /metrics /config /decisions?limit=N /decisions/ID\n";

/// Answers `/livez`, `/readyz`, `/metrics`, `/config` and `/decisions`.
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
    /// What was decided.
    pub decisions: Arc<Decisions>,
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
    listens: Option<Vec<ListensDocument>>,
}

impl Admin {
    /// Serves until `drain` stops.
    pub async fn serve(self, listener: TcpListener, drain: Drain) {
        let connections = drain.clone();
        let admin = Arc::new(self);
        listen(listener, (Callers::Others, CONNECTIONS), drain, move |accepted: Accepted| {
            let (admin, drain) = (admin.clone(), connections.clone());
            accepted.served(&connections, |tcp, _| async move {
                let answer = |request| {
                    let admin = admin.clone();
                    async move { admin.answer(&request) }
                };
                serve(tcp, Version::Http1, (&drain, None), answer).await;
            });
        })
        .await;
    }

    /// Keeps our memory small, until `drain` stops.
    pub async fn upkeep(metrics: PrometheusHandle, drain: DrainWatch) {
        loop {
            tokio::select! {
                () = drain.stopping() => return,
                () = tokio::time::sleep(UPKEEP) => {}
            }
            metrics.run_upkeep();
            memory::give_back();
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
            "/decisions" => self.recent(request.uri().query()),
            path => match path.strip_prefix("/decisions/") {
                Some(id) => self.decision(id),
                None => text(StatusCode::NOT_FOUND, "text/plain", PATHS.to_owned()),
            },
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
            endpoints: self.directory.known(),
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
            listens: snapshot.map(|snapshot| snapshot.listens().to_vec()),
        };
        json(StatusCode::OK, &state)
    }

    /// The newest denials and audited calls, at most as many as are kept.
    fn recent(&self, query: Option<&str>) -> Response<Body> {
        let limit = match query.map(|query| query.strip_prefix("limit=").map(str::parse)) {
            None => SHOWN,
            Some(Some(Ok(limit))) => limit,
            Some(_) => return text(StatusCode::BAD_REQUEST, "text/plain", PATHS.to_owned()),
        };
        let decisions = self.decisions.recent(limit.min(RECENT));
        let decisions: Vec<_> = decisions.iter().map(AsRef::as_ref).collect();
        json(StatusCode::OK, &Shown { schema_version: 1, decisions })
    }

    fn decision(&self, id: &str) -> Response<Body> {
        match self.decisions.find(id) {
            Some(record) => json(StatusCode::OK, &One { schema_version: 1, decision: &record }),
            None => json(StatusCode::NOT_FOUND, &Unknown::default()),
        }
    }
}

/// The answer to `/decisions`.
#[derive(Serialize)]
struct Shown<'a> {
    schema_version: u32,
    decisions: Vec<&'a DecisionRecord>,
}

/// The answer to `/decisions/ID`.
#[derive(Serialize)]
struct One<'a> {
    schema_version: u32,
    decision: &'a DecisionRecord,
}

/// The answer when there is none. It does not repeat what was asked.
#[derive(Serialize)]
struct Unknown {
    title: &'static str,
    status: u16,
    detail: String,
}

impl Default for Unknown {
    fn default() -> Self {
        let detail =
            format!("of this process the last {RECENT} denials and audited calls are kept");
        Self { title: "no such decision", status: StatusCode::NOT_FOUND.as_u16(), detail }
    }
}

fn json(status: StatusCode, document: &impl Serialize) -> Response<Body> {
    match serde_json::to_string_pretty(document) {
        Ok(json) => text(status, "application/json", json),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
    }
}

fn text(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::ours(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
