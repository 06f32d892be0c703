use std::{
    future::poll_fn,
    sync::{Arc, Mutex, Weak},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client::SendRequest};
use http::{Request, Response, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::Notify,
    task::JoinSet,
    time::timeout,
};

use super::{
    Tunnels,
    pool::{Found, Opened},
    serve::{Asked, PATIENCE, Patience, serve_for},
    session::{NoStream, Open, Tunnel, Unopened},
    stream::Stream,
};
use crate::{
    CloseReason, Drain,
    authority::tests::{kept, standing},
    flow::Way,
    places::{FRAMING, Place, Places, Pulse, silent},
    route::PoolKey,
};

const DEADLINE: Duration = Duration::from_secs(8);
const SOON: Duration = Duration::from_millis(20);
const NEVER: Duration = Duration::from_secs(3600);

const NO_PULSE: Pulse = Pulse { every: NEVER, answer: NEVER };

pub(super) fn key() -> PoolKey {
    let id = |name| format!("spiffe://pay.example/prod/{name}");
    let expected = Arc::new(id("ledger-db").parse().unwrap());
    PoolKey { own: id("checkout").into(), expected, trust_epoch: 1 }
}

type Callee = h2::server::Connection<DuplexStream, Bytes>;

/// Our side of a session, and the other one, which takes so many streams at once.
async fn beating(places: u32, open: Weak<Open>, pulse: Pulse) -> (Arc<Tunnel>, Callee, Drain) {
    let (far, near) = duplex(64 * 1024);
    let drain = Drain::default();
    let (renewal, key) = (kept().await, key());
    let mut callee = h2::server::Builder::new();
    let callee = callee.max_concurrent_streams(places).handshake(far);
    let tunnel = Tunnel::beating(near, (&drain, renewal), &key, open, (pulse, DEADLINE));
    let (tunnel, callee) = tokio::join!(tunnel, callee);
    (tunnel.unwrap(), callee.unwrap(), drain)
}

