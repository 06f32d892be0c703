use cellwall_policy::{Call, Protocol, Tolerated};
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
    let canonical = Canonical::read(&request, Tolerated::Nothing)?;
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
        ("/v1/payments?", "GET /v1/payments? payments"),
        ("http://payments/v1", "GET /v1 payments"),
        ("http://payments", "GET / payments"),
        ("http://payments?a=b", "GET /?a=b payments"),
        ("http://payments#", "GET / payments"),
        ("http://payments#/v1?a=b", "GET / payments"),
        ("http://payments/#a", "GET / payments"),
        ("/v1/payments#a", "GET /v1/payments payments"),
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
        ("gopher://payments/a", &[HOST]),
        ("http://payments/a", &[]), // over HTTP/1 the header says it
    ];
    for (target, headers) in refused {
        assert_eq!(read("GET", target, headers), Err(Ambiguous::Request), "{target} {headers:?}");
    }
}

#[test]
fn a_host_has_one_spelling() {
    // HTTP-11
    let (name_of_254, label) = (format!("{}a", "abcdefghijk.".repeat(21) + "a"), "a".repeat(253));
    let table = [
        ("payments", Some("payments")),
        ("PAYMENTS.Pay.example.", Some("payments.pay.example")),
        ("payments:80", Some("payments")),
        ("payments.:80", Some("payments")),
        ("payments:080", Some("payments")),
        ("payments:443", Some("payments:443")),
        ("payments:65535", Some("payments:65535")),
        ("pay_ments~1", Some("pay_ments~1")),
        ("10.0.0.1:8443", Some("10.0.0.1:8443")),
        ("xn--pyments-6za", Some("xn--pyments-6za")),
        ("[::1]", Some("[::1]")),
        ("[2001:DB8:0:0::1]:80", Some("[2001:db8::1]")),
        (&label, Some(&label)),
        (&name_of_254, None),
        ("p\u{e9}yments", None),
        ("pay%6dents", None),
        ("pay,ments", None),
        ("pay;ments", None),
        ("payments..", None),
        (".payments", None),
        (".", None),
        (":80", None),
        ("payments:", None),
        ("payments:0", None),
        ("payments:65536", None),
        ("payments:+80", None),
        ("payments:80:80", None),
        ("[::1", None),
        ("::1", None),
        ("[v1.a]", None),
        ("[fe80::1%25eth0]", None),
        ("[127.0.0.1]", None),
        ("u:p@payments", None),
    ];
    for (host, expected) in table {
        let read = read("GET", "/a", &[("host", host)]);
        let expected = expected.map(|host| format!("GET /a {host}")).ok_or(Ambiguous::Request);
        assert_eq!(read, expected, "{host}");
    }
}

#[test]
fn over_http_2_the_target_may_say_the_host_alone() {
    // HTTP-05, HTTP-17
    let over_h2 = |target: &str, headers| {
        let mut request = request("GET", target, headers);
        *request.version_mut() = Version::HTTP_2;
        let canonical = Canonical::read(&request, Tolerated::Nothing)?;
        canonical.apply(&mut request, Version::HTTP_2).unwrap();
        assert!(!request.headers().contains_key(header::HOST));
        Ok(request.uri().to_string())
    };
    assert_eq!(over_h2("https://PAYMENTS.:80/a", &[]), Ok("http://payments/a".to_owned()));
    assert_eq!(
        over_h2("http://payments/a", &[("host", "Payments:80")]),
        Ok("http://payments/a".to_owned())
    );
    assert_eq!(over_h2("http://payments/a", &[("host", "ledger")]), Err(Ambiguous::Request));
    assert_eq!(over_h2("/a", &[]), Err(Ambiguous::Request));
}

#[test]
fn what_a_request_asks_of_one_hop_can_be_read() {
    // HTTP-13
    let refused =
        [("connection", "x y"), ("connection", "\u{e9}"), ("expect", "200-ok"), ("expect", "")];
    for line in refused {
        assert_eq!(read("GET", "/a", &[HOST, line]), Err(Ambiguous::Request), "{line:?}");
    }
    let twice = [HOST, ("expect", "100-continue"), ("expect", "100-continue")];
    assert_eq!(read("GET", "/a", &twice), Err(Ambiguous::Request));
    for line in [("connection", "close,, X-Hop ,"), ("expect", "100-Continue")] {
        assert!(read("GET", "/a", &[HOST, line]).is_ok(), "{line:?}");
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
    assert_eq!(Canonical::read(&old, Tolerated::Nothing).err(), Some(Ambiguous::Request));
    assert!(read("POST", "/a", &[HOST, ("transfer-encoding", "Chunked")]).is_ok());
}

#[test]
fn no_tunnels_no_echo_and_no_method_that_policy_cannot_name() {
    // HTTP-14, HTTP-18
    let long = "A".repeat(33);
    for method in ["CONNECT", "TRACE", "post", "pOsT", "POST~", "POST1", &long] {
        assert_eq!(read(method, "/a", &[HOST]), Err(Ambiguous::Request), "{method}");
    }
}

#[test]
fn a_grpc_call_is_a_post_to_a_service_and_a_method() {
    let call = |method, path| {
        let canonical =
            Canonical::read(&request(method, path, &[HOST]), Tolerated::Nothing).unwrap();
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
    let canonical = Canonical::read(&request("GET", "/a", &[HOST]), Tolerated::Nothing).unwrap();
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
        (200, new, &[("content-length", "+2")], false),
        (200, new, &[("transfer-encoding", "gzip")], false),
        (200, old, &[("transfer-encoding", "chunked")], false),
        (204, new, &[("transfer-encoding", "chunked")], false),
        (204, new, &[("content-length", "2")], false),
        (100, new, &[], false),
        (101, new, &[], false),
        (199, new, &[], false),
        (101, new, &[("connection", "upgrade"), ("upgrade", "websocket")], false), // unasked
        (200, new, &[("connection", "x back")], false),
    ];
    for (status, version, headers, is_whole) in table {
        let mut answer = Response::builder().status(status).version(version);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        let checked = check_answer(&answer.body(()).unwrap(), None);
        assert_eq!(checked.is_ok(), is_whole, "{status} {version:?} {headers:?}");
    }
}
