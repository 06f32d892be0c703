//! The peers that judge certificates: got, configured and started.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{ready, verdicts::Scene};

/// One that listens with mutual TLS, and can be made to call.
pub(super) struct Peer {
    /// Its own words about itself.
    pub(super) version: String,
    /// Where it takes clients.
    pub(super) accepts: SocketAddr,
    /// How it is made to call the hostile server.
    pub(super) dials: Dials,
    pub(super) _process: Killed,
}

/// How a peer is made to call.
pub(super) enum Dials {
    /// It calls when it is asked to here, over plain HTTP, and answers 200 when it got through.
    When(SocketAddr),
    /// By this command, which prints the answer.
    By(Vec<String>),
}

/// go-spiffe: `tlsconfig.MTLSServerConfig` and `MTLSClientConfig` with `AuthorizeID`.
pub(super) fn go_spiffe(programs: &Path, scene: &Scene) -> anyhow::Result<Peer> {
    let helper = ready::go_spiffe(programs)?;
    let (certificates, key) = scene.svid.pem();
    let config = json!({
        "certificates": certificates, "key": key, "bundles": scene.bundles(),
        "expected": scene.expected, "hostile": scene.hostile.to_string(),
    });
    let path = scene.folder.path().join("go-spiffe.json");
    fs::write(&path, config.to_string())?;
    let mut command = Command::new(helper);
    let mut process = Killed::start(command.arg("peer").arg(&path).stdout(Stdio::piped()))?;
    let said = first_line(&mut process, |line| line.starts_with('{'))?;
    let said: Value = serde_json::from_str(&said).context("what go-spiffe's helper says")?;
    let address = |field: &str| {
        let text = said.get(field).and_then(Value::as_str).unwrap_or_default();
        anyhow::Ok(text.parse()?)
    };
    Ok(Peer {
        version: format!("go-spiffe {}", ready::GO_SPIFFE),
        accepts: address("accepts")?,
        dials: Dials::When(address("dials")?),
        _process: process,
    })
}

/// OpenSSL knows X.509 and no SPIFFE: one trust store, no identity to compare.
pub(super) fn openssl(scene: &Scene) -> anyhow::Result<Peer> {
    let version = ready::installed("openssl", "version")?;
    let file = |name: &str, text: String| {
        let path = scene.folder.path().join(name);
        fs::write(&path, text)?;
        anyhow::Ok(path.display().to_string())
    };
    let (certificates, key) = scene.svid.pem();
    let own = [file("svid.pem", certificates)?, file("key.pem", key)?];
    let roots = file("roots.pem", scene.bundles().into_values().collect())?;
    let common = ["-tls1_3", "-x509_strict", "-verify_return_error", "-CAfile", &roots];
    let identity = ["-cert", &own[0], "-key", &own[1]];
    let mut command = Command::new("openssl");
    command.args(["s_server", "-accept", "127.0.0.1:0", "-www", "-Verify", "9"]);
    command.args(common).args(identity).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = Killed::start(&mut command)?;
    let accepts = first_line(&mut process, |line| line.starts_with("ACCEPT "))?;
    let accepts = accepts.trim_start_matches("ACCEPT ").trim().parse()?;
    let hostile = scene.hostile.to_string();
    let call = ["openssl", "s_client", "-connect", &hostile, "-quiet", "-verify", "9"];
    let call = [&call[..], &common, &identity].concat();
    let dials = Dials::By(call.into_iter().map(str::to_owned).collect());
    Ok(Peer { version, accepts, dials, _process: process })
}

/// The first line that a child prints and that fits.
fn first_line(process: &mut Killed, fits: impl Fn(&str) -> bool) -> anyhow::Result<String> {
    let output = process.0.stdout.take().context("no output to read")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        if fits(&line) {
            return Ok(line);
        }
    }
    Err(anyhow::anyhow!("it ended before it listened"))
}

/// A child that does not outlive the run.
#[derive(Debug)]
pub(super) struct Killed(pub(super) Child);

impl Killed {
    pub(super) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::null()).spawn();
        child.map(Self).with_context(|| format!("starting {command:?}"))
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
