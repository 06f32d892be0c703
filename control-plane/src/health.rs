//! Loopback only, read only: is it alive, is it ready, what does it count.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::State, routing::get};
use http::{StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;
use rustls_pki_types::UnixTime;
use tokio::{net::TcpListener, sync::Semaphore};

use crate::{
    drain::Drain,
    gauges::Gauges,
    http::{Limits, converse},
};

/// A scraper, a probe, an operator.
const CONNECTIONS: usize = 32;
const LIMITS: Limits = Limits { head: Duration::from_secs(5), whole: Duration::from_secs(10) };
/// Samples wait in memory until the exporter has its upkeep.
const UPKEEP: Duration = Duration::from_secs(5);
/// Pause after a failed `accept`, most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers `/livez`, `/readyz` and `/metrics`.
#[derive(Clone, Debug)]
pub struct Health {
    /// What is counted.
    pub metrics: PrometheusHandle,
    /// What is measured when somebody asks.
    pub gauges: Gauges,
    /// Runs the connections.
    pub drain: Drain,
}

impl Health {
    /// Serves until the process stops.
    pub async fn serve(self, listener: TcpListener) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let (drain, router) = (self.drain.clone(), self.router());
        loop {
            let next = async {
                let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
                listener.accept().await.map(|(tcp, _)| (tcp, slot))
            };
            let accepted = tokio::select! {
                () = drain.stop().cancelled() => return,
                accepted = next => accepted,
            };
            match accepted {
                Ok((tcp, slot)) => {
                    let (router, stop) = (router.clone(), drain.stop().clone());
                    drain.spawn(async move {
                        converse(tcp, router, LIMITS, stop, |_| {}).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "health listener: accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Keeps the exporter's memory bounded until the process stops.
    pub async fn upkeep(metrics: PrometheusHandle, drain: Drain) {
        loop {
            tokio::select! {
                () = drain.stop().cancelled() => return,
                () = tokio::time::sleep(UPKEEP) => metrics.run_upkeep(),
            }
        }
    }

    fn router(self) -> Router {
        Router::new()
            .route("/livez", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(scrape))
            .with_state(Arc::new(self))
    }
}

/// Ready as long as sidecars would accept our SVID and the authority would issue theirs.
async fn readyz(State(health): State<Arc<Health>>) -> (StatusCode, String) {
    let now = UnixTime::now();
    let mut reasons = Vec::new();
    if health.drain.stop().is_cancelled() {
        reasons.push("stopping");
    }
    if health.gauges.material.borrow().authority_end().as_secs() <= now.as_secs() {
        reasons.push("cellwalld's own svid has ended");
    }
    if !health.gauges.authority.is_able(std::time::SystemTime::now()) {
        reasons.push("the authority has ended, or the clock is wrong");
    }
    if reasons.is_empty() {
        return (StatusCode::OK, "ok\n".into());
    }
    (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
}

async fn scrape(
    State(health): State<Arc<Health>>,
) -> ([(header::HeaderName, &'static str); 1], String) {
    health.gauges.measure().await;
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], health.metrics.render())
}

/// Binds the health listener.
///
/// # Errors
///
/// The operating system's.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}
