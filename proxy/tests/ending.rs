//! How long open streams live after the event that ends their authority, for each cause and each
//! protocol; and that nobody else's stream ends with them (ROT-05, AZ-10).

use std::{
    convert::Infallible,
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use cellwall_policy::{
    CallDocument, CallerDocument, Callers, Protocol, RuleDocument, SnapshotDocument,
};
use cellwall_testkit::{
    ca::{Svid, TestCa},
    workload_api::X509State,
    x509::Validity,
};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    client, server,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
};
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    forwarding::read_until,
    kit::{Plan, Sidecar, Town, evidence, evidence_time, http, id, policy},
    played::accepting,
};

/// Streams for `cargo evidence`; a test run beside others has fewer.
const STREAMS: usize = 500;
const FEW_STREAMS: usize = 6;

/// Streams of another caller, which stands on something else.
const OTHERS: usize = 4;

/// Streams that share an HTTP/2 connection.
const SHARED: usize = 50;

/// The pause between two octets of an endless answer.
const PAUSE: Duration = Duration::from_millis(250);

/// Within this, everything that a measurement needs is open, or ended.
const LONG: Duration = Duration::from_secs(60);

const ASKS: &[u8] =
    b"GET /v1/events HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: dots\r\n\r\n";
const SWITCHES: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: dots\r\n\r\n";

/// What one stream is, on the wire between the caller and the sidecar.
#[derive(Clone, Copy, Debug)]
enum Wire {
    Tcp,
    Http1,
    Http2,
    Grpc,
    /// HTTP/1.1, and then something else (HTTP-15).
    Upgraded,
}

/// What ends the authority of the streams.
#[derive(Clone, Copy, Debug)]
enum Cause {
    Policy,
    /// The listener is declared on another port.
    Listener,
    PeerExpired,
    OwnExpired,
    AnchorWithdrawn,
    OwnWithdrawn,
}

impl Wire {
    const fn protocol(self) -> Protocol {
        match self {
            Self::Tcp => Protocol::Tcp,
            Self::Http1 | Self::Http2 | Self::Upgraded => Protocol::Http,
            Self::Grpc => Protocol::Grpc,
        }
    }

    const fn alpn(self) -> &'static str {
        match self {
            Self::Tcp => "cellwall-tcp/1",
            Self::Http1 | Self::Upgraded => "http/1.1",
            Self::Http2 | Self::Grpc => "h2",
        }
    }

    /// What is said first on a connection of its own.
    const fn asks(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"GET /v1/events HTTP/1.1\r\nhost: a\r\n\r\n",
            Self::Upgraded => ASKS,
            Self::Tcp | Self::Http2 | Self::Grpc => b"",
        }
    }

    fn call(self) -> CallDocument {
        match self {
            Self::Tcp => CallDocument::Tcp { port: 8443 },
            Self::Http1 | Self::Http2 => http("GET", "/v1/events"),
            Self::Upgraded => CallDocument::Http {
                methods: vec!["GET".to_owned(), "GET+dots".to_owned()],
                path: "/v1/events".to_owned(),
            },
            Self::Grpc => CallDocument::Grpc {
                service: "events.v1.Events".to_owned(),
                method: "Watch".to_owned(),
            },
        }
    }
}

impl Cause {
    /// What the requirement gives (ROT-05): at once, or after the grace of five seconds.
    const fn limit(self) -> Duration {
        match self {
            Self::Policy | Self::Listener | Self::PeerExpired | Self::OwnExpired => {
                Duration::from_secs(1)
            }
            Self::AnchorWithdrawn | Self::OwnWithdrawn => Duration::from_secs(6),
        }
    }

    /// What the record says.
    const fn reason(self) -> &'static str {
        match self {
            Self::Policy => "policy_revoked",
            Self::Listener => "not_declared",
            Self::PeerExpired | Self::OwnExpired => "svid_expired",
            Self::AnchorWithdrawn => "trust_withdrawn",
            Self::OwnWithdrawn => "svid_withdrawn",
        }
    }

    const fn spares_others(self) -> bool {
        matches!(self, Self::Policy | Self::PeerExpired | Self::AnchorWithdrawn)
    }
}

