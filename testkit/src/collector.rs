//! A collector of spans (OTLP over gRPC) that keeps what comes and answers as the test wants.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use cellwall_api::otlp::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::{ResourceSpans, Span},
};
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::{distribution::ReportAnswer, tasks::Tasks};

/// A collector on loopback.
#[derive(Debug)]
pub struct ScriptedCollector {
    address: SocketAddr,
    inbox: Arc<Inbox>,
    tasks: Tasks,
}

#[derive(Debug)]
struct Inbox {
    answer: Mutex<ReportAnswer>,
    came: Mutex<Vec<Batch>>,
    changes: watch::Sender<()>,
}

/// One batch as it came, each time it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// What it says.
    pub spans: Vec<ResourceSpans>,
    /// Whether it was acknowledged.
    pub acknowledged: bool,
}

struct Service(Arc<Inbox>);

impl ScriptedCollector {
    /// Listens on a free port.
    ///
    /// # Errors
    /// If there is none.
    pub async fn start() -> io::Result<Self> {
        Self::start_on(([127, 0, 0, 1], 0).into()).await
    }

    /// Listens where an earlier one was.
    ///
    /// # Errors
    /// If the address is taken.
    pub async fn start_on(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let inbox = Arc::new(Inbox {
            answer: Mutex::new(ReportAnswer::Keep),
            came: Mutex::default(),
            changes: watch::Sender::default(),
        });
        let tasks = Tasks::new();
        let service = TraceServiceServer::new(Service(inbox.clone()));
        tasks.spawner().spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            // A server that fails shows as spans that do not come.
            drop(Server::builder().add_service(service).serve_with_incoming(incoming).await);
        });
        Ok(Self { address, inbox, tasks })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it answers from now on.
    pub fn answer(&self, answer: ReportAnswer) {
        *lock(&self.inbox.answer) = answer;
    }

    /// Everything that came so far, in order.
    pub fn batches(&self) -> Vec<Batch> {
        lock(&self.inbox.came).clone()
    }

    /// The spans of all acknowledged batches.
    pub fn spans(&self) -> Vec<Span> {
        let batches = self.batches().into_iter().filter(|batch| batch.acknowledged);
        let scopes = batches.flat_map(|batch| batch.spans).flat_map(|spans| spans.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// Waits until what has come is as `wanted`.
    ///
    /// # Errors
    /// If it is not within `deadline`.
    pub async fn until(
        &self,
        deadline: Duration,
        wanted: impl Fn(&Self) -> bool,
    ) -> anyhow::Result<()> {
        let mut changes = self.inbox.changes.subscribe();
        let come = async {
            while !wanted(self) {
                changes.changed().await.context("the collector has stopped")?;
            }
            Ok(())
        };
        let waited = tokio::time::timeout(deadline, come).await;
        waited.with_context(|| format!("after {deadline:?}: {:?}", self.batches()))?
    }

    /// Stops it, and with it every connection.
    pub async fn stop(self) {
        self.tasks.stop().await;
    }
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let answer = *lock(&self.0.answer);
        let acknowledged = answer == ReportAnswer::Keep;
        let spans = request.into_inner().resource_spans;
        lock(&self.0.came).push(Batch { spans, acknowledged });
        self.0.changes.send_replace(());
        match answer {
            ReportAnswer::Keep => Ok(Response::new(ExportTraceServiceResponse::default())),
            ReportAnswer::Refuse(code) => Err(Status::new(code, "as the test wants")),
            ReportAnswer::Never => std::future::pending().await,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
