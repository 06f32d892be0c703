//! Identity headers that a caller makes up (HTTP-16, HTTP-19): the workload reads the verified one.

use std::net::SocketAddr;

use cellwall_policy::SnapshotDocument;
use cellwall_testkit::{ca::Svid, strict::lines_any_app_could_read};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};

use crate::{
    kit::{DEADLINE, Sidecar, Town, evidence, id, payments},
    raw_h2::RawH2,
};

/// Whom the attacker would like to be.
const VICTIM: &str = "spiffe://pay.example/prod/admin";

/// Names that some server or framework takes for one of ours: it ignores case, reads `_` as `-` as
/// CGI does, or any other character as PHP does, or leaves such characters out.
pub(crate) const SPELLINGS: [&str; 22] = [
    "x-spiffe-id",
    "X-Spiffe-Id",
    "X-SPIFFE-ID",
    "x-sPiFfE-iD",
    "x_spiffe_id",
    "X_SPIFFE_ID",
    "x-spiffe_id",
    "x_spiffe-id",
    "x.spiffe.id",
    "x-spiffe.id",
    "x!spiffe!id",
    "x~spiffe~id",
    "x'spiffe'id",
    "x--spiffe--id",
    "xspiffeid",
    "x-spiffe-id-",
    "_x-spiffe-id",
    "x-forwarded-client-cert",
    "X-Forwarded-Client-Cert",
    "X_FORWARDED_CLIENT_CERT",
    "x_forwarded_client_cert",
    "x.forwarded.client.cert",
];

/// Where and how the name is put.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Header,
    Twice,
    Nominated,
    NominatedWithOurs,
    Joined,
    ObsText,
    Empty,
    Trailer,
    TrailerAnnounced,
}

pub(crate) const PLACES: [Place; 9] = [
    Place::Header,
    Place::Twice,
    Place::Nominated,
    Place::NominatedWithOurs,
    Place::Joined,
    Place::ObsText,
    Place::Empty,
    Place::Trailer,
    Place::TrailerAnnounced,
];

impl Place {
    /// RFC 9113 §8.2: a name with capitals, or a field of the connection, is malformed.
    pub(crate) fn is_legal_over_h2(self, spelling: &str) -> bool {
        spelling.chars().all(|letter| !letter.is_ascii_uppercase())
            && !matches!(self, Self::Nominated | Self::NominatedWithOurs)
    }
}

/// A request's fields, head and trailers, as they are on the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    pub(crate) head: Vec<Field>,
    pub(crate) trailers: Vec<Field>,
}

/// Name and value.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

pub(crate) fn fields(spelling: &str, place: Place) -> Fields {
    let victim = VICTIM.as_bytes().to_vec();
    let named = |value: Vec<u8>| (spelling.as_bytes().to_vec(), value);
    let other = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    let head = match place {
        Place::Header => vec![named(victim)],
        Place::Twice => vec![named(victim.clone()), other("accept", "*/*"), named(victim)],
        Place::Nominated => vec![other("connection", spelling), named(victim)],
        Place::NominatedWithOurs => {
            let both = format!("x-spiffe-id, {spelling}, host");
            vec![named(victim), other("connection", &both)]
        }
        Place::Joined => vec![named(format!("{}, {VICTIM}", id("checkout")).into_bytes())],
        Place::ObsText => vec![named([b"\xff\xfe", VICTIM.as_bytes()].concat())],
        Place::Empty => vec![named(Vec::new())],
        Place::Trailer => {
            return Fields { trailers: vec![named(victim)], ..Fields::default() };
        }
        Place::TrailerAnnounced => {
            let head = vec![other("trailer", spelling), other("te", "trailers")];
            return Fields { head, trailers: vec![named(victim), other("x-note", "1")] };
        }
    };
    Fields { head, trailers: Vec::new() }
}

/// HTTP/1.1 as bytes.
pub(crate) fn h1(fields: &Fields) -> Vec<u8> {
    let line = |(name, value): &Field| [name, &b": "[..], value, b"\r\n"].concat();
    let mut request = b"POST /v1/payments HTTP/1.1\r\nhost: payments\r\n".to_vec();
    request.extend(fields.head.iter().flat_map(line));
    request.extend(b"transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n");
    request.extend(fields.trailers.iter().flat_map(line));
    request.extend(b"\r\n");
    request
}

/// Every spelling in every place, over HTTP/1.1, each with its name.
pub(crate) fn requests() -> impl Iterator<Item = (String, Vec<u8>)> {
    SPELLINGS.into_iter().flat_map(|spelling| {
        let case = move |place| (format!("{spelling} {place:?}"), h1(&fields(spelling, place)));
        PLACES.map(case)
    })
}

