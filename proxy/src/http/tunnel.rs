//! What comes after 101: bytes both ways, in a protocol that we do not read, for as long as the call
//! that asked for it stands (HTTP-12, HTTP-15).

use super::{alone::HeldOpen, lingering::Lingering};
use crate::{
    CloseReason, Drain,
    authority::Authority,
    flow::{Direction, Flow},
    heard::Heard,
    relay::{self, Plain},
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;

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
    pub(super) async fn run(self, drain: &Drain) {
        let Self { flow, authority, caller, callee, kept: _kept } = self;
        let end = tokio::select! {
            biased; // it may have ended while the answer was on its way
            reason = authority.ended() => Err(reason),
            () = drain.cut() => Err(CloseReason::Drained),
            end = relayed(&flow, caller, callee) => end.map_err(|reason| authority.explains(reason)),
        };
        let reason = end.err().unwrap_or(CloseReason::Done);
        flow.close(reason);
    }

    /// Ends it before its first byte: HTTP on the caller's connection was cut for this.
    pub(super) fn cut(self, reason: CloseReason) {
        self.flow.close(reason);
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
    let parts = upgraded.downcast::<TokioIo<Heard<Plain>>>().map_err(|_| CloseReason::Io)?;
    Ok(parts.io.into_inner().over(Plain::streamed).after(&parts.read_buf))
}

/// The same of our own workload that calls.
fn calling(upgraded: Upgraded) -> Result<Heard<Plain>, CloseReason> {
    let parts =
        upgraded.downcast::<TokioIo<Lingering<Heard<Plain>>>>().map_err(|_| CloseReason::Io)?;
    let io = parts.io.into_inner().into_inner();
    Ok(io.over(Plain::streamed).after(&parts.read_buf))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, ErrorKind},
        sync::Arc,
        time::Duration,
    };

    use cellwall_policy::Snapshot;
    use hyper::{Request, body::Incoming};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        net::{TcpListener, TcpStream},
    };

    use crate::{
        AccessLog, Direction, Drain, Flows, Kind, Live,
        authority::tests::standing,
        http::{
            Body, Version,
            alone::tests::{end, head},
            alone_at_workload, delivered, serve,
        },
    };

    const ASKS: &[u8] =
        b"GET /v1/feed HTTP/1.1\r\nhost: payments\r\nupgrade: chat\r\nconnection: upgrade\r\n\r\n";
    const SWITCHES: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: chat\r\n\
        connection: upgrade\r\n\r\n";

    /// A caller that has read one byte of its 101, over a pipe that has no place for the rest, and the
    /// workload, which goes on already.
    struct OnItsWay {
        caller: DuplexStream,
        workload: TcpStream,
        policy: Arc<Live<Snapshot>>,
        flows: Flows,
        drain: Drain,
    }

    impl OnItsWay {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (authority, policy) = standing().await;
            let (log, _) = AccessLog::start(io::sink()).unwrap();
            let (flows, drain) = (Flows::new(log), Drain::default());
            let (mut caller, near) = duplex(16);
            let (ours, served) = (flows.clone(), drain.clone());
            drain.spawn(async move {
                let answer = |mut request: Request<Incoming>| {
                    let flow = ours.open(Kind::Call, Direction::Inbound, address);
                    let asking = hyper::upgrade::on(&mut request);
                    let request = request.map(|_| Body::ours(""));
                    let (authority, drain) = (authority.clone(), served.clone());
                    async move {
                        let tcp = TcpStream::connect(address).await.unwrap();
                        let answer = alone_at_workload(tcp, &drain, request).await.unwrap();
                        delivered(flow, (answer, authority), asking)
                    }
                };
                serve(near, Version::Http1, (&served, None), answer).await;
            });
            caller.write_all(ASKS).await.unwrap();
            let (mut workload, _) = listener.accept().await.unwrap();
            head(&mut workload).await;
            workload.write_all(SWITCHES).await.unwrap();
            caller.read_exact(&mut [0]).await.unwrap();
            Self { caller, workload, policy, flows, drain }
        }
    }

    #[tokio::test]
    async fn a_caller_that_goes_before_it_has_its_101_does_not_look_like_one_that_said_nothing() {
        let OnItsWay { caller, workload, policy: _policy, .. } = OnItsWay::new().await;
        drop(caller);
        assert_eq!(end(workload).await, Some(ErrorKind::ConnectionReset));
    }

    #[tokio::test]
    async fn what_ends_before_the_caller_has_read_its_101_ends_at_once() {
        // AZ-10, HTTP-15
        let OnItsWay { caller: _caller, workload, policy, flows, drain } = OnItsWay::new().await;
        policy.withdraw();
        assert_eq!(end(workload).await, Some(ErrorKind::ConnectionReset));
        drain.drain(Duration::from_secs(8)).await; // and has its record
        let told = flows.decisions().recent(1);
        assert_eq!(told.first().map(|record| record.reason), Some("no_policy"));
    }

    #[tokio::test]
    async fn a_drain_that_begins_meanwhile_leaves_the_caller_all_of_its_101() {
        let OnItsWay { mut caller, workload, policy: _policy, drain, .. } = OnItsWay::new().await;
        drop(workload); // what is read is the 101, and then the end
        let read = async {
            drain.stopping().await;
            for _ in 0..16 {
                tokio::task::yield_now().await; // whoever serves has heard of it, too
            }
            head(&mut caller).await;
            drop(caller);
        };
        tokio::join!(drain.drain(Duration::from_secs(8)), read);
    }

    #[tokio::test]
    async fn a_drain_that_cuts_before_that_is_no_end_either() {
        let OnItsWay { caller: _caller, workload, policy: _policy, drain, .. } =
            OnItsWay::new().await;
        drain.drain(Duration::ZERO).await;
        assert_eq!(end(workload).await, Some(ErrorKind::ConnectionReset));
    }
}