/// A workload that answers everything with octets without end.
async fn endless(wire: Wire) -> (SocketAddr, JoinSet<()>) {
    accepting(move |mut tcp| async move {
        match wire {
            Wire::Tcp | Wire::Upgraded => {
                if matches!(wire, Wire::Upgraded) {
                    read_until(&mut tcp, "\r\n\r\n").await;
                    let _ = tcp.write_all(SWITCHES).await;
                }
                while tcp.write_all(b".").await.is_ok() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            Wire::Http1 | Wire::Http2 => {
                let serve = server::conn::http1::Builder::new();
                let _ = serve.serve_connection(TokioIo::new(tcp), service_fn(events)).await;
            }
            Wire::Grpc => {
                let serve = server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = serve.serve_connection(TokioIo::new(tcp), service_fn(events)).await;
            }
        }
    })
    .await
}

/// Ends with the test's runtime.
#[expect(clippy::disallowed_methods, reason = "no drain in a test")]
fn background(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task));
}

type Octets = StreamBody<ReceiverStream<Result<Frame<Bytes>, Infallible>>>;

async fn events(request: Request<Incoming>) -> Result<Response<Octets>, hyper::Error> {
    request.into_body().collect().await?;
    let (say, said) = mpsc::channel(1);
    background(async move {
        while say.send(Ok(Frame::data(Bytes::from_static(b".")))).await.is_ok() {
            tokio::time::sleep(PAUSE).await;
        }
    });
    Ok(Response::new(StreamBody::new(ReceiverStream::new(said))))
}

/// One open stream of a caller.
enum Stream {
    Octets(Box<TlsStream<TcpStream>>),
    Body(Incoming),
}

impl Stream {
    /// Waits for more; `false` at its end.
    async fn more(&mut self) -> bool {
        let mut octets = [0; 512];
        match self {
            Self::Octets(stream) => matches!(stream.read(&mut octets).await, Ok(1..)),
            Self::Body(body) => loop {
                match body.frame().await {
                    Some(Ok(frame)) if frame.is_data() => return true,
                    Some(Ok(_)) => {} // trailers say how it ended: it has
                    Some(Err(_)) | None => return false,
                }
            },
        }
    }
}

/// Streams of one caller: as many connections, or few that many share.
async fn open(sidecar: &Sidecar, svid: &Svid, wire: Wire, count: usize) -> Vec<Stream> {
    let mut streams = Vec::new();
    match wire {
        Wire::Tcp | Wire::Http1 | Wire::Upgraded => {
            for _ in 0..count {
                let mut stream = sidecar.dial(svid, &[wire.alpn()]).await;
                stream.write_all(wire.asks()).await.unwrap();
                streams.push(Stream::Octets(Box::new(stream)));
            }
        }
        Wire::Http2 | Wire::Grpc => {
            for begin in (0..count).step_by(SHARED) {
                let io = TokioIo::new(sidecar.dial(svid, &[wire.alpn()]).await);
                let shake = client::conn::http2::handshake(TokioExecutor::new(), io);
                let (sender, connection) = shake.await.unwrap();
                background(async { drop(connection.await) });
                let mut answers = JoinSet::new();
                for _ in begin..count.min(begin + SHARED) {
                    let mut sender = sender.clone();
                    answers.spawn(async move { sender.send_request(request(wire)).await.unwrap() });
                }
                for response in answers.join_all().await {
                    assert_eq!(response.status(), 200, "{wire:?}");
                    streams.push(Stream::Body(response.into_body()));
                }
            }
        }
    }
    streams
}

fn request(wire: Wire) -> Request<Empty<Bytes>> {
    let request = match wire {
        Wire::Grpc => Request::post("http://a/events.v1.Events/Watch")
            .header("content-type", "application/grpc")
            .header("te", "trailers"),
        _ => Request::get("http://a/v1/events"),
    };
    request.body(Empty::new()).unwrap()
}

/// The moments at which streams ended.
fn watched(streams: Vec<Stream>) -> JoinSet<SystemTime> {
    let mut ends = JoinSet::new();
    for mut stream in streams {
        ends.spawn(async move {
            while stream.more().await {}
            SystemTime::now()
        });
    }
    ends
}

fn ends_in(time: Duration) -> Validity {
    Validity::around_now(Duration::from_secs(60), time)
}

