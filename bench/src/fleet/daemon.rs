//! A real `cellwalld`, started for this and ended with it.

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    process::{Child, Command},
};

use super::{FleetError, policy::TRUST_DOMAIN};

/// How long it may take to listen: it makes a trust domain first.
const LISTENS: Duration = Duration::from_secs(20);

/// How long it may take to end.
const ENDS: Duration = Duration::from_secs(15);

/// How long an answer may take: a policy is compiled and its tests are run.
const ANSWERS: Duration = Duration::from_secs(60);

/// How often its log is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// How much of its log is shown, in bytes.
const EXCERPT: usize = 800;

/// A running one. It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
    pub(super) id: u32,
    pub(super) said: Listening,
    pub(super) policy_key: PathBuf,
}

/// What it says of where it is.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Listening {
    pub(super) mesh: SocketAddr,
    pub(super) health: SocketAddr,
    pub(super) workload_socket: PathBuf,
    pub(super) operator_socket: PathBuf,
    pub(super) version: String,
}

impl Daemon {
    /// A new trust domain in `folder`, whose SVIDs live so long.
    pub(super) async fn start(
        program: &Path,
        folder: &Path,
        ttl: Duration,
    ) -> Result<Self, FleetError> {
        let data = folder.join("data");
        let log = folder.join("cellwalld.err");
        let errors = File::create(&log).map_err(FleetError::system("a log"))?;
        let mut command = Command::new(program);
        command.args(["run", "--dev", "--trust-domain", TRUST_DOMAIN]);
        command.args(["--mesh-listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0"]);
        command.args(["--svid-ttl", &format!("{}s", ttl.as_secs())]);
        command.arg("--data-dir").arg(&data);
        // Lodgers are other users, who cannot enter the folder of its data.
        command.arg("--workload-socket").arg(folder.join("run/workload.sock"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).kill_on_drop(true);
        let mut child = command.spawn().map_err(FleetError::system("start cellwalld"))?;
        let id = child.id().unwrap_or_default();
        let end = Instant::now() + LISTENS;
        loop {
            let text = fs::read_to_string(&log).unwrap_or_default();
            if let Some(said) = text.lines().find_map(listening) {
                return Ok(Self { child, id, said, policy_key: data.join("policy-key.pem") });
            }
            let has_ended = child.try_wait().is_ok_and(|status| status.is_some());
            if has_ended || Instant::now() >= end {
                return Err(FleetError::Daemon(excerpt(&text)));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Puts a policy of one file in force: its version.
    pub(super) async fn apply(&self, text: &str) -> Result<u64, FleetError> {
        let sources = json!({"root": "cellwall.yaml", "files": {"cellwall.yaml": text}});
        let body = json!({"sources": sources, "message": "a fleet is simulated"}).to_string();
        let stream = UnixStream::connect(&self.said.operator_socket).await;
        let stream = stream.map_err(FleetError::system("the operators' socket"))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri("/v1/policy")
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)));
        let (status, answer) = ask(stream, request).await?;
        let answer = serde_json::from_slice::<Value>(&answer).unwrap_or_default();
        match answer.get("version").and_then(Value::as_u64) {
            Some(version) if status == StatusCode::OK => Ok(version),
            Some(_) | None => Err(FleetError::Refused(format!("{status}: {answer}"))),
        }
    }

    /// How many sidecars are in force of what they were sent, and how many are connected.
    pub(super) async fn sidecars(&self) -> Result<(usize, usize), FleetError> {
        let stream = TcpStream::connect(self.said.health).await;
        let stream = stream.map_err(FleetError::system("the metrics"))?;
        let request = Request::builder()
            .uri("/metrics")
            .header(header::HOST, "localhost")
            .body(Full::new(Bytes::new()));
        let (_, text) = ask(stream, request).await?;
        Ok(counted(&String::from_utf8_lossy(&text)))
    }

    /// SIGTERM, and SIGKILL to one that does not follow.
    pub(super) async fn stop(mut self) -> Result<(), FleetError> {
        let id = i32::try_from(self.id).unwrap_or_default();
        kill(Pid::from_raw(id), Signal::SIGTERM)
            .map_err(|error| FleetError::System { what: "end cellwalld", source: error.into() })?;
        match tokio::time::timeout(ENDS, self.child.wait()).await {
            Ok(ended) => ended.map(drop).map_err(FleetError::system("end cellwalld")),
            Err(_) => self.child.kill().await.map_err(FleetError::system("kill cellwalld")),
        }
    }
}

fn listening(line: &str) -> Option<Listening> {
    let line = serde_json::from_str::<Value>(line).ok()?;
    (line.get("message")? == "listening").then(|| serde_json::from_value(line).ok())?
}

/// The end of a log.
fn excerpt(text: &str) -> String {
    let begins = text.len().saturating_sub(EXCERPT);
    let begins = (begins..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    text.get(begins..).unwrap_or_default().trim().to_owned()
}

fn counted(metrics: &str) -> (usize, usize) {
    let lines = metrics.lines().filter(|line| line.starts_with("cellwall_control_proxies{"));
    let mut counted = (0, 0);
    for line in lines {
        let value = line.rsplit(' ').next().and_then(|value| value.parse::<usize>().ok());
        let value = value.unwrap_or_default();
        counted.1 += value;
        if line.contains("state=\"synced\"") {
            counted.0 += value;
        }
    }
    counted
}

/// One request on a connection of its own.
async fn ask<S>(
    stream: S,
    request: http::Result<Request<Full<Bytes>>>,
) -> Result<(StatusCode, Bytes), FleetError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let request = request.map_err(|error| FleetError::Refused(error.to_string()))?;
    let talk = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let exchange = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            hyper::Result::Ok((status, answer.into_body().collect().await?.to_bytes()))
        };
        let (answer, driven) = tokio::join!(exchange, connection);
        // What was answered whole counts, however the connection ended.
        drop(driven);
        answer
    };
    let answered = tokio::time::timeout(ANSWERS, talk).await;
    let answered =
        answered.map_err(io::Error::from).and_then(|done| done.map_err(io::Error::other));
    answered.map_err(FleetError::system("ask cellwalld"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_word_that_it_listens_is_found_among_others() {
        let line = r#"{"message":"listening","mesh":"127.0.0.1:1","health":"127.0.0.1:2",
            "workload_socket":"/w","operator_socket":"/o","version":"0.1.0","more":1}"#;
        let said = listening(&line.replace('\n', "")).unwrap();
        assert_eq!((said.mesh.port(), said.health.port()), (1, 2));
        assert!(listening(r#"{"message":"other"}"#).is_none() && listening("text").is_none());
    }

    #[test]
    fn sidecars_are_counted_by_their_state() {
        let metrics = "# HELP x\ncellwall_control_proxies{state=\"synced\"} 3\n\
                       cellwall_control_proxies{state=\"pending\"} 2\nother 9\n";
        assert_eq!(counted(metrics), (3, 5));
    }
}