/// The same, once that is known.
pub(super) async fn of_places(places: u32, open: Weak<Open>) -> (Arc<Tunnel>, Callee) {
    let (tunnel, mut callee, _) = beating(places, open, NO_PULSE).await;
    let known = async {
        while tunnel.places() != places as usize {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = known => {}
        _ = callee.accept() => panic!("nobody asked"),
    }
    (tunnel, callee)
}

/// Until nothing new begins on it.
pub(super) async fn end_of(tunnel: &Tunnel) {
    let ended = async {
        while tunnel.is_usable(&key(), SystemTime::now()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, ended).await.unwrap();
}

#[tokio::test]
async fn no_stream_begins_in_the_last_quarter_of_the_certificates_time() {
    // AZ-13, ROT-05: whether or not the task of the session has looked at the clock
    let (tunnel, _callee) = of_places(1, Weak::new()).await;
    let retires = tunnel.authority.retire_at();
    assert!(tunnel.is_usable(&key(), retires - Duration::from_secs(1)));
    assert!(!tunnel.is_usable(&key(), retires));
    assert!(!tunnel.is_usable(&PoolKey { trust_epoch: 2, ..key() }, SystemTime::now()));
}

#[tokio::test]
async fn a_stream_that_finds_no_place_is_not_asked_for() {
    // AZ-10: h2 would keep it, and ask when its permission may be gone
    let (tunnel, mut callee) = of_places(1, Weak::new()).await;
    let named = "127.0.0.1:9".parse().unwrap();
    let mut first = Box::pin(tunnel.open(&named));
    let accept = async {
        let (request, mut respond) = callee.accept().await.unwrap().unwrap();
        (respond.send_response(Response::new(()), false).unwrap(), request)
    };
    let asked = tokio::select! {
        asked = accept => asked,
        opened = &mut first => panic!("{opened:?}"),
    };
    assert!(matches!(tunnel.open(&named).await, Err(Unopened::Busy)));
    let taken = tokio::select! {
        taken = first => taken.unwrap(),
        _ = callee.accept() => panic!("another stream"),
    };
    drop((taken, asked));
    assert_eq!(tunnel.taken(), 0);
}

#[tokio::test]
async fn a_session_on_which_nobody_answers_a_ping_is_given_up_while_streams_are_on_it() {
    // RES-03
    let pulse = Pulse { every: SOON, answer: SOON };
    let (tunnel, mut callee, _drain) = beating(1, Weak::new(), pulse).await;
    let named = "127.0.0.1:9".parse().unwrap();
    let answers = async {
        let (request, mut respond) = callee.accept().await.unwrap().unwrap();
        let _asked = (request, respond.send_response(Response::new(()), false).unwrap());
        callee.accept().await; // the answer has to leave
    };
    let _taken = tokio::select! {
        taken = tunnel.open(&named) => taken.unwrap(),
        () = answers => panic!("the session ended"),
    };
    // Nobody reads at the other end from now on.
    end_of(&tunnel).await;
}

/// The other side of a session that is served with `patience`, whose streams get what `answer` says.
async fn served<F>(
    patience: Patience,
    answer: impl Fn(Asked) -> F + Send + 'static,
) -> (SendRequest<Bytes>, JoinSet<bool>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (far, near) = duplex(256 * 1024);
    let mut tasks = JoinSet::new();
    let (authority, policy) = standing().await;
    tasks.spawn(async move {
        let _policy = policy;
        serve_for(near, (&Drain::default(), &authority), answer, patience).await;
        true
    });
    let mut http2 = h2::client::Builder::new();
    let (sender, session) = http2.max_send_buffer_size(1024 * 1024).handshake(far).await.unwrap();
    tasks.spawn(async move { session.await.is_ok() });
    (sender, tasks)
}

async fn ask(sender: &SendRequest<Bytes>) -> Result<StatusCode, h2::Error> {
    let request = Request::connect("127.0.0.1:9").body(()).unwrap();
    let (answer, _send) = sender.clone().ready().await?.send_request(request, false)?;
    Ok(timeout(DEADLINE, answer).await.unwrap()?.status())
}

fn patience() -> Patience {
    Patience { first: SOON, idle: NEVER, leaving: SOON, pulse: NO_PULSE }
}

#[tokio::test]
async fn a_session_without_a_permitted_stream_ends_soon_whatever_is_asked_on_it() {
    // RES-03: it has a place among the connections
    let denied = |asked: Asked| async { asked.refuse(StatusCode::FORBIDDEN, None) };
    let (sender, mut tasks) = served(patience(), denied).await;
    let ended = async {
        while let Ok(status) = ask(&sender).await {
            assert_eq!(status, StatusCode::FORBIDDEN);
        }
        tasks.join_next().await.unwrap().unwrap()
    };
    assert!(timeout(DEADLINE, ended).await.unwrap());
}

#[tokio::test]
async fn a_session_follows_for_its_streams_on_both_sides() {
    // AZ-10: they look when it does, and have no watches and no timer of their own
    let (tunnel, _callee) = of_places(1, Weak::new()).await;
    assert!(tunnel.authority.is_at_rest(SystemTime::now()));

    let (far, near) = duplex(64 * 1024);
    let ((authority, policy), drain) = (standing().await, Drain::default());
    let is_at_rest = || authority.is_at_rest(SystemTime::now());
    assert!(!is_at_rest());
    let answer = |asked: Asked| async { asked.leave() };
    let serving = Box::pin(serve_for(near, (&drain, &authority), answer, patience()));
    let asking = async {
        let (sender, session) = h2::client::handshake(far).await.unwrap();
        let asking = async {
            assert!(ask(&sender).await.is_err());
            assert!(is_at_rest());
            policy.withdraw();
            ask(&sender).await.unwrap_err()
        };
        tokio::join!(asking, session).0
    };
    // And for itself: without a policy it ends.
    let ends = async { tokio::join!(serving, asking).1 };
    assert!(timeout(DEADLINE, ends).await.unwrap().is_go_away());
    assert!(!is_at_rest());
}

#[tokio::test]
async fn nor_does_it_help_to_say_nothing() {
    let (mut far, near) = duplex(64 * 1024);
    far.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let ((authority, _policy), drain) = (standing().await, Drain::default());
    let nobody = |_: Asked| async {};
    let served = serve_for(near, (&drain, &authority), nobody, patience());
    timeout(DEADLINE, Box::pin(served)).await.unwrap();
}

/// What was asked for, with its place.
type Kept = Arc<Mutex<Vec<(Asked, Option<Place>)>>>;

fn keeping() -> (impl Fn(Asked) -> std::future::Ready<()>, Kept) {
    let kept = Kept::default();
    let keeps = kept.clone();
    let keep = move |asked: Asked| {
        let place = asked.permitted();
        keeps.lock().unwrap().push((asked, place));
        std::future::ready(())
    };
    (keep, kept)
}

#[tokio::test]
async fn a_permitted_stream_keeps_its_session_and_the_last_one_leaves_it_its_time() {
    let (keep, kept) = keeping();
    let patience = Patience { idle: SOON, ..patience() };
    let (sender, mut tasks) = served(patience, keep).await;
    let mut asking = Box::pin(ask(&sender));
    let kept_open = timeout(SOON * 20, &mut asking);
    assert!(kept_open.await.is_err(), "it waits for its answer");
    let (asked, place) = kept.lock().unwrap().pop().unwrap();
    asked.refuse(StatusCode::SERVICE_UNAVAILABLE, None);
    assert_eq!(asking.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(timeout(SOON * 20, tasks.join_next()).await.is_err(), "it has its place");
    drop((place, sender));
    assert!(timeout(DEADLINE, tasks.join_next()).await.unwrap().unwrap().unwrap());
}

#[tokio::test]
async fn a_session_that_was_of_use_stays_for_the_next_stream() {
    let used = |asked: Asked| async {
        let _place = asked.permitted();
        asked.refuse(StatusCode::SERVICE_UNAVAILABLE, None);
    };
    let patience = Patience { first: SOON * 10, ..patience() };
    let (sender, mut tasks) = served(patience, used).await;
    assert_eq!(ask(&sender).await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(timeout(SOON * 20, tasks.join_next()).await.is_err(), "it ended");
    assert_eq!(ask(&sender).await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_callee_that_takes_sessions_and_says_nothing_of_streams_is_asked_a_few_times() {
    // RES-03: each time the app waits for as long as an answer may take
    let tunnels = Tunnels::with("127.0.0.1:9".parse().unwrap());
    let (silent, drain) = (Mutex::new(Vec::new()), Drain::default());
    let open = || async {
        let (far, near) = duplex(64 * 1024);
        silent.lock().unwrap().push(far);
        let kept = (&drain, kept().await);
        let waits = (NO_PULSE, SOON);
        let tunnel = Tunnel::beating(near, kept, &key(), tunnels.open(), waits).await;
        tunnel.map(Opened::Shared)
    };
    let found = timeout(DEADLINE, Box::pin(tunnels.stream(&key(), open))).await.unwrap();
    assert_eq!(found.err(), Some(NoStream::Failed(CloseReason::ConnectFailed)));
    assert_eq!(silent.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn no_connection_is_lost_to_a_session_that_ends_meanwhile() {
    // RES-03: what meets a GOAWAY is asked for on another session
    let tunnels = Tunnels::with("127.0.0.1:9".parse().unwrap());
    let served = Mutex::new(JoinSet::new());
    let drain = Drain::default();
    let patience = Patience { first: SOON * 10, idle: SOON / 10, leaving: SOON / 20, ..patience() };
    let open = || async {
        let (far, near) = duplex(64 * 1024);
        let (authority, policy) = standing().await;
        let taken = |asked: Asked| async {
            let place = asked.permitted().unwrap();
            let Ok(mut stream) = asked.take(place) else { return };
            let ((mut socket, _app), ways) = (duplex(1), (Way::default(), Way::default()));
            let _ = stream.relay(&mut socket, (&ways.0, &ways.1)).await; // the caller breaks off
        };
        served.lock().unwrap().spawn(async move {
            let _policy = policy;
            serve_for(far, (&Drain::default(), &authority), taken, patience).await;
        });
        let renewal = kept().await;
        Tunnel::over(near, (&drain, renewal), &key(), tunnels.open()).await.map(Opened::Shared)
    };
    let connections = async {
        for number in 0..80 {
            let found = tunnels.stream(&key(), open).await;
            assert!(matches!(found, Ok(Found::Stream(_))), "{number}: {found:?}");
            drop(found);
            // It is about to end, is told so, or is gone.
            tokio::time::sleep(Duration::from_millis(number % 6)).await;
        }
    };
    timeout(DEADLINE, Box::pin(connections)).await.unwrap();
    assert!(served.lock().unwrap().len() > 10);
}

#[tokio::test]
async fn small_frames_that_nobody_has_asked_for_end_their_session() {
    // RES-05: h2 keeps each by itself, and that weighs more than a stream's window
    let (keep, _kept) = keeping();
    let (sender, mut tasks) = served(PATIENCE, keep).await;
    let request = Request::connect("127.0.0.1:9").body(()).unwrap();
    let asked = sender.clone().ready().await.unwrap().send_request(request, false);
    let (_answer, mut send) = asked.unwrap();
    let says = async {
        for _ in 0..FRAMING / 255 + 1 {
            send.reserve_capacity(1);
            while send.capacity() == 0 {
                let Some(Ok(_)) = poll_fn(|cx| send.poll_capacity(cx)).await else { return };
            }
            if send.send_data(Bytes::from_static(&[7]), false).is_err() {
                return;
            }
        }
    };
    timeout(DEADLINE, says).await.unwrap();
    assert!(timeout(DEADLINE, tasks.join_next()).await.is_ok(), "it goes on");
}

#[tokio::test]
async fn a_caller_that_is_gone_without_a_word_is_noticed() {
    // RES-03
    let (keep, kept) = keeping();
    let pulse = Pulse { every: SOON, answer: SOON };
    let patience = Patience { pulse, ..PATIENCE };
    let (far, near) = duplex(64 * 1024);
    let ((authority, _policy), drain) = (standing().await, Drain::default());
    let mut serves = Box::pin(serve_for(near, (&drain, &authority), keep, patience));
    let shaken = tokio::select! {
        shaken = h2::client::handshake(far) => shaken.unwrap(),
        () = &mut serves => panic!("it ended"),
    };
    let (sender, mut session) = shaken;
    let noticed = async {
        while kept.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = noticed => {}
        _ = ask(&sender) => panic!("nobody answers"),
        _ = &mut session => panic!("it ended"),
        () = &mut serves => panic!("it ended"),
    }
    // Nobody drives the client from now on.
    timeout(DEADLINE, serves).await.unwrap();
}

#[tokio::test]
async fn small_frames_that_nobody_reads_end_no_session() {
    // RES-05: an app that says a few bytes at a time to workloads that are busy
    const STREAMS: usize = 3;
    const FRAMES: usize = 60_000;
    let over = Arc::new(Notify::new());
    let until = over.clone();
    let relays = move |asked: Asked| {
        let until = until.clone();
        async move {
            let place = asked.permitted().unwrap();
            let mut stream = asked.take(place).unwrap();
            let (mut busy, _app) = duplex(1);
            let (from, towards) = (Way::default(), Way::default());
            tokio::select! {
                end = stream.relay(&mut busy, (&from, &towards)) => panic!("{end:?}"),
                () = until.notified() => {}
            }
        }
    };
    let (sender, _tasks) = served(PATIENCE, relays).await;
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        let request = Request::connect("127.0.0.1:9").body(()).unwrap();
        let asked = sender.clone().ready().await.unwrap().send_request(request, false);
        let (answer, mut send) = asked.unwrap();
        let answer = timeout(DEADLINE, answer).await.unwrap().unwrap();
        for _ in 0..FRAMES {
            send.reserve_capacity(16);
            while send.capacity() < 16 {
                poll_fn(|cx| send.poll_capacity(cx)).await.unwrap().unwrap();
            }
            send.send_data(Bytes::from_static(&[7; 16]), false).unwrap();
        }
        open.push((answer, send));
    }
    // Behind all that was said before it.
    assert_eq!(ask(&sender).await.unwrap(), StatusCode::OK);
    over.notify_waiters();
}

/// Our side of a stream that was taken, on which the other one says this and has not read that, and the
/// tasks of both sessions.
async fn relaying(
    place: Place,
) -> (Stream, (SendStream<Bytes>, Request<RecvStream>), JoinSet<bool>) {
    let (far, near) = duplex(64 * 1024);
    let callee = h2::server::handshake(far);
    let (client, callee) = tokio::join!(h2::client::handshake(near), callee);
    let ((sender, session), mut callee) = (client.unwrap(), callee.unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { session.await.is_ok() });
    let request = Request::connect("127.0.0.1:9").body(()).unwrap();
    let asked = sender.clone().ready().await.unwrap().send_request(request, false);
    let (answer, send) = asked.unwrap();
    let (unread, mut respond) = callee.accept().await.unwrap().unwrap();
    let says = respond.send_response(Response::new(()), false).unwrap();
    tasks.spawn(async move { callee.accept().await.is_none() });
    let stream = Stream::new(send, answer.await.unwrap().into_body(), place);
    (stream, (says, unread), tasks)
}

#[tokio::test]
async fn a_silent_relay_of_one_half_hears_that_the_other_side_breaks_off() {
    // Both orders of the last half: neither side reads or writes any more
    let place = Arc::<Places>::default().take(1).unwrap();
    let (mut stream, (mut says, _unread), _tasks) = relaying(place).await;
    let relayed = async {
        let (mut socket, mut app) = duplex(64);
        let (from, towards) = (Way::default(), Way::default());
        let broken = async {
            says.send_data(Bytes::new(), true).unwrap();
            assert_eq!(app.read(&mut [0; 4]).await.unwrap(), 0, "it has said all");
            says.send_reset(h2::Reason::CANCEL);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            end = stream.relay(&mut socket, (&from, &towards)) => end,
            () = broken => Ok(()),
        }
    };
    assert_eq!(timeout(DEADLINE, relayed).await.unwrap(), Err(CloseReason::Io));
}

#[tokio::test]
async fn who_says_something_on_a_stream_is_there_also_when_a_ping_is_not_answered() {
    // RES-03: its answer is behind all that is said
    let (_silent, near) = duplex(64 * 1024);
    let (_sender, mut unanswered) = h2::client::handshake(near).await.unwrap();
    let places = Arc::<Places>::default();
    let place = places.take(1).unwrap();
    let (mut stream, (mut says, _unread), _tasks) = relaying(place).await;
    let (mut socket, _app) = duplex(64 * 1024);
    let ways = (Way::default(), Way::default());
    let talks = async {
        loop {
            says.send_data(Bytes::from_static(&[7; 16]), false).unwrap();
            tokio::time::sleep(SOON / 4).await;
        }
    };
    let pulse = Pulse { every: SOON, answer: SOON * 4 };
    let looked = timeout(SOON * 40, silent(unanswered.ping_pong(), &places, pulse));
    let is_silent = tokio::select! {
        looked = looked => looked.is_ok(),
        end = stream.relay(&mut socket, (&ways.0, &ways.1)) => panic!("{end:?}"),
        () = talks => false,
    };
    assert!(!is_silent);
}

#[tokio::test]
async fn small_frames_on_their_way_to_streams_that_were_reset_end_no_session() {
    // RES-04: h2 weighs those that it ignores as well, and never takes their weight back
    const FRAMES: usize = 1_000;
    const ROUNDS: usize = 80;
    let over = Arc::new(Notify::new());
    let until = over.clone();
    let breaks_off = move |asked: Asked| {
        let until = until.clone();
        async move {
            let place = asked.permitted().unwrap();
            let _stream = asked.take(place).unwrap();
            until.notified().await;
        }
    };
    let (sender, _tasks) = served(PATIENCE, breaks_off).await;
    let mut ended = None;
    for round in 0..ROUNDS {
        let request = Request::connect("127.0.0.1:9").body(()).unwrap();
        let Ok(ready) = sender.clone().ready().await else {
            ended = Some(round);
            break;
        };
        let Ok((answer, mut send)) = { ready }.send_request(request, false) else {
            ended = Some(round);
            break;
        };
        if timeout(DEADLINE, answer).await.unwrap().is_err() {
            ended = Some(round);
            break;
        }
        send.reserve_capacity(16 * FRAMES);
        while send.capacity() < 16 * FRAMES {
            if !matches!(poll_fn(|cx| send.poll_capacity(cx)).await, Some(Ok(_))) {
                break;
            }
        }
        for _ in 0..FRAMES {
            let _ = send.send_data(Bytes::from_static(&[7; 16]), false);
        }
        // They leave before it is known that the other side breaks off.
        over.notify_waiters();
        let _ = timeout(DEADLINE, poll_fn(|cx| send.poll_reset(cx))).await.unwrap();
    }
    assert_eq!(ended, None, "of {ROUNDS} streams of {FRAMES} frames");
}

#[tokio::test]
async fn no_connection_is_lost_to_sessions_that_were_all_told_to_go() {
    // A callee that is replaced at its address while it has many: each says GOAWAY, streams go on
    let tunnels = Tunnels::with("127.0.0.1:9".parse().unwrap());
    let served = Mutex::new(JoinSet::new());
    let (old, drain) = (Drain::default(), Drain::default());
    let is_old = std::sync::atomic::AtomicBool::new(true);
    let open = || async {
        let (far, near) = duplex(64 * 1024);
        let (authority, policy) = standing().await;
        let taken = |asked: Asked| async {
            let place = asked.permitted().unwrap();
            let Ok(mut stream) = asked.take(place) else { return };
            let ((mut socket, _app), ways) = (duplex(1), (Way::default(), Way::default()));
            let _ = stream.relay(&mut socket, (&ways.0, &ways.1)).await; // the caller breaks off
        };
        let by = if is_old.load(std::sync::atomic::Ordering::Relaxed) {
            old.clone()
        } else {
            Drain::default()
        };
        served.lock().unwrap().spawn(async move {
            let _policy = policy;
            serve_for(far, (&by, &authority), taken, PATIENCE).await;
        });
        let renewal = kept().await;
        Tunnel::over(near, (&drain, renewal), &key(), tunnels.open()).await.map(Opened::Shared)
    };
    let mut held = Vec::new();
    for _ in 0..305 {
        held.push(
            timeout(DEADLINE, Box::pin(tunnels.stream(&key(), open))).await.unwrap().unwrap(),
        );
    }
    let mut number = 0;
    held.retain(|_| {
        number += 1;
        number % 3 != 0
    });
    is_old.store(false, std::sync::atomic::Ordering::Relaxed);
    let stops = async { old.drain(DEADLINE * 8).await };
    let asks = async {
        tokio::time::sleep(SOON * 5).await; // GOAWAY has come
        Box::pin(tunnels.stream(&key(), open)).await
    };
    let found = tokio::select! {
        found = asks => found,
        () = stops => panic!("drained"),
    };
    assert!(matches!(found, Ok(Found::Stream(_))), "{found:?}");
}

#[tokio::test]
async fn who_is_gone_is_noticed_also_while_somebody_goes_on_talking_to_them() {
    // RES-03: what the session takes was not heard by anybody
    let pulse = Pulse { every: SOON, answer: SOON };
    let (tunnel, mut callee, _drain) = beating(1, Weak::new(), pulse).await;
    let named = "127.0.0.1:9".parse().unwrap();
    let answers = async {
        let (request, mut respond) = callee.accept().await.unwrap().unwrap();
        let _asked = (request, respond.send_response(Response::new(()), false).unwrap());
        callee.accept().await; // the answer has to leave
    };
    let mut taken = tokio::select! {
        taken = tunnel.open(&named) => taken.unwrap(),
        () = answers => panic!("the session ended"),
    };
    // Nobody reads at the other end from now on.
    let (mut socket, mut app) = duplex(64);
    let ways = (Way::default(), Way::default());
    let talks = async {
        while app.write_all(&[7]).await.is_ok() {
            tokio::time::sleep(SOON / 4).await;
        }
    };
    let relays = taken.stream.relay(&mut socket, (&ways.0, &ways.1));
    let both = async { tokio::join!(talks, relays) };
    tokio::select! {
        _ = both => {}
        () = end_of(&tunnel) => {}
    }
}
