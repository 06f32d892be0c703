//! A client of the Workload API that says exactly what a test wants it to say.

use std::{path::Path, sync::Mutex, time::Duration};

use cellwall_api::workload::{
    HEADER, X509BundlesRequest, X509BundlesResponse, X509svidRequest, X509svidResponse,
    spiffe_workload_api_client::SpiffeWorkloadApiClient,
};
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::{
    Request, Status, Streaming,
    transport::{Channel, Endpoint},
};

use crate::{daemon::DEADLINE, svid::Svid};

pub(crate) type Client = SpiffeWorkloadApiClient<Channel>;

/// Connects to the socket.
pub(crate) async fn connect(socket: &Path) -> Client {
    try_over(UnixStream::connect(socket).await.unwrap()).await.unwrap()
}

/// Speaks over a connection that is there already.
pub(crate) async fn try_over(stream: UnixStream) -> Result<Client, tonic::transport::Error> {
    channel(stream).await.map(Client::new)
}

/// A channel over one connection, which it does not replace.
pub(crate) async fn channel<IO>(io: IO) -> Result<Channel, tonic::transport::Error>
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let once = Mutex::new(Some(io));
    let connector = tower::service_fn(move |_: Uri| {
        let io = once.lock().unwrap().take();
        async move { io.map(TokioIo::new).ok_or_else(|| std::io::Error::other("used up")) }
    });
    let endpoint = Endpoint::from_static("http://localhost").connect_timeout(DEADLINE);
    endpoint.connect_with_connector(connector).await
}

/// A request with the metadata that every call needs.
pub(crate) fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(HEADER, "true".parse().unwrap());
    request
}

/// An open `FetchX509SVID`.
pub(crate) struct Svids(Streaming<X509svidResponse>);

impl Svids {
    pub(crate) async fn open(client: &mut Client) -> Result<Self, Status> {
        client.fetch_x509svid(request(X509svidRequest {})).await.map(|got| Self(got.into_inner()))
    }

    /// The next message, which must come.
    pub(crate) async fn next(&mut self) -> Result<X509svidResponse, Status> {
        next(&mut self.0).await
    }
}

/// An open `FetchX509Bundles`.
pub(crate) struct Bundles(Streaming<X509BundlesResponse>);

impl Bundles {
    pub(crate) async fn open(client: &mut Client) -> Result<Self, Status> {
        let answer = client.fetch_x509_bundles(request(X509BundlesRequest {})).await;
        answer.map(|got| Self(got.into_inner()))
    }

    pub(crate) async fn next(&mut self) -> Result<X509BundlesResponse, Status> {
        next(&mut self.0).await
    }
}

async fn next<T>(stream: &mut Streaming<T>) -> Result<T, Status> {
    let message = tokio::time::timeout(DEADLINE, stream.message()).await;
    message.expect("no message in time")?.ok_or_else(|| Status::ok("the stream has ended"))
}

/// The first message of a new stream.
pub(crate) async fn fetch(socket: &Path) -> Result<X509svidResponse, Status> {
    let mut client = connect(socket).await;
    Svids::open(&mut client).await?.next().await
}

/// The SVID with this path that the first message of a new stream holds.
pub(crate) async fn svid(socket: &Path, path: &str) -> Svid {
    let response = fetch(socket).await.unwrap();
    let id = format!("spiffe://pay.example{path}");
    let found = response.svids.into_iter().find(|svid| svid.spiffe_id == id);
    Svid::read(found.unwrap())
}

/// Whether nothing comes for so long.
pub(crate) async fn is_silent(svids: &mut Svids, pause: Duration) -> bool {
    tokio::time::timeout(pause, svids.0.message()).await.is_err()
}