/// Heads that are no right HTTP/1.1: a reader that repairs them would see a spoofed header.
const CROOKED: [&[u8]; 12] = [
    b" x-spiffe-id: VICTIM\r\n",
    b"\tx-spiffe-id: VICTIM\r\n",
    b"x-spiffe-id : VICTIM\r\n",
    b"x-spiffe-id\t: VICTIM\r\n",
    b"x-spiffe-id\x00: VICTIM\r\n",
    b"x-spiffe-id\x0b: VICTIM\r\n",
    b"x spiffe id: VICTIM\r\n",
    b"accept: */*\r\n x-spiffe-id: VICTIM\r\n",
    b"accept: */*\nx-spiffe-id: VICTIM\r\n",
    b"accept: */*\rx-spiffe-id: VICTIM\r\n",
    b"accept: */*\x00\r\nx-spiffe-id: VICTIM\r\n",
    b"x-spiffe-id;a: VICTIM\r\n",
];

/// A workload that keeps what it reads, byte by byte: head, body and trailers in one.
pub(crate) struct Workload {
    pub(crate) seen: mpsc::Receiver<Vec<u8>>,
    _tasks: JoinSet<()>,
}

pub(crate) async fn workload(listener: TcpListener) -> Workload {
    let (say, seen) = mpsc::channel(64);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            while !is_whole(&read) && stream.read_buf(&mut read).await.unwrap() > 0 {}
            say.send(read).await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    });
    Workload { seen, _tasks: tasks }
}

fn is_whole(read: &[u8]) -> bool {
    let text = String::from_utf8_lossy(read);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let chunked = head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked");
    !chunked || (body.ends_with("\r\n\r\n") && body.contains("0\r\n")) || body == "0\r\n\r\n"
}

/// The lines of a request by which it is told who calls, in alphabetical order.
pub(crate) fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// What checkout's app, or its holder's client, sends through.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

type Stream = Box<dyn Wire>;

/// How checkout calls payments.
#[derive(Clone, Copy)]
pub(crate) enum Way<'a> {
    /// By a client with this SVID, straight to the callee's sidecar.
    Straight(&'a Sidecar, &'a Svid),
    /// Through its own sidecar as well, which listens here.
    Through(SocketAddr),
}

/// A connection of the caller's, kept as long as it lasts.
pub(crate) struct Caller<'a, C> {
    way: Way<'a>,
    connection: Option<C>,
}

impl<'a, C> Caller<'a, C> {
    pub(crate) fn new(way: Way<'a>) -> Self {
        Self { way, connection: None }
    }

    async fn dial(&self, alpn: &str) -> Stream {
        self.way.open(alpn).await
    }
}

impl Way<'_> {
    /// A connection of its own.
    pub(crate) async fn open(self, alpn: &str) -> Box<dyn Wire> {
        match self {
            Way::Straight(callee, svid) => Box::new(callee.dial(svid, &[alpn]).await),
            Way::Through(address) => Box::new(TcpStream::connect(address).await.unwrap()),
        }
    }
}

impl Caller<'_, Stream> {
    /// One request over HTTP/1.1; whether it was answered 200.
    pub(crate) async fn over_h1(&mut self, request: &[u8]) -> bool {
        self.status_over_h1(request).await == 200
    }

    /// The same; 0 where there is no answer.
    pub(crate) async fn status_over_h1(&mut self, request: &[u8]) -> u16 {
        let mut stream = match self.connection.take() {
            Some(stream) => stream,
            None => self.dial("http/1.1").await,
        };
        stream.write_all(request).await.unwrap();
        let mut got = Vec::new();
        let answer = async {
            while !got.windows(4).any(|end| end == b"\r\n\r\n") {
                // How the connection ends is no matter: what counts is what came.
                if !matches!(stream.read_buf(&mut got).await, Ok(1..)) {
                    return;
                }
            }
        };
        assert!(tokio::time::timeout(DEADLINE, answer).await.is_ok(), "no answer in time");
        let status = got.get(9..12).and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
        let status = status.unwrap_or_default();
        self.connection = (status == 200).then_some(stream);
        status
    }
}

impl Caller<'_, RawH2<Stream>> {
    /// The same over HTTP/2.
    pub(crate) async fn over_h2(&mut self, fields: &Fields) -> bool {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => RawH2::begin(self.dial("h2").await).await,
        };
        let answered = tokio::time::timeout(DEADLINE, connection.answered(fields)).await;
        let answered = answered.unwrap();
        self.connection = answered.is_some().then_some(connection);
        answered.unwrap_or(false)
    }
}

