//! What must hold of any request's head that has one reading, by rules written down a second time: the
//! body of a fuzz target, which the tests run on what the fuzzer found.
#![expect(clippy::panic, reason = "how a fuzz target says that it found something")]

use cellwall_policy::{Call, IdentityHeader, Protocol, Tolerated};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version, header};

use super::{
    body::Body,
    canonical::{Canonical, Upgrade},
    exchange,
    introduction::Introduced,
};

/// Who calls, and how the workload is told.
const CALLER: Introduced<'_> = Introduced {
    id: "spiffe://pay.example/prod/checkout",
    certificate_hash: "00ff",
    callee: "spiffe://pay.example/prod/payments",
    headers: &IdentityHeader::ALL,
};

/// What it reads, each once.
const TOLD: [(&str, &str); 2] = [
    (
        "x-forwarded-client-cert",
        "By=spiffe://pay.example/prod/payments;Hash=00ff;URI=spiffe://pay.example/prod/checkout",
    ),
    ("x-spiffe-id", "spiffe://pay.example/prod/checkout"),
];

/// Reads bytes as a head: the version, method and target, then a line for each header.
pub(crate) fn request_head(data: &[u8]) {
    let Some(request) = head(data) else { return };
    for tolerated in [Tolerated::Nothing, Tolerated::EncodedSlash] {
        for is_granted in [false, true] {
            let Ok(canonical) = Canonical::read(&request, tolerated) else { break };
            check_sent(&request, &canonical.granted(|_| is_granted), tolerated);
        }
    }
}

/// Of a request that may go on in what it asks for, if the reading still has that, for a callee that
/// tolerates this.
fn check_sent(request: &Request<Body>, canonical: &Canonical, tolerated: Tolerated) {
    let query = request.uri().query().map(ToOwned::to_owned);
    let asked = canonical.upgrade().map(Upgrade::protocol);
    let (http1, http2) = (Version::HTTP_11, Version::HTTP_2);
    for (protocol, version) in
        [(Protocol::Http, http1), (Protocol::Http, http2), (Protocol::Grpc, http2)]
    {
        // The path of a gRPC call is read without it.
        if protocol == Protocol::Grpc && tolerated != Tolerated::Nothing {
            continue;
        }
        let Some(call) = canonical.call(protocol) else { continue };
        if asked.is_some() && version == http2 {
            continue; // a workload that speaks it is asked for nothing
        }
        let judged = match call {
            Call::Http { path, .. } => path.as_str().to_owned(),
            Call::Grpc { service, method } => format!("/{service}/{method}"),
            Call::Tcp { .. } => panic!("bytes were read as a request"),
        };
        match tolerated {
            Tolerated::Nothing => check_path(&judged),
            Tolerated::EncodedSlash => {
                assert!(!judged.ends_with("%2F"), "{judged:?}");
                check_path(&judged.replace("%2F", "/"));
            }
        }
        let mut sent = copied(request);
        if exchange::to_callee(&mut sent, (version, canonical), &CALLER).is_err() {
            panic!("what was judged cannot be sent: {request:?}");
        }
        check_target(&sent, &judged, query.as_deref());
        check_headers(sent.headers(), &TOLD, asked);
        check_again(&sent, canonical, tolerated);
    }
    let mut sent = copied(request);
    if exchange::to_peer(&mut sent, canonical).is_ok() {
        check_headers(sent.headers(), &[], asked);
        check_again(&sent, canonical, tolerated);
    }
}

fn head(data: &[u8]) -> Option<Request<Body>> {
    let mut lines = data.split(|byte| *byte == b'\n');
    let version = match lines.next()? {
        b"0" => Version::HTTP_10,
        b"1" => Version::HTTP_11,
        _ => Version::HTTP_2,
    };
    let builder = Request::builder().version(version).method(lines.next()?).uri(lines.next()?);
    let mut request = builder.body(Body::ours("")).ok()?;
    for line in lines {
        let colon = line.iter().skip(1).position(|byte| *byte == b':')? + 1;
        let (name, value) = line.split_at_checked(colon)?;
        let name = HeaderName::from_bytes(name).ok()?;
        let value = HeaderValue::from_bytes(value.get(1..)?.trim_ascii()).ok()?;
        request.headers_mut().try_append(name, value).ok()?;
    }
    Some(request)
}