/// A sidecar whose callers are `checkout` and `settlement`.
async fn callee(town: &Town, wire: Wire, workload: SocketAddr) -> (Sidecar, SnapshotDocument) {
    let plan = Plan { name: "payments", speaks: wire.protocol(), outbound: &[] };
    let base = policy("payments", wire.protocol(), &[wire.call()]);
    let callers = ["checkout", "settlement"];
    let rule = |name: &str| RuleDocument {
        name: format!("{name}-calls"),
        from: Callers::Named(vec![name.to_owned()]),
        calls: vec![wire.call()],
        ..RuleDocument::default()
    };
    let document = SnapshotDocument {
        callers: callers.map(|name| CallerDocument { name: name.to_owned(), id: None }).into(),
        rules: callers.map(rule).into(),
        guards: Vec::new(),
        ..base
    };
    let sidecar = town.beside(plan, workload).await;
    (town.made_ready(sidecar, "payments", document.clone()).await, document)
}

/// A sidecar, and what its callers' streams stand on.
struct Scene {
    town: Town,
    sidecar: Sidecar,
    document: SnapshotDocument,
    /// An authority that is trusted until its anchor goes.
    old: TestCa,
    ours: Svid,
    doomed: Svid,
    _tasks: JoinSet<()>,
}

impl Scene {
    async fn set(wire: Wire, cause: Cause, count: usize) -> Self {
        let town = Town::new().await;
        let (workload, tasks) = endless(wire).await;
        let (sidecar, document) = callee(&town, wire, workload).await;
        let old = TestCa::new("pay.example");
        // Time enough to open them all before.
        let soon = ends_in(Duration::from_secs(if count > FEW_STREAMS { 30 } else { 8 }));
        let ours = match cause {
            Cause::OwnExpired => town.ca.svid_valid(&id("payments"), soon),
            _ => town.svid("payments"),
        };
        let doomed = match cause {
            Cause::PeerExpired => town.ca.svid_valid(&id("checkout"), soon),
            Cause::AnchorWithdrawn => old.svid(&id("checkout")),
            Cause::Policy | Cause::Listener | Cause::OwnExpired | Cause::OwnWithdrawn => {
                town.svid("checkout")
            }
        };
        let scene = Self { town, sidecar, document, old, ours, doomed, _tasks: tasks };
        scene.sidecar.renewed(&scene.identity(&[&scene.town.ca, &scene.old])).await;
        scene
    }

    fn identity(&self, roots: &[&TestCa]) -> X509State {
        let state = X509State::default();
        let root = self.town.ca.root();
        state.with(&id("payments"), self.ours.clone(), vec![root]).trusting(roots)
    }

    /// Lets it happen, or says when it will.
    fn event(&self, cause: Cause) -> SystemTime {
        let at = SystemTime::now();
        match cause {
            Cause::Policy => {
                let rules = self.document.rules.iter().filter(|one| one.name != "checkout-calls");
                let rules = rules.cloned().collect();
                self.town.publish(SnapshotDocument { rules, ..self.document.clone() });
            }
            Cause::Listener => {
                let mut next = self.document.clone();
                next.listens[0].port = 8444;
                let calls = next.rules.iter_mut().flat_map(|rule| &mut rule.calls);
                for call in calls.filter(|call| matches!(call, CallDocument::Tcp { .. })) {
                    *call = CallDocument::Tcp { port: 8444 };
                }
                self.town.publish(next);
            }
            // A certificate is valid through its last second.
            Cause::PeerExpired => return whole_second(self.doomed.validity.not_after),
            Cause::OwnExpired => return whole_second(self.ours.validity.not_after),
            Cause::AnchorWithdrawn => {
                self.sidecar.identity.publish(&self.identity(&[&self.town.ca]));
            }
            Cause::OwnWithdrawn => self.sidecar.identity.redact(),
        }
        at
    }
}

