//! One `FetchX509SVID` stream: attest, ask, mint, send; then wait for a reason to do it again.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use cellwall_api::workload::{X509svid, X509svidResponse};
use metrics::counter;
use spiffe::SpiffeId;
use tonic::Status;

use crate::{
    Bundle, Holding, Order, Process, Refused, Selector, Server, View,
    serve::Connection,
    service::{denied, refused},
    svid::{FreshKey, Renewal, Svid, jitter},
};

/// The wall clock is looked at this often, whatever the timers say: it may jump, and a machine
/// may sleep (ROT-08).
const CLOCK_CHECK: Duration = Duration::from_secs(30);

/// The certificates of one stream. All keys go when it goes.
pub(crate) struct Svids<S> {
    connection: Arc<Connection<S>>,
    held: BTreeMap<SpiffeId, Svid>,
    sent: Option<State>,
}

/// What a client knows after a response: serials in order, and the bundle.
#[derive(Eq, PartialEq)]
struct State {
    serials: Vec<String>,
    bundle: Arc<Bundle>,
}

impl<S: Server> Svids<S> {
    pub(crate) fn new(connection: Arc<Connection<S>>) -> Self {
        Self { connection, held: BTreeMap::new(), sent: None }
    }

    /// What to send now: the full state (WAPI-04), or nothing if the client has it.
    pub(crate) async fn next(&mut self) -> Result<Option<X509svidResponse>, Status> {
        self.connection.recheck()?;
        let view = self.connection.view().await?;
        self.held.retain(|id, _| view.ids.contains(id));
        for id in &view.ids {
            self.keep_fresh(id).await?;
        }
        let state = self.state(&view);
        if self.sent.as_ref() == Some(&state) {
            return Ok(None);
        }
        let response = self.response(&view);
        // ATT-01, WAPI-30: signing took time, in which the process may have ended or changed.
        self.connection.recheck()?;
        self.sent = Some(state);
        Ok(Some(response))
    }

    /// How long until a renewal is due, or the clock must be looked at.
    pub(crate) fn pause(&self) -> Duration {
        let now = SystemTime::now();
        let due = self.held.values().map(|svid| svid.renewal.due()).min();
        let pause = due.map_or(CLOCK_CHECK, |due| due.duration_since(now).unwrap_or_default());
        pause.min(CLOCK_CHECK)
    }

    async fn keep_fresh(&mut self, id: &SpiffeId) -> Result<(), Status> {
        let now = SystemTime::now();
        let renewal = self.held.get(id).map(|svid| svid.renewal);
        if renewal.is_some_and(|renewal| renewal.due() > now) {
            return Ok(());
        }
        match (self.mint(id).await, renewal) {
            (Ok(svid), _) => {
                self.held.insert(id.clone(), svid);
                Ok(())
            }
            (Err(Refused::Unavailable(reason)), Some(renewal)) if !renewal.is_over(now) => {
                tracing::warn!(%id, reason, "renewal failed, the svid in use lives on");
                if let Some(svid) = self.held.get_mut(id) {
                    svid.renewal = renewal.failed(now, jitter());
                }
                Ok(())
            }
            (Err(error), _) => Err(refused(&error)),
        }
    }

    async fn mint(&self, id: &SpiffeId) -> Result<Svid, Refused> {
        let process = self.connection.caller.process().clone();
        if !self.connection.agent.limits.take_issuance(process.uid, Instant::now()) {
            return Err(Refused::Unavailable("too many certificates for one user".into()));
        }
        let FreshKey { key, csr } =
            FreshKey::generate().map_err(|error| Refused::Unavailable(error.to_string()))?;
        let executable = self.connection.executable().await;
        let pid = process.pid;
        let order = Order { id: id.clone(), process, executable, csr };
        let issued = self.connection.agent.server.sign(order).await?;
        let renewal = Renewal::planned(issued.issued_at, issued.not_after, jitter());
        let held = self.connection.agent.holdings.add(Holding {
            id: id.clone(),
            pid,
            serial: issued.serial.clone(),
            issued_at: issued.issued_at,
            not_after: issued.not_after,
            renew_at: renewal.due(),
        });
        Ok(Svid { issued, key, _held: held, renewal })
    }

    fn state(&self, view: &View) -> State {
        let serials = self.in_order(view).map(|(_, svid)| svid.issued.serial.clone()).collect();
        State { serials, bundle: view.bundle.clone() }
    }

    fn response(&self, view: &View) -> X509svidResponse {
        let svids = self.in_order(view).map(|(id, svid)| X509svid {
            spiffe_id: id.to_string(),
            x509_svid: svid.issued.chain.clone(),
            x509_svid_key: svid.key.to_vec(),
            bundle: view.bundle.authorities.clone(),
            hint: String::new(),
        });
        // WAPI-31: our own trust domain is never among the federated ones; there are no others.
        X509svidResponse {
            svids: svids.collect(),
            crl: Vec::new(),
            federated_bundles: HashMap::new(),
        }
    }

    fn in_order<'a>(&'a self, view: &'a View) -> impl Iterator<Item = (&'a SpiffeId, &'a Svid)> {
        view.ids.iter().filter_map(|id| self.held.get(id).map(|svid| (id, svid)))
    }
}

impl<S: Server> Connection<S> {
    /// What the caller is entitled to, if anything.
    pub(crate) async fn view(&self) -> Result<View, Status> {
        let view = self.agent.server.view(&self.caller.process().selectors).await;
        match view {
            Ok(view) if view.ids.is_empty() => {
                self.note_stranger();
                Err(denied()) // WAPI-14, WAPI-17
            }
            Ok(view) => Ok(view),
            Err(error) => Err(refused(&error)),
        }
    }

    /// Counted each time, said once on each connection. A process that is not dumpable shows its
    /// executable only to root and to `CAP_SYS_PTRACE`.
    fn note_stranger(&self) {
        counter!("cellwall_attestation_failures_total", "attestor" => "unix", "reason" => "no_entry")
            .increment(1);
        if self.is_noted.swap(true, Ordering::Relaxed) {
            return;
        }
        let Process { pid, uid, selectors, .. } = self.caller.process();
        let executable_seen = selectors.iter().any(|one| matches!(one, Selector::Path(_)));
        tracing::warn!(pid, uid, executable_seen, "no entry for this process");
        tracing::debug!(pid, selectors = ?selectors, "its selectors"); // OBS-02
    }

    async fn executable(&self) -> Option<[u8; 32]> {
        let executables = self.agent.executables.clone();
        let pid = self.caller.process().pid;
        tokio::task::spawn_blocking(move || executables.sha256(pid)).await.ok().flatten()
    }
}
