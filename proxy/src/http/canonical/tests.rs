use cellwall_policy::{Call, Protocol};
use http::{Request, Response, Version, header};

use super::{Ambiguous, Canonical, check_answer};

/// A request's head as hyper hands it over.
fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn read(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<String, Ambiguous> {
    let mut request = request(method, target, headers);
    let canonical = Canonical::read(&request)?;
    canonical.apply(&mut request, Version::HTTP_11).unwrap();
    let host = request.headers()[header::HOST].to_str().unwrap();
    Ok(format!("{} {} {host}", request.method(), request.uri()))
}

const HOST: (&str, &str) = ("host", "payments");

#[test]
fn what_is_sent_on_is_the_canonical_reading() {
    let table = [
        ("/v1/payments", "GET /v1/payments payments"),
        ("/v1/payments?a=b%2f", "GET /v1/payments?a=b%2f payments"),
        ("/v1/%70ayments", "GET /v1/payments payments"),
        ("/v1/caf%c3%a9", "GET /v1/caf%C3%A9 payments"),
        ("http://payments/v1", "GET /v1 payments"),
    ];
    for (target, expected) in table {
        assert_eq!(read("GET", target, &[HOST]), Ok(expected.to_owned()), "{target}");
    }
}

#[test]
fn a_path_with_two_readings_is_refused() {
    // HTTP-08, HTTP-09
    for target in ["//a", "/a/../b", "/a/./b", "/a%2Fb", "/%2e%2e/b", "/a;x=1", "/a%00", "/a%zz"] {
        assert_eq!(read("GET", target, &[HOST]), Err(Ambiguous::Path), "{target}");
    }
}

#[test]
fn one_authority_and_no_userinfo() {
    // HTTP-05, HTTP-06, HTTP-11, HTTP-17
    let refused = [
        ("/a", &[][..]),
        ("/a", &[HOST, HOST]),
        ("/a", &[HOST, ("host", "ledger")]),
        ("http://ledger/a", &[HOST]),
        ("/a", &[("host", "u@payments")]),
        ("/a", &[("host", "")]),
    ];
    for (target, headers) in refused {
        assert_eq!(read("GET", target, headers), Err(Ambiguous::Request), "{target} {headers:?}");
    }
}

#[test]
fn one_length_said_once() {
    // HTTP-01, HTTP-02, HTTP-03
    let refused: [&[(&str, &str)]; 5] = [
        &[HOST, ("content-length", "1"), ("transfer-encoding", "chunked")],
        &[HOST, ("content-length", "1"), ("content-length", "1")],
        &[HOST, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        &[HOST, ("transfer-encoding", "gzip, chunked")],
        &[HOST, ("transfer-encoding", "identity")],
    ];
    for headers in refused {
        assert_eq!(read("POST", "/a", headers), Err(Ambiguous::Request), "{headers:?}");
    }
    let mut old = request("POST", "/a", &[HOST, ("transfer-encoding", "chunked")]);
    *old.version_mut() = Version::HTTP_10;
    assert_eq!(Canonical::read(&old).err(), Some(Ambiguous::Request));
    assert!(read("POST", "/a", &[HOST, ("transfer-encoding", "Chunked")]).is_ok());
}

#[test]
fn no_tunnels_and_no_echo() {
    // HTTP-14, HTTP-18
    for method in ["CONNECT", "TRACE", "AVERYLONGMETHODNAMEOFTHIRTYTHREE1"] {
        assert_eq!(read(method, "/a", &[HOST]), Err(Ambiguous::Request), "{method}");
    }
}

#[test]
fn a_grpc_call_is_a_post_to_a_service_and_a_method() {
    let call = |method, path| {
        let canonical = Canonical::read(&request(method, path, &[HOST])).unwrap();
        match canonical.call(Protocol::Grpc) {
            Some(Call::Grpc { service, method }) => Some(format!("{service} {method}")),
            Some(Call::Http { .. } | Call::Tcp { .. }) | None => None,
        }
    };
    assert_eq!(call("POST", "/a.v1.S/M").as_deref(), Some("a.v1.S M"));
    assert_eq!(call("GET", "/a.v1.S/M"), None);
    assert_eq!(call("POST", "/a.v1.S"), None);
    assert_eq!(call("POST", "/a.v1.S/M/N"), None);
}

#[test]
fn bytes_are_never_read_as_a_request() {
    // AZ-03
    let canonical = Canonical::read(&request("GET", "/a", &[HOST])).unwrap();
    assert!(canonical.call(Protocol::Tcp).is_none());
}

#[test]
fn an_answer_has_one_end_whoever_reads_it() {
    // HTTP-23: status, version, headers, and whether it is handed on
    let (old, new) = (Version::HTTP_10, Version::HTTP_11);
    let table = [
        (200, new, &[][..], true),
        (200, new, &[("content-length", "2")], true),
        (200, Version::HTTP_2, &[("content-length", "2")], true),
        (200, new, &[("transfer-encoding", "Chunked")], true),
        (204, new, &[("content-length", "0")], true),
        (304, new, &[("content-length", "2")], true),
        (304, new, &[("transfer-encoding", "chunked")], true), // RFC 9112 §6.1
        (200, new, &[("content-length", "2"), ("transfer-encoding", "chunked")], false),
        (200, new, &[("content-length", "2"), ("content-length", "2")], false),
        (200, new, &[("content-length", "2, 2")], false),
        (200, new, &[("transfer-encoding", "gzip")], false),
        (200, old, &[("transfer-encoding", "chunked")], false),
        (204, new, &[("transfer-encoding", "chunked")], false),
        (204, new, &[("content-length", "2")], false),
        (101, new, &[], false),
        (200, new, &[("connection", "x back")], false),
    ];
    for (status, version, headers, is_whole) in table {
        let mut answer = Response::builder().status(status).version(version);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        let checked = check_answer(&answer.body(()).unwrap());
        assert_eq!(checked.is_ok(), is_whole, "{status} {version:?} {headers:?}");
    }
}
