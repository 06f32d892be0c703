//! The gRPC side of the scripted Workload API.

use std::{pin::Pin, sync::Arc};

use cellwall_api::workload::{
    HEADER, JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse,
    ValidateJwtsvidRequest, ValidateJwtsvidResponse, X509BundlesRequest, X509BundlesResponse,
    X509svidRequest, X509svidResponse, spiffe_workload_api_server::SpiffeWorkloadApi,
};
use tokio::sync::mpsc;
use tokio_stream::{Stream as AsyncStream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::state::{QUEUE, Script, Stream};

/// How often what was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// `FetchX509SVID`.
    pub fetch_x509_svid: usize,
    /// `FetchX509Bundles`.
    pub fetch_x509_bundles: usize,
    /// Any of the calls about JWTs; they are answered `Unimplemented`.
    pub jwt: usize,
    /// Calls without the metadata header `workload.spiffe.io: true`; they are refused with
    /// `InvalidArgument` (WEP-03) and counted here only. A right client leaves this at 0.
    pub without_header: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    Svids,
    Bundles,
    Jwt,
    WithoutHeader,
}

impl Calls {
    pub(super) const fn count(&mut self, call: Call) {
        match call {
            Call::Svids => self.fetch_x509_svid += 1,
            Call::Bundles => self.fetch_x509_bundles += 1,
            Call::Jwt => self.jwt += 1,
            Call::WithoutHeader => self.without_header += 1,
        }
    }
}

#[derive(Debug)]
pub(super) struct Service {
    script: Arc<Script>,
}

impl Service {
    pub(super) const fn new(script: Arc<Script>) -> Self {
        Self { script }
    }

    fn enter<T>(&self, request: &Request<T>, call: Call) -> Result<(), Status> {
        let values = request.metadata().get_all(HEADER).iter().collect::<Vec<_>>();
        if values == ["true"] {
            self.script.count(call);
            return Ok(());
        }
        self.script.count(Call::WithoutHeader);
        Err(Status::invalid_argument("security header missing from request"))
    }

    fn no_jwt<T, R>(&self, request: &Request<T>) -> Result<R, Status> {
        self.enter(request, Call::Jwt)?;
        Err(Status::unimplemented("the scripted Workload API has no JWTs"))
    }
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for Service {
    type FetchX509SVIDStream = ReceiverStream<Result<X509svidResponse, Status>>;
    type FetchX509BundlesStream = ReceiverStream<Result<X509BundlesResponse, Status>>;
    type FetchJWTBundlesStream =
        Pin<Box<dyn AsyncStream<Item = Result<JwtBundlesResponse, Status>> + Send>>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        self.enter(&request, Call::Svids)?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.script.subscribe(Stream::Svids(sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        self.enter(&request, Call::Bundles)?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.script.subscribe(Stream::Bundles(sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<JwtsvidRequest>,
    ) -> Result<Response<JwtsvidResponse>, Status> {
        self.no_jwt(&request)
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        self.no_jwt(&request)
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<ValidateJwtsvidRequest>,
    ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        self.no_jwt(&request)
    }
}