/// What the workload read in all cases of a list.
pub(crate) struct Tally {
    /// The lines that it should read in each.
    told: Vec<String>,
    cases: u32,
    /// The workload read the verified caller, once, and nobody else.
    clean: u32,
    /// The request did not reach the workload.
    refused: u32,
    spoofed: Vec<String>,
}

impl Tally {
    pub(crate) fn of(told: &[String]) -> Self {
        Self { told: told.to_vec(), cases: 0, clean: 0, refused: 0, spoofed: Vec::new() }
    }

    pub(crate) fn judge(&mut self, case: String, answered: bool, workload: &mut Workload) {
        self.cases += 1;
        let seen = workload.seen.try_recv().ok();
        let again = workload.seen.try_recv().ok();
        match (answered, seen, again) {
            (false, None, None) => self.refused += 1,
            (true, Some(read), None)
                if sorted(lines_any_app_could_read(&read)) == self.told
                    && !String::from_utf8_lossy(&read).contains(VICTIM) =>
            {
                self.clean += 1;
            }
            (answered, seen, _) => {
                let seen = String::from_utf8_lossy(&seen.unwrap_or_default()).into_owned();
                self.spoofed.push(format!("{case}: answered {answered}: {seen}"));
            }
        }
    }
}

/// Payments' sidecar, beside a workload that keeps what it reads.
pub(crate) async fn scene(town: &Town, policy: SnapshotDocument) -> (Sidecar, Workload) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (plan, _) = payments();
    let sidecar = town.beside(plan, listener.local_addr().unwrap()).await;
    (town.made_ready(sidecar, "payments", policy).await, workload(listener).await)
}

impl Tally {
    pub(crate) fn show(&self) {
        assert_eq!(self.spoofed, Vec::<String>::new());
        evidence(&json!({
            "spellings": SPELLINGS.len(), "places": PLACES.len(), "cases": self.cases,
            "spoofed": self.spoofed.len(), "workload_read_the_verified_caller": self.clean,
            "refused": self.refused,
        }));
    }
}

#[tokio::test]
async fn no_spelling_of_our_header_gives_the_workload_another_caller_over_http_1() {
    let town = Town::new().await;
    let (sidecar, mut workload) = scene(&town, payments().1).await;
    let svid = town.svid("checkout");
    let mut caller = Caller::new(Way::Straight(&sidecar, &svid));
    let mut tally = Tally::of(&[format!("x-spiffe-id: {}", id("checkout"))]);
    for spelling in SPELLINGS {
        for place in PLACES {
            let case = format!("{spelling} {place:?}");
            let answered = caller.over_h1(&h1(&fields(spelling, place))).await;
            assert!(answered, "{case}: a right request was refused");
            tally.judge(case, answered, &mut workload);
        }
    }
    for crooked in CROOKED {
        let crooked = String::from_utf8_lossy(crooked).replace("VICTIM", VICTIM);
        let head = "POST /v1/payments HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n";
        let request = format!("{head}{crooked}content-length: 0\r\n\r\n");
        caller.connection = None;
        let answered = caller.over_h1(request.as_bytes()).await;
        tally.judge(format!("{crooked:?}"), answered, &mut workload);
    }
    tally.show();
}

#[tokio::test]
async fn no_spelling_of_our_header_gives_the_workload_another_caller_over_http_2() {
    let town = Town::new().await;
    let (sidecar, mut workload) = scene(&town, payments().1).await;
    let svid = town.svid("checkout");
    let mut caller = Caller::new(Way::Straight(&sidecar, &svid));
    let mut tally = Tally::of(&[format!("x-spiffe-id: {}", id("checkout"))]);
    for spelling in SPELLINGS {
        for place in PLACES {
            let case = format!("{spelling} {place:?}");
            let answered = caller.over_h2(&fields(spelling, place)).await;
            assert_eq!(answered, place.is_legal_over_h2(spelling), "{case}");
            tally.judge(case, answered, &mut workload);
        }
    }
    for value in ["a\r\nx-spiffe-id: VICTIM", "a\nx-spiffe-id: VICTIM", "a\0x-spiffe-id: VICTIM"] {
        let value = value.replace("VICTIM", VICTIM).into_bytes();
        let fields = Fields { head: vec![(b"accept".to_vec(), value)], ..Fields::default() };
        let answered = caller.over_h2(&fields).await;
        assert!(!answered, "a value with a line end");
        tally.judge("split value".to_owned(), answered, &mut workload);
    }
    tally.show();
}
