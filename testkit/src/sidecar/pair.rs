//! Two sidecars with a scripted Workload API each and a scripted distribution server for both.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::ensure;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use super::{Sidecar, SidecarConfig};
use crate::{
    ca::TestCa,
    distribution::ScriptedDistribution,
    workload_api::{ScriptedWorkloadApi, X509State},
    x509::Key,
};

/// How long a sidecar may take until it has its identity and its policy.
const READY: Duration = Duration::from_secs(5);

/// How often a sidecar is asked while something is waited for.
const POLL: Duration = Duration::from_millis(5);

/// Which two.
#[derive(Clone, Debug)]
pub struct PairConfig {
    /// The trust domain of both.
    pub trust_domain: String,
    /// The policy-signing key's public half.
    pub policy_key_pem: String,
    /// Who calls.
    pub client: Side,
    /// Who is called.
    pub server: Side,
    /// What the client's policy calls the server: `WORKLOAD` or `ENV/WORKLOAD`.
    pub destination: String,
    /// At how many addresses the client finds the server, counted from the server's own. With more than
    /// one the server listens on all addresses of its machine.
    pub endpoints: u16,
    /// How they find each other.
    pub place: Place,
}

/// Where the two are: on loopback, or in two network namespaces that are joined.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where the client's side finds the server's.
    pub server: Ipv4Addr,
    /// Where the server's side finds the client's, which has the distribution server.
    pub client: Ipv4Addr,
    /// Words of a command that becomes the server's program, in its namespace.
    pub before_server: Vec<String>,
}

impl Default for Place {
    /// Both on loopback.
    fn default() -> Self {
        let here = Ipv4Addr::LOCALHOST;
        Self { server: here, client: here, before_server: Vec::new() }
    }
}

/// One of the two.
#[derive(Clone, Debug)]
pub struct Side {
    /// Its SPIFFE ID.
    pub id: String,
    /// Its snapshot: payload and signature, as [`sign_snapshot`] makes them.
    pub snapshot: (Vec<u8>, Vec<u8>),
    /// Its workload. A caller that is never called may name any address.
    pub workload: SocketAddr,
    /// Further flags.
    pub flags: Vec<String>,
}

/// A snapshot as the control plane would sign it, written by hand: what a sidecar takes is a form of
/// bytes, not a crate. Payload and signature.
pub fn sign_snapshot(key: &Key, document: &Value) -> (Vec<u8>, Vec<u8>) {
    let payload = document.to_string().into_bytes();
    let signature = key.sign(&[b"cellwall policy snapshot v1\0", &payload[..]].concat());
    (payload, signature)
}

/// The sidecar of one more caller.
#[derive(Debug)]
pub struct Beside {
    /// The sidecar.
    pub sidecar: Sidecar,
    /// Its local port for the server.
    pub entry: SocketAddr,
    /// It keeps its identity while this is there.
    _api: ScriptedWorkloadApi,
}

/// Two sidecars, both ready, the client's with a local port for the server.
#[derive(Debug)]
pub struct SidecarPair {
    /// The caller's sidecar.
    pub client: Sidecar,
    /// The callee's sidecar.
    pub server: Sidecar,
    /// The caller's Workload API.
    pub client_api: ScriptedWorkloadApi,
    /// The callee's Workload API.
    pub server_api: ScriptedWorkloadApi,
    /// Policy and addresses for both.
    pub distribution: ScriptedDistribution,
    /// Issued all SVIDs.
    pub ca: TestCa,
    /// The local port of the client for the server.
    pub entry: SocketAddr,
    config: PairConfig,
    /// Sockets and logs; gone with the pair.
    folder: TempDir,
}

