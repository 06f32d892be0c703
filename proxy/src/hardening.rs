//! What other processes of this host may see of us: as little as attestation allows (SEC-01).

use std::{os::unix::fs::MetadataExt as _, time::Duration};

use nix::{
    sys::{
        prctl,
        resource::{Resource, getrlimit, setrlimit},
    },
    unistd::geteuid,
};

/// How often a Workload API that is not there yet is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// No core file, no memory for other processes of the same user. And every descriptor that the
/// kernel lets us have: a connection takes two.
pub(crate) fn harden() {
    let core = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let dumpable = prctl::set_dumpable(false);
    let files = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    for (what, result) in [("core", core), ("dumpable", dumpable), ("nofile", files)] {
        if let Err(error) = result {
            tracing::warn!(what, %error, "process limit not set");
        }
    }
}

/// Waits until the Workload API's socket is there, and lets its owner attest us.
///
/// A process that is not dumpable shows its executable to root alone. An agent that runs as our own
/// user, without privileges, could then attest nobody by path: on such a host, which separates
/// nothing between processes of one user anyway, we stay dumpable and say so.
pub(crate) async fn await_attestor(endpoint: &str) {
    let Some(path) = endpoint.strip_prefix("unix:") else { return };
    let path = path.strip_prefix("//").unwrap_or(path);
    let mut said = false;
    let owner = loop {
        match tokio::fs::metadata(path).await {
            Ok(metadata) => break metadata.uid(),
            Err(error) if !said => {
                tracing::warn!(%error, path, "the workload api is not there: waiting for it");
                said = true;
            }
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    };
    let ours = geteuid().as_raw();
    if owner == ours && ours != 0 {
        tracing::warn!(uid = ours, "the workload api runs as our own user: staying dumpable");
        if let Err(error) = prctl::set_dumpable(true) {
            tracing::warn!(%error, "not attestable by path");
        }
    }
}
