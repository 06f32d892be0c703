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
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;

use crate::kit::{Plan, Sidecar, Town, evidence, evidence_time, http, id, policy};

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

/// What one stream is, on the wire between the caller and the sidecar.
#[derive(Clone, Copy, Debug)]
enum Wire {
    Tcp,
    Http1,
    Http2,
    Grpc,
}

/// What ends the authority of the streams.
#[derive(Clone, Copy, Debug)]
enum Cause {
    Policy,
    PeerExpired,
    OwnExpired,
    AnchorWithdrawn,
    OwnWithdrawn,
}

impl Wire {
    const fn protocol(self) -> Protocol {
        match self {
            Self::Tcp => Protocol::Tcp,
            Self::Http1 | Self::Http2 => Protocol::Http,
            Self::Grpc => Protocol::Grpc,
        }
    }

    const fn alpn(self) -> &'static str {
        match self {
            Self::Tcp => "cellwall-tcp/1",
            Self::Http1 => "http/1.1",
            Self::Http2 | Self::Grpc => "h2",
        }
    }

    fn call(self) -> CallDocument {
        match self {
            Self::Tcp => CallDocument::Tcp { port: 8443 },
            Self::Http1 | Self::Http2 => http("GET", "/v1/events"),
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
            Self::Policy | Self::PeerExpired | Self::OwnExpired => Duration::from_secs(1),
            Self::AnchorWithdrawn | Self::OwnWithdrawn => Duration::from_secs(6),
        }
    }

    const fn spares_others(self) -> bool {
        matches!(self, Self::Policy | Self::PeerExpired | Self::AnchorWithdrawn)
    }
}

/// A workload that answers everything with octets without end.
async fn endless(protocol: Protocol) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            connections.spawn(async move {
                match protocol {
                    Protocol::Tcp => {
                        while tcp.write_all(b".").await.is_ok() {
                            tokio::time::sleep(PAUSE).await;
                        }
                    }
                    Protocol::Http => {
                        let serve = server::conn::http1::Builder::new();
                        let _ = serve.serve_connection(TokioIo::new(tcp), service_fn(events)).await;
                    }
                    Protocol::Grpc => {
                        let serve = server::conn::http2::Builder::new(TokioExecutor::new());
                        let _ = serve.serve_connection(TokioIo::new(tcp), service_fn(events)).await;
                    }
                }
            });
        }
    });
    (address, tasks)
}

type Octets = StreamBody<ReceiverStream<Result<Frame<Bytes>, Infallible>>>;

async fn events(request: Request<Incoming>) -> Result<Response<Octets>, hyper::Error> {
    request.into_body().collect().await?;
    let (say, said) = mpsc::channel(1);
    tokio::spawn(async move {
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
        Wire::Tcp | Wire::Http1 => {
            for _ in 0..count {
                let mut stream = sidecar.dial(svid, &[wire.alpn()]).await;
                if matches!(wire, Wire::Http1) {
                    stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
                }
                streams.push(Stream::Octets(Box::new(stream)));
            }
        }
        Wire::Http2 | Wire::Grpc => {
            for begin in (0..count).step_by(SHARED) {
                let io = TokioIo::new(sidecar.dial(svid, &[wire.alpn()]).await);
                let shake = client::conn::http2::handshake(TokioExecutor::new(), io);
                let (mut sender, connection) = shake.await.unwrap();
                tokio::spawn(connection);
                for _ in begin..count.min(begin + SHARED) {
                    let response = sender.send_request(request(wire)).await.unwrap();
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

/// Opens streams, lets the event happen, and says how long each lived on.
async fn measure(wire: Wire, cause: Cause, count: usize) -> Value {
    let town = Town::new().await;
    let (workload, _tasks) = endless(wire.protocol()).await;
    let (mut sidecar, document) = callee(&town, wire, workload).await;
    let old = TestCa::new("pay.example");
    let own = |svid: Svid, roots: &[&TestCa]| {
        X509State::default().with(&id("payments"), svid, vec![town.ca.root()]).trusting(roots)
    };
    // Time enough to open them all before.
    let seconds = if count > FEW_STREAMS { 45 } else { 8 };
    let soon = ends_in(Duration::from_secs(seconds));
    let ours = match cause {
        Cause::OwnExpired => town.ca.svid_valid(&id("payments"), soon),
        _ => town.svid("payments"),
    };
    sidecar.renewed(&own(ours.clone(), &[&town.ca, &old])).await;
    let doomed = match cause {
        Cause::PeerExpired => town.ca.svid_valid(&id("checkout"), soon),
        Cause::AnchorWithdrawn => old.svid(&id("checkout")),
        Cause::Policy | Cause::OwnExpired | Cause::OwnWithdrawn => town.svid("checkout"),
    };
    let others = if cause.spares_others() { OTHERS } else { 0 };
    let mut others = open(&sidecar, &town.svid("settlement"), wire, others).await;
    let mut streams = open(&sidecar, &doomed, wire, count).await;
    for stream in &mut streams {
        assert!(tokio::time::timeout(LONG, stream.more()).await.unwrap(), "{wire:?} {cause:?}");
    }
    let mut ends = watched(streams);
    // What is judged is that they are open until the event.
    assert!(ends.try_join_next().is_none(), "{wire:?} {cause:?}: ended before the event");
    let event = match cause {
        Cause::Policy => {
            let rules = document.rules.iter().filter(|rule| rule.name != "checkout-calls");
            let rules = rules.cloned().collect();
            let at = SystemTime::now();
            town.publish(SnapshotDocument { rules, ..document });
            at
        }
        // A certificate is valid through its last second.
        Cause::PeerExpired => whole_second(doomed.validity.not_after),
        Cause::OwnExpired => whole_second(ours.validity.not_after),
        Cause::AnchorWithdrawn => {
            let at = SystemTime::now();
            sidecar.identity.publish(&own(ours, &[&town.ca]));
            at
        }
        Cause::OwnWithdrawn => {
            let at = SystemTime::now();
            sidecar.identity.redact();
            at
        }
    };
    let mut times = Vec::new();
    let all = async {
        while let Some(end) = ends.join_next().await {
            times.push(end.unwrap().duration_since(event).expect("ended before the event"));
        }
    };
    tokio::time::timeout(LONG, all).await.unwrap();
    assert_eq!(times.len(), count);
    let mut lost = 0;
    for other in &mut others {
        // Twice: what was on its way is not a sign of life.
        for _ in 0..2 {
            lost += usize::from(!tokio::time::timeout(LONG, other.more()).await.unwrap());
        }
    }
    let reason = match cause {
        Cause::Policy => "policy_revoked",
        Cause::PeerExpired | Cause::OwnExpired => "svid_expired",
        Cause::AnchorWithdrawn => "trust_withdrawn",
        Cause::OwnWithdrawn => "svid_withdrawn",
    };
    let line = sidecar.logged(|line| line["cellwall.reason"] == reason).await;
    assert_eq!(line["cellwall.caller.workload"], "checkout");
    figures((wire, cause), times, (others.len(), lost))
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_in_time_and_nobody_elses() {
    let started = Instant::now();
    let wires = [Wire::Tcp, Wire::Http1, Wire::Http2, Wire::Grpc];
    let mut rows = Vec::new();
    if evidence_time().is_some() {
        let causes = [
            Cause::Policy,
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