impl SidecarPair {
    /// Starts both and waits until both are ready.
    ///
    /// # Errors
    /// If one of them is not in time.
    pub async fn start(config: PairConfig) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let ca = TestCa::new(&config.trust_domain);
        let place = &config.place;
        let distribution = ScriptedDistribution::start_at(place.client, &ca).await?;
        for side in [&config.client, &config.server] {
            let (payload, signature) = side.snapshot.clone();
            distribution.set_snapshot(&side.id, payload, signature);
        }
        fs::write(folder.path().join("policy-key.pem"), &config.policy_key_pem)?;
        let client_api = api(folder.path(), "client", &ca, &config.client).await?;
        let server_api = api(folder.path(), "server", &ca, &config.server).await?;
        let stage = Stage { folder: folder.path(), distribution: &distribution };
        let mut server = stage.sidecar("server", &config.server, &server_api);
        server.inbound =
            if config.endpoints > 1 { Ipv4Addr::UNSPECIFIED } else { place.server }.into();
        server.before.clone_from(&place.before_server);
        let mut client = stage.sidecar("client", &config.client, &client_api);
        client.outbound.push(config.destination.clone());
        let mut server = Sidecar::start(&server).await?;
        if config.endpoints > 1 {
            let addresses = addresses(place.server, config.endpoints, server.inbound.port());
            distribution.set_endpoints(&config.destination, &addresses);
        } else {
            distribution.follow(&config.destination, &config.server.id);
        }
        let mut client = Sidecar::start(&client).await?;
        server.ready(READY).await?;
        client.ready(READY).await?;
        let entry = client.to(&config.destination)?;
        Ok(Self { client, server, client_api, server_api, distribution, ca, entry, config, folder })
    }

    /// Starts the sidecar of one more caller of the same server.
    ///
    /// # Errors
    /// If it is not ready in time.
    pub async fn beside(&self, name: &str, side: &Side) -> anyhow::Result<Beside> {
        let (payload, signature) = side.snapshot.clone();
        self.distribution.set_snapshot(&side.id, payload, signature);
        let api = api(self.folder.path(), name, &self.ca, side).await?;
        let stage = Stage { folder: self.folder.path(), distribution: &self.distribution };
        let mut started = stage.sidecar(name, side, &api);
        started.outbound.push(self.config.destination.clone());
        let mut sidecar = Sidecar::start(&started).await?;
        sidecar.ready(READY).await?;
        let entry = sidecar.to(&self.config.destination)?;
        Ok(Beside { sidecar, entry, _api: api })
    }

    /// Gives both a new leaf of the same root.
    pub fn rotate_leaves(&self) {
        self.publish(&self.ca, &[&self.ca]);
    }

    /// Begins a change of roots: both get leaves of the old root, and trust both.
    pub fn prepare_root(&self, new: &TestCa) {
        self.publish(&self.ca, &[&self.ca, new]);
    }

    /// Goes on with it: both get leaves of the new root, and trust both.
    pub fn activate_root(&self, new: &TestCa) {
        self.publish(new, &[&self.ca, new]);
    }

    /// Ends it: both trust the new root alone.
    pub fn retire_root(&mut self, new: TestCa) {
        self.publish(&new, &[&new]);
        self.ca = new;
    }

    fn publish(&self, issuer: &TestCa, trusted: &[&TestCa]) {
        for (api, side) in
            [(&self.client_api, &self.config.client), (&self.server_api, &self.config.server)]
        {
            api.publish(&X509State::issued(issuer, &side.id).trusting(trusted));
        }
    }

    /// Waits until both use what was published last, as their `/config` tells.
    ///
    /// # Errors
    /// If one of them does not within `deadline`.
    pub async fn in_force(&self, deadline: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + deadline;
        for (sidecar, api) in [(&self.client, &self.client_api), (&self.server, &self.server_api)] {
            let wanted = api.last_serial();
            loop {
                let config = sidecar.config().await?;
                if config.get("svid_serial").and_then(Value::as_str) == wanted.as_deref() {
                    break;
                }
                ensure!(Instant::now() < end, "not {wanted:?} within {deadline:?}: {config}");
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// Gives one side's sidecar another snapshot.
    pub fn set_snapshot(&self, id: &str, snapshot: (Vec<u8>, Vec<u8>)) {
        let (payload, signature) = snapshot;
        self.distribution.set_snapshot(id, payload, signature);
    }

    /// Where the logs are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// What all sidecars of a pair have in common.
struct Stage<'a> {
    folder: &'a Path,
    distribution: &'a ScriptedDistribution,
}

impl Stage<'_> {
    fn sidecar(&self, name: &str, side: &Side, api: &ScriptedWorkloadApi) -> SidecarConfig {
        SidecarConfig {
            name: name.to_owned(),
            folder: self.folder.to_owned(),
            inbound: Ipv4Addr::LOCALHOST.into(),
            workload: side.workload,
            outbound: Vec::new(),
            control: self.distribution.address(),
            policy_key: self.folder.join("policy-key.pem"),
            workload_api: api.endpoint(),
            state: None,
            program: None,
            flags: side.flags.clone(),
            before: Vec::new(),
            user: None,
        }
    }
}

/// So many addresses from the first, each of which is the same machine.
fn addresses(first: Ipv4Addr, count: u16, port: u16) -> Vec<String> {
    let first = u32::from(first);
    let address = |number: u16| Ipv4Addr::from(first + u32::from(number));
    (0..count).map(|number| format!("{}:{port}", address(number))).collect()
}

async fn api(
    folder: &Path,
    name: &str,
    ca: &TestCa,
    side: &Side,
) -> anyhow::Result<ScriptedWorkloadApi> {
    let folder = folder.join(name);
    fs::create_dir(&folder)?;
    let api = ScriptedWorkloadApi::start(&folder).await?;
    api.publish(&X509State::issued(ca, &side.id));
    Ok(api)
}
