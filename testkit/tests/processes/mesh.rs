//! A mesh of the real programs.

use std::path::Path;

use cellwall_testkit::{
    client,
    mesh::{Mesh, MeshConfig, WorkloadSpec},
    workload::Protocol,
};

fn config() -> MeshConfig {
    let db = WorkloadSpec::new("prod/ledger-db", Some(Protocol::Tcp));
    let ledger = WorkloadSpec::new("prod/ledger", Some(Protocol::Grpc))
        .calls(&["ledger-db"])
        .on("ledger.v1.Ledger/Post => ledger-db tcp");
    let payments = WorkloadSpec::new("prod/payments", Some(Protocol::Http))
        .calls(&["ledger"])
        .on("POST /v1/payments => ledger ledger.v1.Ledger/Post");
    let shopper = WorkloadSpec::new("prod/shopper", None).calls(&["payments", "ledger"]);
    MeshConfig {
        trust_domain: "pay.example".to_owned(),
        policy: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/processes/policy"),
        workloads: vec![db, ledger, payments, shopper],
        svid_ttl: None,
        control_flags: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_goes_through_four_sidecars_and_the_witness_has_no_complaint() {
    let mesh = Mesh::start(config()).await.unwrap();
    let shopper = mesh.member("prod/shopper").unwrap();
    let payments = shopper.sidecar.to("payments").unwrap();

    let paid = client::request(payments, "POST /v1/payments").await.unwrap();
    let denied = client::request(payments, "DELETE /v1/payments").await.unwrap();
    let ledger = shopper.sidecar.to("ledger").unwrap();
    let intruded = client::grpc(ledger, "ledger.v1.Ledger/Post").await.unwrap();

    assert_eq!((paid.status().as_u16(), denied.status().as_u16()), (200, 403));
    assert_eq!(intruded.status, Some(7));
    let report = mesh.witness().unwrap();
    // One HTTP request, one gRPC call, HELLO and POST.
    assert_eq!((report.seen, report.violations), (4, Vec::new()));
    mesh.stop().await.unwrap();
}
