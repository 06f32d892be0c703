//! The Workload API (SPIFFE_Workload_Endpoint.md, SPIFFE_Workload_API.md) over its socket.

use std::{fs, path::Path, process::Command, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use cellwall_api::workload::{
    HEADER, JwtBundlesRequest, JwtsvidRequest, ValidateJwtsvidRequest, X509BundlesRequest,
    X509svidRequest,
};
use serde_json::Value;
use tokio::{
    io::AsyncReadExt,
    net::UnixStream,
    time::{Instant, timeout},
};
use tonic::{Code, Request};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::{
    daemon::{DEADLINE, Daemon},
    policy::{we_are_both, we_are_nobody, we_are_web},
    svid::Svid,
    workload::{self, Bundles, Svids, connect, fetch, request},
};

fn with_headers<T>(message: T, values: &[&str]) -> Request<T> {
    let mut request = Request::new(message);
    for value in values {
        request.metadata_mut().append(HEADER, value.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn a_call_without_exactly_the_header_is_invalid() {
    // WEP-03: before anything is said about identity.
    let daemon = Daemon::start_with_policy(&[], &we_are_nobody()).await;
    let mut client = connect(&daemon.workload_socket).await;
    for values in [&[][..], &[""], &["True"], &["TRUE"], &["1"], &["true, true"], &["true", "true"]]
    {
        let code = |result: Result<(), tonic::Status>| result.unwrap_err().code();
        let svids = client.fetch_x509svid(with_headers(X509svidRequest {}, values)).await;
        let bundles = client.fetch_x509_bundles(with_headers(X509BundlesRequest {}, values)).await;
        let jwt = client.fetch_jwtsvid(with_headers(JwtsvidRequest::default(), values)).await;
        for answer in [svids.map(drop), bundles.map(drop), jwt.map(drop)] {
            assert_eq!(code(answer), Code::InvalidArgument, "{values:?}");
        }
    }
}

#[tokio::test]
async fn calls_of_the_jwt_profile_are_unimplemented() {
    // WAPI-01, WEP-10
    let daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let mut client = connect(&daemon.workload_socket).await;
    let svid = client.fetch_jwtsvid(request(JwtsvidRequest::default())).await;
    let bundles = client.fetch_jwt_bundles(request(JwtBundlesRequest {})).await;
    let validate = client.validate_jwtsvid(request(ValidateJwtsvidRequest::default())).await;
    for answer in [svid.map(drop), bundles.map(drop), validate.map(drop)] {
        assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
    }
}

#[tokio::test]
async fn reflection_lists_the_workload_api_alone_and_needs_no_header() {
    // WEP-13
    let daemon = Daemon::start().await;
    let stream = UnixStream::connect(&daemon.workload_socket).await.unwrap();
    let mut client = ServerReflectionClient::new(workload::channel(stream).await.unwrap());
    let ask =
        |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let asked = tokio_stream::iter([ask(MessageRequest::ListServices(String::new()))]);
    let mut answers = client.server_reflection_info(asked).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    assert_eq!(names, ["SpiffeWorkloadAPI"]);
}

#[tokio::test]
async fn a_process_without_an_entry_is_denied() {
    // WAPI-14, WAPI-17
    let daemon = Daemon::start_with_policy(&[], &we_are_nobody()).await;
    assert_eq!(fetch(&daemon.workload_socket).await.unwrap_err().code(), Code::PermissionDenied);
    let mut client = connect(&daemon.workload_socket).await;
    let bundles = Bundles::open(&mut client).await.unwrap().next().await;
    assert_eq!(bundles.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_registered_process_gets_a_whole_svid_at_once() {
    // WAPI-04, WAPI-05, WAPI-12, X5-01 to X5-14, X5-20
    let daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let response = fetch(&daemon.workload_socket).await.unwrap();
    assert_eq!((response.svids.len(), response.crl.len()), (1, 0));
    assert!(response.federated_bundles.is_empty()); // WAPI-31
    let svid = Svid::read(response.svids.into_iter().next().unwrap());
    assert_eq!(svid.id, "spiffe://pay.example/prod/web");
    let leaf = svid.certificate();
    let (_, anchor) = x509_parser::parse_x509_certificate(&svid.anchor).unwrap();
    leaf.verify_signature(Some(anchor.public_key())).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    let text: Vec<String> = names.value.general_names.iter().map(ToString::to_string).collect();
    assert_eq!((names.critical, text), (true, vec![format!("URI({})", svid.id)]));
    let basic = leaf.basic_constraints().unwrap().unwrap();
    assert_eq!((basic.critical, basic.value.ca), (true, false));
    let usage = leaf.key_usage().unwrap().unwrap();
    assert_eq!((usage.critical, usage.value.flags), (true, 1));
    let extended = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth);
    assert_eq!(svid.life(), 3600 + 60);
    assert!(leaf.raw_serial().len() >= 8);
    let bundle = fs::read(daemon.data().join("bundle.pem")).unwrap();
    assert_eq!(pem::parse(bundle).unwrap().contents(), svid.anchor.as_ref());
}

/// Runs `openssl`; nothing if there is none here.
fn openssl(arguments: &[&str]) -> Option<String> {
    let output = Command::new("openssl").args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

fn write_pem(dir: &Path, name: &str, label: &str, der: &[u8]) -> String {
    let path = dir.join(name);
    fs::write(&path, pem::encode(&pem::Pem::new(label, der))).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn openssl_reads_and_verifies_an_svid() {
    // X5-04, X5-05, X5-08 to X5-14 by another implementation.
    let daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let svid = workload::svid(&daemon.workload_socket, "/prod/web").await;
    let leaf = write_pem(daemon.dir.path(), "leaf.pem", "CERTIFICATE", &svid.leaf);
    let anchor = write_pem(daemon.dir.path(), "anchor.pem", "CERTIFICATE", &svid.anchor);
    let Some(text) = openssl(&["x509", "-in", &leaf, "-noout", "-text"]) else { return };
    for line in [
        "X509v3 Subject Alternative Name: critical",
        "URI:spiffe://pay.example/prod/web",
        "X509v3 Basic Constraints: critical",
        "CA:FALSE",
        "X509v3 Key Usage: critical",
        "Digital Signature\n",
        "TLS Web Server Authentication, TLS Web Client Authentication",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    openssl(&["verify", "-x509_strict", "-CAfile", &anchor, &leaf]).unwrap();
    let text = openssl(&["x509", "-in", &anchor, "-noout", "-text"]).unwrap();
    for line in ["CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign\n", "URI:spiffe://pay.example\n"]
    {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("Extended Key Usage"));
}

#[tokio::test]
async fn rotation_pushes_a_new_certificate_with_a_new_key() {
    // WAPI-04, WAPI-06, WAPI-33, ROT-02: half of ten seconds, give or take a tenth.
    let daemon = Daemon::start_with_policy(&["--svid-ttl", "10s"], &we_are_web()).await;
    let mut client = connect(&daemon.workload_socket).await;
    let start = Instant::now();
    let mut svids = Svids::open(&mut client).await.unwrap();
    let mut read = Vec::new();
    for _ in 0..2 {
        let response = svids.next().await.unwrap();
        assert_eq!(response.svids.len(), 1);
        read.push(Svid::read(response.svids.into_iter().next().unwrap()));
    }
    // Certificates count in whole seconds, so up to one is lost at the start.
    assert!(start.elapsed() >= Duration::from_millis(3400), "{:?}", start.elapsed());
    assert_ne!(read[0].public_key(), read[1].public_key());
    assert_ne!(read[0].serial(), read[1].serial());
    assert_eq!(read[0].id, read[1].id);
    assert_eq!(read[1].life(), 10 + 60);
}

#[tokio::test]
async fn a_stream_ends_when_its_entry_goes_and_not_before() {
    // WAPI-06, WAPI-14
    let daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let mut client = connect(&daemon.workload_socket).await;
    let mut svids = Svids::open(&mut client).await.unwrap();
    svids.next().await.unwrap();
    let mut bundles = Bundles::open(&mut client).await.unwrap();
    bundles.next().await.unwrap();
    // A policy that changes nothing for this process is no reason to send anything.
    daemon.apply(&we_are_web()).await;
    assert!(workload::is_silent(&mut svids, Duration::from_millis(200)).await);
    daemon.apply(&we_are_nobody()).await;
    assert_eq!(svids.next().await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(bundles.next().await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn an_identity_that_is_added_comes_with_those_that_were_there() {
    // WAPI-04: the full state; what was issued before is not issued again.
    let daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let mut client = connect(&daemon.workload_socket).await;
    let mut svids = Svids::open(&mut client).await.unwrap();
    let read = |response: cellwall_api::workload::X509svidResponse| -> Vec<Svid> {
        response.svids.into_iter().map(Svid::read).collect()
    };
    let first = read(svids.next().await.unwrap());
    daemon.apply(&we_are_both()).await;
    let second = read(svids.next().await.unwrap());
    let ids: Vec<&str> = second.iter().map(|svid| svid.id.as_str()).collect();
    assert_eq!(ids, ["spiffe://pay.example/prod/web", "spiffe://pay.example/prod/db"]);
    assert_eq!(second[0].serial(), first[0].serial());
    assert_ne!(second[0].public_key(), second[1].public_key());
    daemon.apply(&we_are_web()).await;
    let third = read(svids.next().await.unwrap());
    assert_eq!(third.iter().map(Svid::serial).collect::<Vec<_>>(), [first[0].serial()]);
}

#[tokio::test]
async fn the_bundles_hold_our_own_trust_domain() {
    // WAPI-17
    let daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let svid = workload::svid(&daemon.workload_socket, "/prod/web").await;
    let mut client = connect(&daemon.workload_socket).await;
    let bundles = Bundles::open(&mut client).await.unwrap().next().await.unwrap().bundles;
    let expected = [("spiffe://pay.example".to_owned(), svid.anchor.to_vec())];
    assert_eq!(bundles, expected.into_iter().collect());
}

#[tokio::test]
async fn an_issuance_is_in_the_audit_log_with_the_process_that_got_it() {
    // CA-08, OBS-06
    let daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let svid = workload::svid(&daemon.workload_socket, "/prod/web").await;
    let database = rusqlite::Connection::open(daemon.data().join("cellwall.db")).unwrap();
    let query =
        "SELECT actor, detail FROM audit WHERE kind = 'svid.issued' AND actor <> 'cellwalld'";
    let (actor, detail): (String, String) =
        database.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let detail: Value = serde_json::from_str(&detail).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let hash = |bytes: &[u8]| hex(digest(&SHA256, bytes).as_ref());
    let (pid, uid) = (std::process::id(), nix::unistd::geteuid());
    assert_eq!(actor, format!("uid:{uid} pid:{pid}"));
    assert_eq!(detail["spiffe_id"], "spiffe://pay.example/prod/web");
    assert_eq!(detail["serial"], svid.serial());
    assert_eq!(detail["key_sha256"], hash(&svid.public_key()));
    assert_eq!(detail["process"]["pid"], pid);
    let executable = hash(&fs::read("/proc/self/exe").unwrap());
    assert_eq!(detail["process"]["executable_sha256"], executable);
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    // ATT-07
    let daemon = Daemon::start().await;
    let mut silent = UnixStream::connect(&daemon.workload_socket).await.unwrap();
    let end = timeout(Duration::from_secs(5), silent.read(&mut [0; 16])).await;
    assert_eq!(end.expect("still open").unwrap(), 0);
}

#[tokio::test]
async fn one_user_has_so_many_connections_and_a_connection_so_many_streams() {
    // ATT-07
    let daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let mut client = connect(&daemon.workload_socket).await;
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(Svids::open(&mut client).await.unwrap());
    }
    let one_more = timeout(Duration::from_millis(300), Svids::open(&mut client)).await;
    assert!(one_more.is_err(), "a seventeenth stream");
    let mut others = Vec::new();
    for _ in 0..63 {
        others.push(connect(&daemon.workload_socket).await);
    }
    daemon.measured(|metrics| metrics.sum("cellwall_workload_connections", &[]) == 64.0).await;
    let mut refused = UnixStream::connect(&daemon.workload_socket).await.unwrap();
    let end = timeout(Duration::from_secs(1), refused.read(&mut [0; 16])).await;
    assert_eq!(end.expect("still open").unwrap(), 0);
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.sum("cellwall_workload_connections_refused_total", &[]), 1.0);
    drop(others);
    timeout(DEADLINE, open.remove(0).next()).await.unwrap().unwrap();
}
