//! The stream of the Workload API: opened, heard, and opened again when it ends.

use std::time::Duration;

use cellwall_api::workload::{
    HEADER, X509svidRequest, X509svidResponse, spiffe_workload_api_client::SpiffeWorkloadApiClient,
};
use rand::RngExt as _;
use spiffe::transport::Endpoint;
use tokio::sync::mpsc;
use tonic::{Code, Request, Status, Streaming, metadata::MetadataValue};

use super::chain;
use crate::hardening;

/// How long the pause between two attempts to reach the Workload API may get (WAPI-03).
const MAX_PAUSE: Duration = Duration::from_secs(2);
const MIN_PAUSE: Duration = Duration::from_millis(50);

/// The largest message that is read (WAPI-32).
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What was heard.
pub(super) enum Heard {
    /// A message, whole, not looked at yet.
    Message(X509svidResponse),
    /// We are entitled to nothing (WAPI-14, WAPI-15).
    Denied(Status),
    /// A message over the limit: it is not read, and the stream has ended with it (WAPI-32).
    TooLarge,
}

/// Listens to the Workload API at `endpoint` and says what it heard. Never ends.
pub(super) async fn listen(endpoint: &str, say: mpsc::Sender<Heard>) {
    let mut pause = MIN_PAUSE;
    let mut last = None;
    loop {
        hardening::await_attestor(endpoint).await;
        let mut heard = false;
        let status = match open(endpoint).await {
            Ok(mut stream) => loop {
                match stream.message().await {
                    Ok(Some(message)) => {
                        heard = true;
                        let _ = say.send(Heard::Message(message)).await;
                    }
                    Ok(None) => break Status::unavailable("the stream ended"),
                    Err(status) => break status,
                }
            },
            Err(status) => status,
        };
        if heard {
            (pause, last) = (MIN_PAUSE, None);
        }
        let code = status.code();
        if last.replace(code) != Some(code) {
            tracing::warn!(error = %chain(&status), endpoint, "workload api stream ended");
        }
        match code {
            Code::PermissionDenied => {
                let _ = say.send(Heard::Denied(status)).await;
            }
            // What tonic says of a message over the limit.
            Code::OutOfRange => {
                let _ = say.send(Heard::TooLarge).await;
            }
            // WEP-11: asking again at once will not change it.
            Code::InvalidArgument | Code::Unimplemented => pause = MAX_PAUSE,
            _ => {}
        }
        let jitter = rand::rng().random_range(0.5..1.0);
        tokio::time::sleep(pause.mul_f64(jitter)).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

async fn open(endpoint: &str) -> Result<Streaming<X509svidResponse>, Status> {
    let unreachable = |error: &dyn std::error::Error| Status::unavailable(chain(error));
    let endpoint = Endpoint::parse(endpoint).map_err(|error| unreachable(&error))?;
    let channel =
        spiffe::transport::connect(&endpoint).await.map_err(|error| unreachable(&error))?;
    let mut client = SpiffeWorkloadApiClient::new(channel).max_decoding_message_size(MAX_BYTES);
    let mut request = Request::new(X509svidRequest {});
    request.metadata_mut().insert(HEADER, MetadataValue::from_static("true")); // WEP-04
    Ok(client.fetch_x509svid(request).await?.into_inner())
}