fn copied(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(Body::ours(""));
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy
}

/// HTTP-08, HTTP-09: no server is known to read it differently.
fn check_path(path: &str) {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@/%".contains(byte);
    assert!(path.bytes().all(|byte| allowed(&byte)), "{path:?} has a byte of two meanings");
    let segments = path.strip_prefix('/').unwrap_or_else(|| panic!("{path:?} is not absolute"));
    assert!(!path.contains("//"), "{path:?} has an empty segment");
    assert!(!segments.split('/').any(|one| one == "." || one == ".."), "{path:?} climbs");
    for escape in path.split('%').skip(1) {
        let digits = escape.get(..2).unwrap_or_else(|| panic!("{path:?} breaks off"));
        let byte = u8::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{path:?}: {digits}"));
        assert_eq!(format!("{byte:02X}"), digits, "{path:?}");
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        assert!(!plain && !byte.is_ascii_control() && !b"/\\%;".contains(&byte), "{path:?}");
    }
}

/// HTTP-10, HTTP-11: byte for byte what was judged, and the query as it came.
fn check_target(sent: &Request<Body>, judged: &str, query: Option<&str>) {
    assert_eq!(sent.uri().path(), judged);
    assert_eq!(sent.uri().query(), query);
    let hosts: Vec<_> = sent.headers().get_all(header::HOST).iter().collect();
    let places = hosts.len() + usize::from(sent.uri().authority().is_some());
    assert_eq!(places, 1, "one host, in one place: {sent:?}");
}

/// HTTP-12, HTTP-13, HTTP-16: nothing of one hop but what is granted, one caller, no words of a
/// sidecar's.
fn check_headers(headers: &HeaderMap, told: &[(&str, &str)], asked: Option<&str>) {
    let mut callers = Vec::new();
    for (name, value) in headers {
        let letters = name.as_str().bytes().filter(u8::is_ascii_alphanumeric);
        let letters: String = letters.map(char::from).collect();
        assert!(!name.as_str().starts_with("cellwall-"), "{name}");
        if letters == "xspiffeid" || letters == "xforwardedclientcert" {
            callers.push((name.as_str(), value.as_bytes()));
        }
        let is_asked = asked.is_some_and(|protocol| {
            (name == header::CONNECTION && value == "upgrade")
                || (name == header::UPGRADE && value == protocol)
        });
        let of_hop = ["connection", "keep-alive", "proxy-connection", "upgrade", "http2-settings"];
        assert!(is_asked || !of_hop.contains(&name.as_str()), "{name}: {value:?}");
        assert!(name != header::TE || value == "trailers", "{name}: {value:?}");
    }
    callers.sort_unstable();
    let told: Vec<_> = told.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    assert_eq!(callers, told);
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    let codings = headers.get_all(header::TRANSFER_ENCODING).iter().count();
    assert!(lengths <= 1 && codings == 0, "{headers:?}");
}

/// Who reads it after us reads the same.
fn check_again(sent: &Request<Body>, canonical: &Canonical, tolerated: Tolerated) {
    let Ok(again) = Canonical::read(sent, tolerated) else {
        panic!("not read a second time: {sent:?}")
    };
    assert_eq!(format!("{again:?}"), format!("{canonical:?}"));
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    #[test]
    fn the_corpus_of_request_heads_has_one_reading_or_none() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/request_head");
        let mut inputs = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let input = fs::read(&path).unwrap();
            let run = std::panic::catch_unwind(|| super::request_head(&input));
            assert!(run.is_ok(), "{}", path.display());
            inputs += 1;
        }
        println!("evidence: {{\"target\": \"request_head\", \"inputs\": {inputs}}}");
        assert!(inputs > 0);
    }
}
