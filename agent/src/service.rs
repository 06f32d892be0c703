//! The five calls of the Workload API, and the streams behind two of them.

use std::{sync::Arc, time::Duration};

use cellwall_api::workload::{
    HEADER, JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse,
    ValidateJwtsvidRequest, ValidateJwtsvidResponse, X509BundlesRequest, X509BundlesResponse,
    X509svidRequest, X509svidResponse, spiffe_workload_api_server::SpiffeWorkloadApi,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::{
    Refused, Server,
    bundles::Bundles,
    serve::{Agent, Connection},
    svids::Svids,
};

/// A client that does not take a response for so long is gone.
const SEND_DEADLINE: Duration = Duration::from_secs(30);

type Responses<T> = ReceiverStream<Result<T, Status>>;

/// The service. Who calls is in the request's extensions, put there by the connection.
pub(crate) struct WorkloadApi<S> {
    agent: Arc<Agent<S>>,
}

impl<S> WorkloadApi<S> {
    pub(crate) fn new(agent: Arc<Agent<S>>) -> Self {
        Self { agent }
    }
}

/// WEP-03: every call says that it was meant for the Workload API, so that a confused deputy's
/// request does not pass for one. Exactly one value, exactly `true`.
pub(crate) fn require_header(request: Request<()>) -> Result<Request<()>, Status> {
    let mut values = request.metadata().get_all(HEADER).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if value == "true" => Ok(request),
        _ => Err(Status::invalid_argument("metadata `workload.spiffe.io: true` is required, once")),
    }
}

pub(crate) fn denied() -> Status {
    Status::permission_denied("no identity issued")
}

pub(crate) fn unavailable() -> Status {
    Status::unavailable("not now")
}

pub(crate) fn refused(refused: &Refused) -> Status {
    match refused {
        Refused::NotEntitled => denied(),
        Refused::Unavailable(reason) => {
            tracing::warn!(reason, "no answer for a workload");
            unavailable() // WEP-10
        }
    }
}

#[tonic::async_trait]
impl<S: Server> SpiffeWorkloadApi for WorkloadApi<S> {
    type FetchX509SVIDStream = Responses<X509svidResponse>;
    type FetchX509BundlesStream = Responses<X509BundlesResponse>;
    type FetchJWTBundlesStream = Responses<JwtBundlesResponse>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        let connection = connection::<S, _>(&request)?;
        let (sender, responses) = mpsc::channel(1);
        self.agent.tasks.spawn(send_svids(connection, sender));
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        let connection = connection::<S, _>(&request)?;
        let (sender, responses) = mpsc::channel(1);
        self.agent.tasks.spawn(send_bundles(connection, sender));
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn fetch_jwtsvid(
        &self,
        _: Request<JwtsvidRequest>,
    ) -> Result<Response<JwtsvidResponse>, Status> {
        Err(no_jwt())
    }

    async fn fetch_jwt_bundles(
        &self,
        _: Request<JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        Err(no_jwt())
    }

    async fn validate_jwtsvid(
        &self,
        _: Request<ValidateJwtsvidRequest>,
    ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        Err(no_jwt())
    }
}

/// WAPI-01: the JWT profile is not served.
fn no_jwt() -> Status {
    Status::unimplemented("JWT-SVIDs are not served")
}

fn connection<S: Server, T>(request: &Request<T>) -> Result<Arc<Connection<S>>, Status> {
    request.extensions().get::<Arc<Connection<S>>>().cloned().ok_or_else(denied)
}

async fn send_svids<S: Server>(
    connection: Arc<Connection<S>>,
    sender: mpsc::Sender<Result<X509svidResponse, Status>>,
) {
    let _open = connection.calls.open();
    let mut changes = connection.agent.server.changes();
    let mut svids = Svids::new(connection.clone());
    loop {
        changes.borrow_and_update();
        let next = svids.next().await;
        if !send(&sender, next).await {
            return;
        }
        tokio::select! {
            () = sender.closed() => return,
            () = connection.agent.stop.cancelled() => {
                let _ = sender.try_send(Err(unavailable()));
                return;
            }
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(svids.pause()) => {}
        }
    }
}

async fn send_bundles<S: Server>(
    connection: Arc<Connection<S>>,
    sender: mpsc::Sender<Result<X509BundlesResponse, Status>>,
) {
    let _open = connection.calls.open();
    let mut changes = connection.agent.server.changes();
    let mut bundles = Bundles::new(connection.clone());
    loop {
        changes.borrow_and_update();
        let next = bundles.next().await;
        if !send(&sender, next).await {
            return;
        }
        tokio::select! {
            () = sender.closed() => return,
            () = connection.agent.stop.cancelled() => {
                let _ = sender.try_send(Err(unavailable()));
                return;
            }
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

/// Sends what there is to send; false when the stream is over.
async fn send<T>(
    sender: &mpsc::Sender<Result<T, Status>>,
    next: Result<Option<T>, Status>,
) -> bool {
    let (message, goes_on) = match next {
        Ok(None) => return true,
        Ok(Some(response)) => (Ok(response), true),
        Err(status) => (Err(status), false),
    };
    goes_on & matches!(tokio::time::timeout(SEND_DEADLINE, sender.send(message)).await, Ok(Ok(())))
}
