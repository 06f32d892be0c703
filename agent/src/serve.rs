//! Connections of the Workload API's socket: who, how many, and for how long.

use std::{
    convert::Infallible,
    io,
    os::fd::AsRawFd,
    pin::pin,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use cellwall_api::workload::{DESCRIPTOR, spiffe_workload_api_server::SpiffeWorkloadApiServer};
use http::Request;
use hyper::{body::Incoming, rt::Executor, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::{counter, gauge};
use nix::sys::socket::{MsgFlags, recv};
use tokio::{io::Interest, net::UnixStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Status, service::Routes};
use tower_service::Service;

use crate::{
    AttestationError, Caller, Calls, Holdings, Server, Socket,
    authority::LocalAuthority,
    executable::Executables,
    limits::{Limits, Slot},
    service::{WorkloadApi, denied, require_header},
};

/// ATT-07: streams of one connection.
const STREAMS: u32 = 16;
/// ATT-07: from `accept` to the first byte.
const FIRST_BYTE: Duration = Duration::from_secs(2);
/// A connection without a call for so long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// From the end of service to the end of the connection, for last responses to leave.
const CLOSING: Duration = Duration::from_secs(2);
/// Requests of the Workload API are empty.
const MAX_REQUEST_BYTES: usize = 64 * 1024;
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// Pause after a failed `accept`, most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One node's agent.
#[derive(Debug)]
pub struct Agent<S> {
    pub(crate) server: S,
    pub(crate) holdings: Holdings,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) limits: Limits,
    pub(crate) executables: Arc<Executables>,
}

impl<S: Server> Agent<S> {
    /// An agent that asks `server`, runs all its tasks on `tasks` and ends them on `stop`.
    pub fn new(server: S, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            server,
            holdings: Holdings::default(),
            tasks,
            stop,
            limits: Limits::default(),
            executables: Arc::default(),
        }
    }

    /// Which certificates are in use.
    pub fn holdings(&self) -> Holdings {
        self.holdings.clone()
    }
}

/// One connection and who opened it.
pub(crate) struct Connection<S> {
    pub(crate) agent: Arc<Agent<S>>,
    pub(crate) caller: Caller,
    pub(crate) calls: Calls,
    /// Whether the log says already that no entry is for this caller.
    pub(crate) is_noted: AtomicBool,
    _slot: Slot,
}

/// Spawns what hyper wants spawned where shutdown waits for it.
#[derive(Clone)]
struct OnTracker(TaskTracker);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for OnTracker {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

/// Serves the Workload API on `socket` until the agent is stopped.
///
/// # Errors
///
/// When the reflection service cannot be built: the checked-in descriptor is not one.
pub async fn serve<S: Server>(
    agent: Arc<Agent<S>>,
    socket: Socket,
) -> Result<(), tonic_reflection::server::Error> {
    let routes = routes(&agent)?;
    loop {
        let accepted = tokio::select! {
            () = agent.stop.cancelled() => return Ok(()),
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok(stream) => admit(&agent, stream, &routes),
            Err(error) => {
                tracing::warn!(%error, "workload api: accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The Workload API behind its header, and reflection of it alone, which needs none (WEP-13).
fn routes<S: Server>(agent: &Arc<Agent<S>>) -> Result<Routes, tonic_reflection::server::Error> {
    let api = SpiffeWorkloadApiServer::new(WorkloadApi::new(agent.clone()))
        .max_decoding_message_size(MAX_REQUEST_BYTES);
    let api = tonic::service::interceptor::InterceptedService::new(api, require_header);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTOR)
        .include_reflection_service(false)
        .build_v1()?;
    Ok(Routes::new(api).add_service(reflection).prepare())
}

/// Attests at once, while the caller is most likely still what it was when it connected (ATT-01).
fn admit<S: Server>(agent: &Arc<Agent<S>>, stream: UnixStream, routes: &Routes) {
    let caller = match Caller::attest(&stream) {
        Ok(caller) => caller,
        Err(error) => return attestation_failed(&error),
    };
    let uid = caller.process().uid;
    let Some(connection) = Connection::new(agent.clone(), caller) else {
        counter!("cellwall_workload_connections_refused_total").increment(1);
        tracing::warn!(uid, "workload api: too many connections of one user");
        return;
    };
    agent.tasks.spawn(run(Arc::new(connection), stream, routes.clone()));
}

fn attestation_failed(error: &AttestationError) {
    counter!("cellwall_attestation_failures_total", "attestor" => "unix", "reason" => error.as_str())
        .increment(1);
    tracing::warn!(error = %error, "attestation failed");
}

async fn run<S: Server>(connection: Arc<Connection<S>>, stream: UnixStream, routes: Routes) {
    let open = gauge!("cellwall_workload_connections");
    open.increment(1);
    if let Ok(Ok(1..)) = tokio::time::timeout(FIRST_BYTE, first_byte(&stream)).await {
        speak(connection, stream, routes).await;
    }
    open.decrement(1);
}

/// Resolves when there is something to read, without reading it; 0 when the caller has gone.
/// `readable` alone may resolve when there is nothing.
async fn first_byte(stream: &UnixStream) -> io::Result<usize> {
    let peek = || Ok(recv(stream.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK)?);
    stream.async_io(Interest::READABLE, peek).await
}

async fn speak<S: Server>(connection: Arc<Connection<S>>, stream: UnixStream, routes: Routes) {
    let (stop, tasks) = (connection.agent.stop.clone(), connection.agent.tasks.clone());
    let calls = connection.calls.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(connection.clone());
        let mut routes = routes.clone();
        async move { Ok::<_, Infallible>(answer(&mut routes, request).await) }
    });
    let serving = http2::Builder::new(OnTracker(tasks))
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(LocalAuthority::new(stream)), service);
    let mut serving = pin!(serving);
    tokio::select! {
        _ended = serving.as_mut() => return,
        () = stop.cancelled() => {}
        () = calls.idle(IDLE) => {}
    }
    serving.as_mut().graceful_shutdown();
    // Whatever is left after the deadline is cut: its client does not read.
    let _ = tokio::time::timeout(CLOSING, serving).await;
}

async fn answer(
    routes: &mut Routes,
    request: Request<Incoming>,
) -> http::Response<tonic::body::Body> {
    let request = request.map(tonic::body::Body::new);
    match routes.call(request).await {
        Ok(response) => response,
    }
}

impl<S: Server> Connection<S> {
    /// A connection of this caller, unless its user has too many.
    pub(crate) fn new(agent: Arc<Agent<S>>, caller: Caller) -> Option<Self> {
        let slot = agent.limits.slot(caller.process().uid)?;
        let (calls, is_noted) = (Calls::default(), AtomicBool::new(false));
        Some(Self { agent, caller, calls, is_noted, _slot: slot })
    }

    /// Attests the caller again; to a caller that fails we say no more than to a stranger.
    pub(crate) fn recheck(&self) -> Result<(), Status> {
        self.caller.recheck().map_err(|error| {
            attestation_failed(&error);
            denied()
        })
    }
}
