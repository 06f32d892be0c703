//! What a workload counts, and `GET /stats`.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::tasks::Spawner;

/// What a workload counted since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Requests, gRPC calls and TCP lines seen.
    pub requests: u64,
    /// Those that failed because a call to another workload did.
    pub errors: u64,
    /// Per destination.
    pub downstream: BTreeMap<String, DownstreamStats>,
}

impl Stats {
    /// Connections to others that ended although nobody here wanted them to.
    pub fn closed_unexpectedly(&self) -> u64 {
        self.downstream.values().map(|stats| stats.closed_unexpectedly).sum()
    }
}

/// What a workload counted about one destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownstreamStats {
    /// Calls that were begun.
    pub calls: u64,
    /// Calls without the answer that they should have had.
    pub failures: u64,
    /// Connections opened.
    pub opened: u64,
    /// Connections that ended although nobody here wanted them to.
    pub closed_unexpectedly: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Counters(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    requests: AtomicU64,
    errors: AtomicU64,
    downstream: Mutex<BTreeMap<String, DownstreamStats>>,
}

impl Counters {
    /// Counts a request; its number, from 1.
    pub(super) fn request(&self) -> u64 {
        self.0.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn error(&self) {
        self.0.errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn downstream(&self, to: &str, change: impl FnOnce(&mut DownstreamStats)) {
        let mut all = self.0.downstream.lock().unwrap_or_else(PoisonError::into_inner);
        change(all.entry(to.to_owned()).or_default());
    }

    pub(super) fn snapshot(&self) -> Stats {
        let downstream = self.0.downstream.lock().unwrap_or_else(PoisonError::into_inner);
        Stats {
            requests: self.0.requests.load(Ordering::Relaxed),
            errors: self.0.errors.load(Ordering::Relaxed),
            downstream: downstream.clone(),
        }
    }
}

pub(super) async fn serve(listener: TcpListener, counters: Counters, tasks: Spawner) {
    while let Ok((stream, _)) = listener.accept().await {
        let counters = counters.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = answer(&request, &counters);
            async move { Ok::<_, Infallible>(answer) }
        });
        tasks.spawn(async move {
            // A client of the statistics that goes away is nobody's concern.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

fn answer<B>(request: &Request<B>, counters: &Counters) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    if request.uri().path() != "/stats" {
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    match serde_json::to_vec(&counters.snapshot()) {
        Ok(body) => *response.body_mut() = Full::from(body),
        Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    response
}
