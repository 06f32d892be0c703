use std::time::Duration;

use tokio::{
    io::{
        AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufWriter, DuplexStream,
        Interest, duplex,
    },
    net::{TcpListener, TcpStream},
};

use super::{Plain, both_ways};
use crate::{
    AccessLog, CloseReason,
    flow::{Direction, Flows, Kind},
};

const DEADLINE: Duration = Duration::from_secs(8);

/// The other side of a connection, and ours.
async fn connected() -> (TcpStream, Plain) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (far, near) = tokio::join!(TcpStream::connect(address), listener.accept());
    (far.unwrap(), Plain::new(near.unwrap().0))
}

/// Whether the other side sees a reset once a [`Plain`] is dropped that has heard and said so much.
async fn is_reset(heard_all: bool, said_all: bool) -> bool {
    let (mut far, mut near) = connected().await;
    if heard_all {
        far.shutdown().await.unwrap();
        assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
    }
    if said_all {
        near.shutdown().await.unwrap();
        assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
    }
    drop(near);
    if heard_all && said_all {
        return far.take_error().unwrap().is_some();
    }
    tokio::time::timeout(DEADLINE, far.ready(Interest::ERROR)).await.is_ok()
}

#[tokio::test]
async fn a_socket_that_is_dropped_ends_in_a_reset_unless_both_sides_have_said_all() {
    // A half-closed one, too: nothing else would tell the half that still speaks
    assert!(is_reset(false, false).await);
    assert!(is_reset(true, false).await);
    assert!(is_reset(false, true).await);
    assert!(!is_reset(true, true).await);
}

#[tokio::test]
async fn a_side_has_said_all_at_its_end_and_not_before() {
    let (mut far, mut near) = connected().await;
    assert!(tokio::time::timeout(Duration::ZERO, near.read(&mut [0])).await.is_err());
    assert!(!near.heard_all, "nothing came");
    far.write_all(b"a").await.unwrap();
    far.shutdown().await.unwrap();
    assert_eq!(near.read(&mut []).await.unwrap(), 0);
    assert!(!near.heard_all, "nothing was asked for");
    assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 1);
    assert!(!near.heard_all, "there was more");
    assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(near.heard_all);
    assert!(!near.said_all);
}

#[tokio::test]
async fn what_a_side_says_is_not_held_back_until_it_says_more() {
    let (log, _) = AccessLog::start(std::io::sink()).unwrap();
    let from = "127.0.0.1:9".parse().unwrap();
    let flow = Flows::new(log).open(Kind::Connection, Direction::Inbound, from);
    let ((mut app, mut caller), (mut callee, mut workload)) = (duplex(64), duplex(64));
    let mut callee = BufWriter::new(&mut callee);
    app.write_all(b"said").await.unwrap();
    let mut heard = [0; 4];
    let read = tokio::time::timeout(DEADLINE, workload.read_exact(&mut heard));
    tokio::select! {
        end = both_ways(&mut caller, &mut callee, &flow.progress) => panic!("{end:?}"),
        read = read => assert_eq!(read.unwrap().unwrap(), 4),
    }
    assert_eq!(&heard, b"said");
}

/// Relays until both sides have said all, or one is cut.
async fn relay(
    mut caller: impl AsyncRead + AsyncWrite + Unpin,
    mut callee: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<(), CloseReason> {
    let (log, _) = AccessLog::start(std::io::sink()).unwrap();
    let from = "127.0.0.1:9".parse().unwrap();
    let flow = Flows::new(log).open(Kind::Connection, Direction::Inbound, from);
    both_ways(&mut caller, &mut callee, &flow.progress).await
}

#[tokio::test]
async fn much_goes_both_ways_at_once_and_each_side_ends_for_itself() {
    let ((app, caller), (callee, workload)) = (duplex(100_000), duplex(100_000));
    let side = |end: DuplexStream, seed: u32| async move {
        let said = |seed: u32| (0..3_000_000_u32).map(move |at| (at.wrapping_mul(seed) >> 8) as u8);
        let (mut read, mut write) = tokio::io::split(end);
        let say = async {
            write.write_all(&said(seed).collect::<Vec<_>>()).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let mut heard = Vec::new();
        let hear = read.read_to_end(&mut heard);
        tokio::join!(say, hear).1.unwrap();
        assert!(heard.into_iter().eq(said(8 - seed)), "from {seed}");
    };
    let all = async { tokio::join!(side(app, 3), side(workload, 5), relay(caller, callee)).2 };
    tokio::time::timeout(DEADLINE, all).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_was_said_before_a_cut_is_passed_on_and_the_cut_is_told() {
    let (mut far, near) = connected().await;
    let (mut app, caller) = duplex(64);
    let hear = async {
        far.write_all(&[7; 10_000]).await.unwrap();
        let mut heard = vec![0; 64];
        app.read_exact(&mut heard).await.unwrap(); // the rest is held
        drop(Plain::new(far));
        app.read_to_end(&mut heard).await.unwrap();
        heard.len()
    };
    let both = async { tokio::join!(hear, relay(caller, near)) };
    let told = tokio::time::timeout(DEADLINE, both).await.unwrap();
    assert_eq!(told, (10_000, Err(CloseReason::Io)));
}
