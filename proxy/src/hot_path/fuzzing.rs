//! What the fuzz targets need: calls on any stream, from a caller whose handshake is over. In no build
//! but theirs.

use std::{net::SocketAddr, sync::Arc};

use cellwall_mtls::{Alpn, Session};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Arrival, Caller, Proxy, Served};
use crate::{
    CloseReason,
    authority::{Authority, Needs},
    authz::tls,
    http::{self as web, Version},
};

impl Proxy {
    /// Answers what comes on `stream` as calls of the other side of `session`, over the HTTP that the
    /// two agreed on, until the stream ends.
    ///
    /// # Errors
    ///
    /// [`CloseReason`] when we have no identity, or no policy declares the listener.
    pub async fn overhear<S, IO>(
        self: Arc<Self>,
        stream: IO,
        session: &Session<S>,
        served: Arc<Served>,
    ) -> Result<(), CloseReason>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let identity = self.identities.current().ok_or(CloseReason::SvidWithdrawn)?;
        let declared = self.authz.declared(served.port)?;
        let (peer, tls) = (session.peer.clone(), tls(session.group));
        let authority = Authority::of_connection(&self.identities, &identity, &peer, tls)
            .needing(&self.authz, Needs::Listener(declared));
        let from = SocketAddr::from(([127, 0, 0, 1], 1));
        let arrival = Arrival { served, declared, from };
        let caller = Caller { peer, authority: authority.clone(), arrival };
        let version = if session.alpn == Alpn::H2 { Version::Http2 } else { Version::Http1 };
        let calls = |request| self.clone().call(caller.clone(), request);
        web::serve(stream, version, (&self.drain, Some(&authority)), calls).await;
        Ok(())
    }
}
