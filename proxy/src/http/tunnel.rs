//! What comes after 101: bytes both ways, in a protocol that we do not read, for as long as the call
//! that asked for it stands (HTTP-12, HTTP-15).

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{alone::HeldOpen, lingering::Lingering};
use crate::{
    CloseReason, Drain,
    authority::Authority,
    flow::{Direction, Flow},
    heard::Heard,
    relay::{self, Plain},
};

/// Two connections that go on in another protocol, once the caller has its answer.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) flow: Flow,
    /// What the call stands on.
    pub(super) authority: Authority,
    pub(super) caller: OnUpgrade,
    pub(super) callee: OnUpgrade,
    /// What keeps the connection to the other sidecar open, if we opened it.
    pub(super) kept: Option<HeldOpen>,
}

impl Tunnel {
    /// Passes bytes on until both sides have closed, or until the call ends for another reason.
    pub(super) async fn run(self, drain: &Drain) -> CloseReason {
        let Self { flow, authority, caller, callee, kept: _kept } = self;
        let watch = drain.watch();
        let end = tokio::select! {
            biased; // it may have ended while the answer was on its way
            reason = authority.ended() => Err(reason),
            () = watch.cut() => Err(CloseReason::Drained),
            end = relayed(&flow, caller, callee) => end.map_err(|reason| authority.explains(reason)),
        };
        let reason = end.err().unwrap_or(CloseReason::Done);
        flow.close(reason);
        reason
    }
}

async fn relayed(flow: &Flow, caller: OnUpgrade, callee: OnUpgrade) -> Result<(), CloseReason> {
    let (caller, callee) = tokio::try_join!(caller, callee).map_err(|_| CloseReason::Cancelled)?;
    match flow.record.direction {
        Direction::Inbound => {
            let (mut peer, mut workload) = (TokioIo::new(caller), called(callee)?);
            relay::both_ways(&mut peer, &mut workload, &flow.progress).await
        }
        Direction::Outbound => {
            let (mut workload, mut peer) = (calling(caller)?, TokioIo::new(callee));
            relay::both_ways(&mut workload, &mut peer, &flow.progress).await
        }
    }
}

/// The socket of our own workload that was called, with what was read of it already.
fn called(upgraded: Upgraded) -> Result<Heard<Plain>, CloseReason> {
    let parts = upgraded.downcast::<TokioIo<Heard<TcpStream>>>().map_err(|_| CloseReason::Io)?;
    Ok(parts.io.into_inner().over(Plain::new).after(&parts.read_buf))
}

/// The same of our own workload that calls.
fn calling(upgraded: Upgraded) -> Result<Heard<Plain>, CloseReason> {
    let parts =
        upgraded.downcast::<TokioIo<Lingering<Heard<Plain>>>>().map_err(|_| CloseReason::Io)?;
    let io = parts.io.into_inner().into_inner();
    Ok(io.over(Plain::streamed).after(&parts.read_buf))
}
