//! The agent of this host asks here directly: who is entitled to what, and signing for it.

use std::{sync::Arc, time::SystemTime};

use cellwall_agent::{Bundle, Issued, Order, Process, Refused, Selectors, Server, View};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    authority::{Authority, Subject},
    policy_book::PolicyBook,
    report::chain,
    store::hex,
};

/// The control plane, to the agent in the same process.
#[derive(Debug)]
pub struct Embedded {
    authority: Arc<Authority>,
    book: Arc<PolicyBook>,
    bundle: Arc<Bundle>,
}

impl Embedded {
    /// Answers by `book` and signs by `authority`.
    pub fn new(authority: Arc<Authority>, book: Arc<PolicyBook>) -> Self {
        let bundle = Arc::new(Bundle {
            trust_domain: authority.ca().trust_domain.clone(),
            authorities: authority.ca().certificate.to_vec(),
        });
        Self { authority, book, bundle }
    }
}

impl Server for Embedded {
    fn changes(&self) -> watch::Receiver<u64> {
        self.book.changes()
    }

    async fn view(&self, selectors: &Selectors) -> Result<View, Refused> {
        let ids = self.book.edition().earned(selectors);
        Ok(View { ids, bundle: self.bundle.clone() })
    }

    async fn sign(&self, order: Order) -> Result<Issued, Refused> {
        // The server decides, at each signature anew (CA-02).
        let edition = self.book.edition();
        if !edition.earned(&order.process.selectors).contains(&order.id) {
            return Err(Refused::NotEntitled);
        }
        let Process { pid, uid, .. } = order.process;
        let subject = Subject {
            actor: format!("uid:{uid} pid:{pid}"),
            process: particulars(&order.process, order.executable),
            ttl_max: edition.policy.as_ref().and_then(|policy| policy.set.svid_ttl()),
        };
        let issued = self.authority.issue(&order.id, &order.csr, subject, SystemTime::now()).await;
        issued.map_err(|error| Refused::Unavailable(chain(&error)))
    }
}

/// OBS-06
fn particulars(process: &Process, executable: Option<[u8; 32]>) -> Value {
    let selectors: Vec<String> = process.selectors.iter().map(ToString::to_string).collect();
    json!({
        "pid": process.pid,
        "started": process.started,
        "uid": process.uid,
        "gid": process.gid,
        "selectors": selectors,
        "executable_sha256": executable.map(|hash| hex(&hash)),
    })
}
