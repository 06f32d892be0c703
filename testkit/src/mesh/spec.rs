//! What a mesh is made of.

use std::{path::PathBuf, time::Duration};

use crate::workload::Protocol;

/// Where policies for a mesh say that sidecars are: `unix:path:` selectors name
/// `/opt/cellwall/mesh/ENV/WORKLOAD/cellwall-proxy`. The mesh puts its own folder in this place
/// before it applies the policy, so that the document is a valid one by itself.
pub const PROXIES: &str = "/opt/cellwall/mesh";

/// A mesh to start.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    /// The trust domain.
    pub trust_domain: String,
    /// The folder with `cellwall.yaml`.
    pub policy: PathBuf,
    /// The members.
    pub workloads: Vec<WorkloadSpec>,
    /// How long SVIDs live; the control plane's default if not given.
    pub svid_ttl: Option<Duration>,
    /// Further flags of `cellwalld run`.
    pub control_flags: Vec<String>,
}

/// A workload with its sidecar.
#[derive(Clone, Debug)]
pub struct WorkloadSpec {
    /// Its environment; empty where the identity template has none.
    pub environment: String,
    /// Its name in the policy.
    pub name: String,
    /// Tells several of one workload apart; empty for the only one.
    pub instance: String,
    /// What it speaks; none for a member that only calls, through its sidecar's local ports.
    pub protocol: Option<Protocol>,
    /// Whom its sidecar has a local port for: `[ENV/]WORKLOAD`.
    pub destinations: Vec<String>,
    /// Which calls it makes for which request, as [`crate::workload::Route`] reads them.
    pub routes: Vec<String>,
    /// Further flags of its sidecar.
    pub sidecar_flags: Vec<String>,
    /// The user that workload and sidecar run as; our own if not given. Needs root.
    pub user: Option<u32>,
}

impl WorkloadSpec {
    /// A workload from `ENV/NAME`, or `NAME` without an environment.
    pub fn new(name: &str, protocol: Option<Protocol>) -> Self {
        let (environment, name) = name.rsplit_once('/').unwrap_or(("", name));
        Self {
            environment: environment.to_owned(),
            name: name.to_owned(),
            instance: String::new(),
            protocol,
            destinations: Vec::new(),
            routes: Vec::new(),
            sidecar_flags: Vec::new(),
            user: None,
        }
    }

    /// Gives its sidecar a local port for each of these.
    #[must_use]
    pub fn calls(mut self, destinations: &[&str]) -> Self {
        self.destinations.extend(destinations.iter().map(|name| (*name).to_owned()));
        self
    }

    /// Adds a route: `CALL => TO CALL; TO CALL`.
    #[must_use]
    pub fn on(mut self, route: &str) -> Self {
        self.routes.push(route.to_owned());
        self
    }

    /// Adds a flag to its sidecar's.
    #[must_use]
    pub fn sidecar_flag(mut self, flag: &str) -> Self {
        self.sidecar_flags.push(flag.to_owned());
        self
    }

    /// Makes it one of several.
    #[must_use]
    pub fn instance(mut self, instance: &str) -> Self {
        instance.clone_into(&mut self.instance);
        self
    }

    /// Runs it as another user.
    #[must_use]
    pub const fn user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// `ENV/NAME`, and `.INSTANCE` if it is one of several.
    pub fn key(&self) -> String {
        let environment = self.environment.split('/').filter(|value| !value.is_empty());
        let parts = environment.chain([self.name.as_str()]).collect::<Vec<_>>().join("/");
        if self.instance.is_empty() { parts } else { format!("{parts}.{}", self.instance) }
    }

    /// Its key as part of a file's name.
    pub(super) fn file_name(&self) -> String {
        self.key().replace('/', "-")
    }
}
