use std::time::Duration;

use cellwall_api::workload::{
    HEADER, X509BundlesRequest, X509svidRequest,
    spiffe_workload_api_client::SpiffeWorkloadApiClient,
};
use tonic::{
    Code, Request, Streaming,
    transport::{Channel, Endpoint},
};

use super::*;
use crate::ca::TestCa;

const ID: &str = "spiffe://pay.example/prod/checkout";

async fn client(api: &ScriptedWorkloadApi) -> SpiffeWorkloadApiClient<Channel> {
    let channel = Endpoint::from_shared(api.endpoint()).unwrap().connect().await.unwrap();
    SpiffeWorkloadApiClient::new(channel)
}

fn with_header<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(HEADER, "true".parse().unwrap());
    request
}

async fn stream(api: &ScriptedWorkloadApi) -> Streaming<X509svidResponse> {
    let request = with_header(X509svidRequest {});
    client(api).await.fetch_x509svid(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn every_stream_gets_the_whole_last_state_and_then_every_change() {
    let dir = tempfile::tempdir().unwrap();
    let api = ScriptedWorkloadApi::start(dir.path()).await.unwrap();
    let ca = TestCa::new("pay.example");
    let first = X509State::issued(&ca, ID);
    let second = X509State::issued(&ca, ID).trusting(&[&ca, &ca.rotated()]);

    api.publish(&first);
    let mut early = stream(&api).await;
    let got = early.message().await.unwrap();
    api.publish(&second);
    let mut late = stream(&api).await;

    assert_eq!(got, Some(first.to_message()));
    assert_eq!(early.message().await.unwrap(), Some(second.to_message()));
    assert_eq!(late.message().await.unwrap(), Some(second.to_message()));
    assert_eq!(api.calls(), Calls { fetch_x509_svid: 2, ..Calls::default() });
    assert_eq!(api.open_streams(), 2);
}

#[tokio::test]
async fn a_stream_opened_before_anything_is_published_waits() {
    let dir = tempfile::tempdir().unwrap();
    let api = ScriptedWorkloadApi::start(dir.path()).await.unwrap();
    let mut waiting = stream(&api).await;
    let state = X509State::issued(&TestCa::new("pay.example"), ID);

    api.publish(&state);

    assert_eq!(waiting.message().await.unwrap(), Some(state.to_message()));
}

#[tokio::test]
async fn redaction_ends_open_streams_and_calls_to_come_with_permission_denied() {
    let dir = tempfile::tempdir().unwrap();
    let api = ScriptedWorkloadApi::start(dir.path()).await.unwrap();
    api.publish(&X509State::issued(&TestCa::new("pay.example"), ID));
    let mut open = stream(&api).await;
    open.message().await.unwrap();

    api.redact();

    assert_eq!(open.message().await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(stream(&api).await.message().await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn after_a_cut_the_next_call_gets_the_state_again() {
    let dir = tempfile::tempdir().unwrap();
    let api = ScriptedWorkloadApi::start(dir.path()).await.unwrap();
    let state = X509State::issued(&TestCa::new("pay.example"), ID);
    api.publish(&state);
    let mut open = stream(&api).await;
    open.message().await.unwrap();

    api.cut_streams();

    assert_eq!(open.message().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(stream(&api).await.message().await.unwrap(), Some(state.to_message()));
}

#[tokio::test]
async fn a_call_without_the_header_is_refused_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let api = ScriptedWorkloadApi::start(dir.path()).await.unwrap();

    let refused = client(&api).await.fetch_x509svid(X509svidRequest {}).await.unwrap_err();

    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(api.calls(), Calls { without_header: 1, ..Calls::default() });
}

#[tokio::test]
async fn bundles_are_those_of_the_svids_and_the_federated_ones() {
    let dir = tempfile::tempdir().unwrap();
    let api = ScriptedWorkloadApi::start(dir.path()).await.unwrap();
    let (ca, partner) = (TestCa::new("pay.example"), TestCa::new("partner.example"));
    api.publish(&X509State::issued(&ca, ID).federated("partner.example", &[partner.root()]));

    let request = with_header(X509BundlesRequest {});
    let mut bundles = client(&api).await.fetch_x509_bundles(request).await.unwrap().into_inner();

    let got = bundles.message().await.unwrap().unwrap().bundles;
    assert_eq!(got.len(), 2);
    assert_eq!(got["spiffe://pay.example"], ca.root().to_vec());
    assert_eq!(got["spiffe://partner.example"], partner.root().to_vec());
}

#[tokio::test]
async fn a_stopped_server_can_come_back_on_the_same_socket() {
    let dir = tempfile::tempdir().unwrap();
    let state = X509State::issued(&TestCa::new("pay.example"), ID);
    let api = ScriptedWorkloadApi::start(dir.path()).await.unwrap();
    api.publish(&state);
    let mut open = stream(&api).await;
    open.message().await.unwrap();

    api.stop().await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(2), open.message()).await.unwrap();
    let api = ScriptedWorkloadApi::start(dir.path()).await.unwrap();
    api.publish(&state);

    assert!(ended.is_err());
    assert_eq!(stream(&api).await.message().await.unwrap(), Some(state.to_message()));
}
