//! One `FetchX509Bundles` stream: whom members of the trust domain trust.

use std::{collections::HashMap, sync::Arc};

use cellwall_api::workload::X509BundlesResponse;
use tonic::Status;

use crate::{Bundle, Server, serve::Connection};

/// What one client of the stream knows.
pub(crate) struct Bundles<S> {
    connection: Arc<Connection<S>>,
    sent: Option<Arc<Bundle>>,
}

impl<S: Server> Bundles<S> {
    pub(crate) fn new(connection: Arc<Connection<S>>) -> Self {
        Self { connection, sent: None }
    }

    /// What to send now: the full state, or nothing if the client has it.
    pub(crate) async fn next(&mut self) -> Result<Option<X509BundlesResponse>, Status> {
        let bundle = self.connection.view().await?.bundle;
        self.connection.recheck()?; // ATT-01
        if self.sent.as_ref() == Some(&bundle) {
            return Ok(None);
        }
        let own = (bundle.trust_domain.id_string(), bundle.authorities.clone());
        self.sent = Some(bundle);
        Ok(Some(X509BundlesResponse { crl: Vec::new(), bundles: HashMap::from([own]) }))
    }
}
