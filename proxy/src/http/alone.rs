//! One request on a connection of its own: one that asks to go on in another protocol (HTTP-12).

use std::{sync::Arc, time::SystemTime};

use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    body::Body,
    client::{Unsent, drive},
    fate::SendError,
    recycled::exchange,
};
use crate::{CloseReason, Drain, reproof::Renewal};

/// Keeps a connection open beyond the certificates that it was opened with, until the last of these
/// is dropped. Goes with the answer, as one of its extensions.
#[derive(Clone, Debug)]
pub(super) struct HeldOpen {
    _guard: Arc<DropGuard>,
}

impl HeldOpen {
    fn by(mut renewal: Renewal, drain: &Drain) -> Self {
        let over = CancellationToken::new();
        let guard = Arc::new(over.clone().drop_guard());
        drain.services().spawn(async move {
            tokio::select! {
                never = renewal.keep() => match never {},
                () = over.cancelled() => {}
            }
        });
        Self { _guard: guard }
    }
}

/// Sends `request` on `io`, which carries no other call before or after it, whatever the answer. A
/// connection to our own workload has no authority to renew.
pub(crate) async fn alone(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    (drain, renewal): (&Drain, Option<Renewal>),
    request: Request<Body>,
) -> Result<Response<Incoming>, SendError> {
    const FAILED: SendError = SendError::not_done(CloseReason::ConnectFailed);
    let (mut sender, connection) =
        http1::Builder::new().handshake(TokioIo::new(io)).await.map_err(|_| FAILED)?;
    let authority = renewal.as_ref().map(|renewal| renewal.authority.clone());
    let kept = renewal.map(|renewal| HeldOpen::by(renewal, drain));
    let guard = kept.clone();
    let whole = async move {
        let _until_it_ends = guard;
        connection.with_upgrades().await
    };
    drive(drain, authority.clone(), std::future::pending(), whole);
    let mut response = exchange(&mut sender, request).await.map_err(|unsent| match unsent {
        Unsent::Returned(_) => FAILED,
        Unsent::Gone(error) => {
            let ended = authority.and_then(|one| one.holds(SystemTime::now()).err());
            error.on_a_connection(ended)
        }
    })?;
    if let Some(kept) = kept {
        response.extensions_mut().insert(kept);
    }
    Ok(response)
}