/// Opens streams, lets the event happen, and says how long each lived on.
async fn measure(wire: Wire, cause: Cause, count: usize) -> Value {
    let mut scene = Scene::set(wire, cause, count).await;
    let others = if cause.spares_others() { OTHERS } else { 0 };
    let settlement = scene.town.svid("settlement");
    let mut others = open(&scene.sidecar, &settlement, wire, others).await;
    let mut streams = open(&scene.sidecar, &scene.doomed, wire, count).await;
    for stream in &mut streams {
        assert!(tokio::time::timeout(LONG, stream.more()).await.unwrap(), "{wire:?} {cause:?}");
    }
    let mut ends = watched(streams);
    assert!(ends.try_join_next().is_none(), "{wire:?} {cause:?}: ended before the event");
    let event = scene.event(cause);
    let mut times = Vec::new();
    let all = async {
        while let Some(end) = ends.join_next().await {
            times.push(end.unwrap().duration_since(event).unwrap()); // not before the event
        }
    };
    tokio::time::timeout(LONG, all).await.unwrap();
    assert_eq!(times.len(), count);
    let lost = ended(&mut others).await;
    let line = scene.sidecar.logged(|line| line["cellwall.reason"] == cause.reason()).await;
    assert_eq!(line["cellwall.caller.workload"], "checkout");
    figures((wire, cause), times, (others.len(), lost))
}

/// How many of them have.
async fn ended(streams: &mut [Stream]) -> usize {
    let mut ended = 0;
    for stream in streams {
        // Twice: what was on its way is not a sign of life.
        let mut goes_on = true;
        for _ in 0..2 {
            goes_on &= tokio::time::timeout(LONG, stream.more()).await.unwrap();
        }
        ended += usize::from(!goes_on);
    }
    ended
}

fn whole_second(not_after: SystemTime) -> SystemTime {
    let unix = not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    SystemTime::UNIX_EPOCH + Duration::from_secs(unix.as_secs() + 1)
}

fn figures(
    (wire, cause): (Wire, Cause),
    mut times: Vec<Duration>,
    (others, lost): (usize, usize),
) -> Value {
    times.sort();
    let at = |share: usize| {
        let index = (times.len() * share).div_ceil(100).saturating_sub(1);
        (times[index].as_secs_f64() * 1000.0).round()
    };
    json!({
        "wire": format!("{wire:?}"), "cause": format!("{cause:?}"), "streams": times.len(),
        "ms_p50": at(50), "ms_p99": at(99), "ms_max": at(100),
        "within_limit": times.iter().all(|time| *time < cause.limit()),
        "others": others, "others_lost": lost,
    })
}

#[tokio::test]
async fn more_long_calls_than_one_workload_connection_takes_go_on_at_once() {
    let town = Town::new().await;
    let (workload, _tasks) = endless(Wire::Grpc).await;
    let (sidecar, _) = callee(&town, Wire::Grpc, workload).await;
    // The workload's server takes two hundred streams on a connection.
    let mut streams = open(&sidecar, &town.svid("checkout"), Wire::Grpc, 230).await;
    assert_eq!(ended(&mut streams).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_in_time_and_nobody_elses() {
    let started = Instant::now();
    let wires = [Wire::Tcp, Wire::Http1, Wire::Http2, Wire::Grpc, Wire::Upgraded];
    let mut rows = Vec::new();
    if evidence_time().is_some() {
        let causes = [
            Cause::Policy,
            Cause::Listener,
            Cause::PeerExpired,
            Cause::OwnExpired,
            Cause::AnchorWithdrawn,
            Cause::OwnWithdrawn,
        ];
        for (wire, cause) in wires.into_iter().flat_map(|wire| causes.map(|cause| (wire, cause))) {
            rows.push(Box::pin(measure(wire, cause, STREAMS)).await);
        }
    } else {
        // All at once, beside other tests: what they take is not judged, only that they end.
        let mut all = JoinSet::new();
        for wire in wires {
            all.spawn(Box::pin(measure(wire, Cause::Policy, FEW_STREAMS)));
            all.spawn(Box::pin(measure(wire, Cause::Listener, FEW_STREAMS)));
            all.spawn(Box::pin(measure(wire, Cause::PeerExpired, FEW_STREAMS)));
        }
        while let Some(row) = all.join_next().await {
            rows.push(row.unwrap());
        }
    }
    evidence(&json!({ "seconds": started.elapsed().as_secs(), "rows": rows }));
    for row in &rows {
        assert_eq!(row["others_lost"], 0, "{row}");
        assert!(evidence_time().is_none() || row["within_limit"] == true, "{row}");
    }
}
