//! The seven services, who calls whom, and how they are shown.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use cellwall_testkit::{
    mesh::{Mesh, MeshConfig, WorkloadSpec},
    workload::Protocol,
};
use serde_json::Value;

use super::traffic::Traffic;
use crate::cargo;

/// Short enough to watch every SVID being replaced.
const SVID_TTL: Duration = Duration::from_secs(20);

/// The first of the users that workloads get when we are root. Nobody else has such numbers.
const FIRST_USER: u32 = 61_000;

/// The mesh of the demo.
pub(crate) struct Town {
    pub(crate) mesh: Mesh,
    pub(crate) programs: PathBuf,
    pub(crate) traffic: Option<Traffic>,
}

impl Town {
    /// Starts everything and waits until it is ready.
    pub(crate) async fn start(programs: &Path) -> anyhow::Result<Self> {
        let mesh = Mesh::start(mesh()?).await?;
        Ok(Self { mesh, programs: programs.to_owned(), traffic: None })
    }

    /// The first screen.
    pub(crate) async fn introduce(&self, took: Duration) -> anyhow::Result<()> {
        let status = self.mesh.control.get("/v1/status").await?;
        let identities = self.mesh.control.get("/v1/identities").await?;
        let count = |list: &Value| list.as_array().map_or(0, Vec::len);
        println!(
            "cellwalld  {}  trust domain {}",
            self.mesh.control.mesh,
            text(&status, "trust_domain")
        );
        println!(
            "sidecars   {} attested and ready in {:.1} s, SVIDs live {} s so that you can watch them rotate",
            self.mesh.members().len(),
            took.as_secs_f64(),
            SVID_TTL.as_secs()
        );
        println!(
            "policy     v{}  {} identities, default deny",
            status.get("policy_version").unwrap_or(&Value::Null),
            count(identities.get("identities").unwrap_or(&Value::Null)),
        );
        if nix::unistd::geteuid().is_root() {
            println!("users      each workload and its sidecar run as a user of their own");
        } else {
            println!(
                "users      all run as you: telling workloads apart by path under one user is for demonstration"
            );
        }
        println!();
        Ok(())
    }

    /// What to try while it runs.
    pub(crate) fn your_turn(&self) {
        let cellwall = self.programs.join("cellwall");
        let socket = self.mesh.control.operator_socket.display();
        println!("\nYour turn  export CELLWALL_SOCKET={socket}");
        let cellwall = cellwall.display();
        println!("           {cellwall} identity list");
        println!("           {cellwall} proxy status");
        println!(
            "           {cellwall} explain 'prod/notifier -> prod/card-vault POST /v1/tokens'"
        );
        println!("Running until Ctrl-C.");
    }

    /// Ends the traffic and every process.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(traffic) = self.traffic.take() {
            traffic.stop().await?;
        }
        self.mesh.stop().await
    }
}

/// A text field of a document of the control plane.
pub(crate) fn text<'a>(document: &'a Value, field: &str) -> &'a str {
    document.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The whole of it: the policy as it is in the repository, and its services.
pub(crate) fn mesh() -> anyhow::Result<MeshConfig> {
    let policy = cargo::root()?.join("deploy/demo/policy");
    Ok(MeshConfig {
        trust_domain: "pay.example".to_owned(),
        policy: policy.is_dir().then_some(policy).context("deploy/demo/policy is not there")?,
        workloads: services(),
        svid_ttl: Some(SVID_TTL),
        control_flags: Vec::new(),
    })
}

/// The services of the policy and what each does for a request.
fn services() -> Vec<WorkloadSpec> {
    let (http, grpc, tcp) = (Some(Protocol::Http), Some(Protocol::Grpc), Some(Protocol::Tcp));
    let services = [
        WorkloadSpec::new("prod/ledger-db", tcp),
        WorkloadSpec::new("prod/ledger", grpc)
            .calls(&["ledger-db"])
            .on("ledger.v1.Ledger/Post => ledger-db tcp"),
        WorkloadSpec::new("prod/fraud", grpc).calls(&["ledger-db"]),
        WorkloadSpec::new("prod/card-vault", http),
        // Nothing of its own to call; the intruder's port is there to be refused.
        WorkloadSpec::new("prod/notifier", http).calls(&["card-vault"]),
        WorkloadSpec::new("prod/payments", http)
            .calls(&["card-vault", "fraud", "ledger", "notifier"])
            .on("POST /v1/payments => card-vault POST /v1/tokens/t_{seq}/charge; \
                 fraud fraud.v1.Fraud/Score; ledger ledger.v1.Ledger/Post; \
                 notifier POST /v1/messages"),
        WorkloadSpec::new("prod/checkout", http)
            .calls(&["card-vault", "payments"])
            .on("POST /v1/orders => card-vault POST /v1/tokens; payments POST /v1/payments"),
        WorkloadSpec::new("prod/gateway", None).calls(&["checkout"]),
    ];
    let root = nix::unistd::geteuid().is_root();
    let own_user = |(service, user): (WorkloadSpec, u32)| {
        if root { service.user(user) } else { service }
    };
    services.into_iter().zip(FIRST_USER..).map(own_user).collect()
}
