//! HTTP/2 by hand: a client that sends, and a server that says, what a library would not (RFC 9113,
//! RFC 7541).

use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

use cellwall_testkit::{ca::Svid, tls::DangerousParty};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::Mutex,
    task::JoinSet,
};

use crate::{
    played::accepting,
    spoofs::{Field, Fields},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// `:status 200` in the static table, as one indexed field (RFC 7541, Appendix A).
pub(crate) const STATUS_200: u8 = 0x88;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A literal field that no table keeps, without Huffman coding (RFC 7541 §6.2.2).
pub(crate) fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let string = |bytes: &[u8]| {
        assert!(bytes.len() < 127, "one byte of length is enough here");
        [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
    };
    [vec![0], string(name), string(value)].concat()
}

fn block(fields: &[Field]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// What most requests begin with.
pub(crate) const PAYMENT: [(&str, &str); 4] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "payments"),
    (":path", "/v1/payments"),
];

/// A connection that sends what it is told to.
pub(crate) struct RawH2<IO> {
    io: IO,
    next: u32,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> RawH2<IO> {
    /// Begins; nothing is read yet.
    pub(crate) async fn begin(mut io: IO) -> Self {
        // Whoever refuses the connection may close before all of it is written.
        let _ = io.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
        Self { io, next: 1 }
    }

    /// Sends one request with these fields; whether it was answered 200. `None` when the
    /// connection ended over it.
    pub(crate) async fn answered(&mut self, fields: &Fields) -> Option<bool> {
        self.asked(&PAYMENT, fields).await
    }

    /// The same with other pseudo-header fields.
    pub(crate) async fn asked(&mut self, pseudo: &[(&str, &str)], fields: &Fields) -> Option<bool> {
        let stream = self.next;
        self.next += 2;
        let pseudo: Vec<Field> = pseudo
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect();
        let head = [block(&pseudo), block(&fields.head)].concat();
        let mut sent = frame(HEADERS, END_HEADERS, stream, &head);
        let trailers = block(&fields.trailers);
        let last = if trailers.is_empty() { END_STREAM } else { 0 };
        sent.extend(frame(DATA, last, stream, b"body"));
        if !trailers.is_empty() {
            sent.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &trailers));
        }
        let _ = self.io.write_all(&sent).await;
        let _ = self.io.flush().await;
        loop {
            match self.next_frame().await? {
                (HEADERS, about, payload) if about == stream => {
                    return Some(payload.first() == Some(&STATUS_200));
                }
                (RST_STREAM, about, _) if about == stream => return Some(false),
                (GOAWAY, ..) => return None,
                _ => {}
            }
        }
    }

    /// Resolves when the other side says that the connection ends, or ends it. No ping is answered:
    /// a server that asks how much is on its way is left waiting.
    pub(crate) async fn left(&mut self) {
        while !matches!(self.next_frame().await, None | Some((GOAWAY, ..))) {}
    }

    /// Sends all of `said`; whether the other side still answers a ping after it.
    pub(crate) async fn lives_through(mut self, said: &[u8]) -> bool {
        let (hears, mut says) = tokio::io::split(&mut self.io);
        let mut heard = RawH2 { io: tokio::io::join(hears, tokio::io::sink()), next: 1 };
        let ping = frame(PING, 0, 0, b"thepings");
        let say = async {
            // It may hang up before it has all.
            let _ = says.write_all(&[said, &ping].concat()).await;
            let _ = says.flush().await;
            std::future::pending::<()>().await;
        };
        let hear = async {
            loop {
                match heard.next_frame().await {
                    None | Some((GOAWAY, ..)) => return false,
                    Some((PING, _, payload)) if payload == b"thepings" => return true,
                    Some(_) => {}
                }
            }
        };
        tokio::select! {
            () = say => unreachable!(),
            lives = hear => lives,
        }
    }

    /// Kind, stream and payload; `None` at the end.
    async fn next_frame(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let mut header = [0; 9];
        self.io.read_exact(&mut header).await.ok()?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.io.read_exact(&mut payload).await.ok()?;
        if header[3] == SETTINGS && header[4] & ACK == 0 {
            let _ = self.io.write_all(&frame(SETTINGS, ACK, 0, &[])).await;
            let _ = self.io.flush().await;
        }
        let about = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        Some((header[3], about, payload))
    }
}

