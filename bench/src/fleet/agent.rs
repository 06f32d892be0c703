//! A client of the Workload API that is simulated: one stream, one identity, renewed for it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use cellwall_api::workload::{
    HEADER, X509svid, X509svidRequest, X509svidResponse,
    spiffe_workload_api_client::SpiffeWorkloadApiClient,
};
use cellwall_mtls::{DenyList, MaterialInput, TlsMaterial};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use spiffe::TrustDomain;
use tokio::net::UnixStream;
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

use super::{FleetError, board::Board, policy::TRUST_DOMAIN};

/// How long a connection may take.
const CONNECTS: Duration = Duration::from_secs(10);

/// Streams that one connection takes: what the agent allows.
pub(super) const STREAMS: usize = 16;

/// What one has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// The last one.
    pub(super) svid: Option<Arc<X509svid>>,
    /// When each came.
    pub(super) came: Vec<Instant>,
    /// When and how the stream ended, if it has.
    pub(super) ended: Option<(Instant, Code, String)>,
}

impl Held {
    /// What is said of one that is waited for.
    pub(super) fn told(&self) -> String {
        match &self.ended {
            Some((_, code, why)) => format!("{code:?}: {why}"),
            None => format!("{} svids", self.came.len()),
        }
    }
}

/// Speaks over one connection, which is not made again.
pub(super) async fn client(
    stream: UnixStream,
) -> Result<SpiffeWorkloadApiClient<Channel>, FleetError> {
    channel(stream).await.map(SpiffeWorkloadApiClient::new).map_err(|error| FleetError::System {
        what: "the workload api",
        source: std::io::Error::other(error),
    })
}

/// A channel over one connection.
pub(super) async fn channel<S>(stream: S) -> Result<Channel, tonic::transport::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut once = Some(stream);
    let connector = tower::service_fn(move |_| {
        let stream = once.take();
        async move { stream.map(TokioIo::new).ok_or_else(|| std::io::Error::other("used up")) }
    });
    let endpoint = Endpoint::from_static("http://localhost").connect_timeout(CONNECTS);
    endpoint.connect_with_connector(connector).await
}

/// Holds one stream to its end.
pub(super) async fn live(
    mut client: SpiffeWorkloadApiClient<Channel>,
    seat: usize,
    board: Board<Held>,
) {
    let status = match watch(&mut client, seat, &board).await {
        Ok(()) => Status::ok("the stream has ended"),
        Err(status) => status,
    };
    let ended = (Instant::now(), status.code(), status.message().to_owned());
    board.note(seat, |held| held.ended = Some(ended));
}

async fn watch(
    client: &mut SpiffeWorkloadApiClient<Channel>,
    seat: usize,
    board: &Board<Held>,
) -> Result<(), Status> {
    let mut request = Request::new(X509svidRequest {});
    request.metadata_mut().insert(HEADER, MetadataValue::from_static("true"));
    let mut stream = client.fetch_x509svid(request).await?.into_inner();
    while let Some(response) = stream.message().await? {
        let (svid, now) = (only(response)?, Instant::now());
        board.note(seat, |held| {
            // The same one again, with other bundles for example, is no renewal.
            if held.svid.as_ref().is_none_or(|last| last.x509_svid != svid.x509_svid) {
                held.came.push(now);
            }
            held.svid = Some(Arc::new(svid));
        });
    }
    Ok(())
}

/// Each process has one identity.
fn only(response: X509svidResponse) -> Result<X509svid, Status> {
    let mut svids = response.svids.into_iter();
    match (svids.next(), svids.next()) {
        (Some(svid), None) => Ok(svid),
        (None, _) => Err(Status::data_loss("no svid")),
        (Some(_), Some(_)) => Err(Status::data_loss("more than one svid")),
    }
}

/// What a sidecar makes of its SVID.
pub(super) fn material(svid: &X509svid) -> Result<TlsMaterial, FleetError> {
    let wrong = |why: String| FleetError::Svid(why);
    let domain = TrustDomain::new(TRUST_DOMAIN).map_err(|error| wrong(error.to_string()))?;
    let [leaf, anchor] =
        [&svid.x509_svid, &svid.bundle].map(|der| CertificateDer::from(der.clone()));
    let input = MaterialInput {
        chain: vec![leaf],
        key: PrivatePkcs8KeyDer::from(svid.x509_svid_key.clone()).into(),
        bundles: BTreeMap::from([(domain, vec![anchor])]),
        deny: DenyList::default(),
        generation: 1,
        now: UnixTime::now(),
    };
    TlsMaterial::build(input).map_err(|error| wrong(error.to_string()))
}
