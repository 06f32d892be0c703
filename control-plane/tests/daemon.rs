//! A running cellwalld in a directory of its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use cellwall_testkit::{
    client::{Server, request, request_json},
    process::{Process, Spawn},
    scrape::Metrics,
};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const TRUST_DOMAIN: &str = "pay.example";
pub(crate) const DEADLINE: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(5);

pub(crate) struct Daemon {
    pub(crate) process: Process,
    pub(crate) mesh: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) workload_socket: PathBuf,
    pub(crate) operator_socket: PathBuf,
    pub(crate) dir: TempDir,
}

/// `cellwalld` with these arguments, logging into `dir`.
pub(crate) fn cellwalld(dir: &Path, arguments: &[&str]) -> Spawn {
    let program = Path::new(env!("CARGO_BIN_EXE_cellwalld"));
    Spawn::new("cellwalld", program, dir).args(arguments)
}

impl Daemon {
    /// A new trust domain.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A new trust domain, served with more flags.
    pub(crate) async fn start_with(flags: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), flags).await
    }

    /// The trust domain in `dir`, or a new one.
    pub(crate) async fn start_in(dir: TempDir, flags: &[&str]) -> Self {
        let data = data_of(&dir);
        let ports = ["--mesh-listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0"];
        let founding = ["run", "--dev", "--trust-domain", TRUST_DOMAIN, "--data-dir", &data];
        let spawn = cellwalld(dir.path(), &founding).args(ports).args(flags);
        let mut process = spawn.start().unwrap();
        let line = process.message("listening", DEADLINE).await.unwrap();
        let text = |field: &str| line[field].as_str().unwrap().to_owned();
        Self {
            process,
            mesh: text("mesh").parse().unwrap(),
            health: text("health").parse().unwrap(),
            workload_socket: text("workload_socket").into(),
            operator_socket: text("operator_socket").into(),
            dir,
        }
    }

    /// With a policy.
    pub(crate) async fn start_with_policy(flags: &[&str], text: &str) -> Self {
        let daemon = Self::start_with(flags).await;
        daemon.apply(text).await;
        daemon
    }

    /// SIGTERM, then what is left behind.
    pub(crate) async fn stop(mut self) -> TempDir {
        let status = self.process.stop(Duration::from_secs(5)).await.unwrap();
        assert_eq!(status.code(), Some(0));
        self.dir
    }

    pub(crate) fn data(&self) -> PathBuf {
        data_of(&self.dir).into()
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let server = Server::Unix(self.operator_socket.clone());
        let answer = request(server, &format!("GET {path}")).await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap())
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let server = Server::Unix(self.operator_socket.clone());
        let answer = request_json(server, &format!("POST {path}"), body).await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap())
    }

    /// Proposes a policy of one file.
    pub(crate) async fn propose(&self, text: &str) -> (u16, Value) {
        let sources = json!({"root": "cellwall.yaml", "files": {"cellwall.yaml": text}});
        self.post("/v1/policy", &json!({"sources": sources, "message": "a test"})).await
    }

    /// Applies a policy of one file and returns its version.
    pub(crate) async fn apply(&self, text: &str) -> u64 {
        let (status, answer) = self.propose(text).await;
        assert_eq!(status, 200, "{answer:#}");
        answer["version"].as_u64().unwrap()
    }

    /// The first row of a list that fits, asked for until there is one.
    pub(crate) async fn row(&self, list: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/v1/{list}");
        let search = async {
            loop {
                let (_, document) = self.get(&path).await;
                if let Some(row) = document[list].as_array().unwrap().iter().find(|row| fits(row)) {
                    return row.clone();
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(DEADLINE, search).await.expect("no such row in time")
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        Metrics::scrape(self.health).await.unwrap()
    }

    /// Waits until the metrics are as wanted.
    pub(crate) async fn measured(&self, fits: impl Fn(&Metrics) -> bool) {
        let search = async {
            while !fits(&self.metrics().await) {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(DEADLINE, search).await.expect("no such metrics in time");
    }
}

pub(crate) fn data_of(dir: &TempDir) -> String {
    dir.path().join("data").to_str().unwrap().to_owned()
}