/// How a server leaves a request without an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leaves {
    /// RST_STREAM with this code.
    Reset(u32),
    /// GOAWAY with this code that does not count the request among those that were taken in.
    Above(u32),
    /// GOAWAY with this code that does, and then the end.
    Below(u32),
    /// The end of the connection, without a word.
    Silently,
    /// These frames about the stream.
    Says(fn(u32) -> Vec<u8>),
}

/// A server that answers nothing: it leaves each request in the next of some ways.
pub(crate) struct Leaver {
    pub(crate) address: SocketAddr,
    ways: Arc<Mutex<VecDeque<Leaves>>>,
    _tasks: JoinSet<()>,
}

impl Leaver {
    /// The sidecar of `svid`'s holder.
    pub(crate) async fn sidecar(svid: &Svid) -> Self {
        Self::start(Some(DangerousParty::presenting(svid).alpn(&["h2"]))).await
    }

    /// A workload that speaks HTTP/2 without TLS.
    pub(crate) async fn workload() -> Self {
        Self::start(None).await
    }

    /// How it leaves the next request.
    pub(crate) async fn next(&self, way: Leaves) {
        self.ways.lock().await.push_back(way);
    }

    async fn start(party: Option<DangerousParty>) -> Self {
        let ways = Arc::<Mutex<VecDeque<Leaves>>>::default();
        let left = ways.clone();
        let (address, tasks) = accepting(move |tcp| {
            let (party, left) = (party.clone(), left.clone());
            async move {
                match party {
                    Some(party) => {
                        // A handshake that fails is the caller's affair.
                        if let Ok(stream) = party.accept(tcp).await {
                            leave(stream, &left).await;
                        }
                    }
                    None => leave(tcp, &left).await,
                }
            }
        })
        .await;
        Self { address, ways, _tasks: tasks }
    }
}

/// Serves one connection, to its end.
async fn leave(mut io: impl AsyncRead + AsyncWrite + Unpin, ways: &Mutex<VecDeque<Leaves>>) {
    // First: a sidecar sends nothing before it has heard the other one.
    let _ = io.write_all(&frame(SETTINGS, 0, 0, &[])).await;
    let _ = io.flush().await;
    let mut preface = vec![0; PREFACE.len()];
    if io.read_exact(&mut preface).await.is_err() {
        return;
    }
    let mut header = [0; 9];
    while io.read_exact(&mut header).await.is_ok() {
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        if io.read_exact(&mut payload).await.is_err() {
            return;
        }
        let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        let (said, ends) = match header[3] {
            SETTINGS if header[4] & ACK == 0 => (frame(SETTINGS, ACK, 0, &[]), false),
            HEADERS => ways.lock().await.pop_front().unwrap().of(stream),
            _ => continue,
        };
        let _ = io.write_all(&said).await;
        let _ = io.flush().await;
        if ends {
            return;
        }
    }
}

impl Leaves {
    /// What is said of `stream`, and whether that is all.
    fn of(self, stream: u32) -> (Vec<u8>, bool) {
        let goaway = |last: u32, code: u32| {
            frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
        };
        match self {
            Self::Reset(code) => (frame(RST_STREAM, 0, stream, &code.to_be_bytes()), false),
            Self::Above(code) => (goaway(stream.saturating_sub(2), code), false),
            Self::Below(code) => (goaway(stream, code), true),
            Self::Silently => (Vec::new(), true),
            Self::Says(frames) => (frames(stream), false),
        }
    }
}
