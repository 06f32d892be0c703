use cellwall_policy::IdentityHeader;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    super::Introduced, from_peer, from_workload, grpc_status, scrub_trailers, to_callee, to_peer,
};

const CALLER: &str = "spiffe://pay.example/prod/checkout";
const ELEMENT: &str =
    "By=spiffe://pay.example/prod/payments;Hash=00ff;URI=spiffe://pay.example/prod/checkout";

const TOLD: Introduced<'_> = Introduced {
    id: CALLER,
    certificate_hash: "00ff",
    callee: "spiffe://pay.example/prod/payments",
    headers: &IdentityHeader::USUAL,
};

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    map
}

#[test]
fn the_caller_is_whoever_tls_proved_however_the_header_is_spelled() {
    // HTTP-16: every spelling that some server folds into ours
    let spellings = [
        "x-spiffe-id",
        "X-Spiffe-Id",
        "X-SPIFFE-ID",
        "x_spiffe_id",
        "x-spiffe_id",
        "x_spiffe-id",
        "X_SPIFFE_ID",
        "x.spiffe.id",
        "x-spiffe.id",
        "x!spiffe!id",
        "x-forwarded-client-cert",
        "x_forwarded_client_cert",
    ];
    for spelling in spellings {
        let mut sent =
            headers(&[(spelling, "spiffe://pay.example/prod/payments"), ("accept", "*")]);
        to_callee(&mut sent, &TOLD).unwrap();
        assert_eq!(sent, headers(&[("accept", "*"), ("x-spiffe-id", CALLER)]), "{spelling}");
    }
}

#[test]
fn a_workload_is_told_who_calls_in_the_headers_that_it_reads_and_in_no_other() {
    // HTTP-16; Envoy, x-forwarded-client-cert: `By`, `Hash`, `URI` of one element
    let spoofed = [("x-spiffe-id", "a"), ("x-forwarded-client-cert", "By=a;Hash=b;URI=c")];
    let usual = ("x-spiffe-id", CALLER);
    let element = ("x-forwarded-client-cert", ELEMENT);
    let both = IdentityHeader::ALL;
    for (read, told) in
        [(&both[..1], &[usual][..]), (&both[1..], &[element]), (&both, &[usual, element])]
    {
        for sent in [&spoofed[..], &[]] {
            let mut sent = headers(sent);
            to_callee(&mut sent, &Introduced { headers: read, ..TOLD }).unwrap();
            assert_eq!(sent, headers(told), "{read:?}");
        }
    }
}

#[test]
fn several_copies_of_the_header_become_ours_alone() {
    let mut sent = headers(&[("x-spiffe-id", "a"), ("x-spiffe-id", "b"), ("x_spiffe_id", "c")]);
    to_callee(&mut sent, &TOLD).unwrap();
    assert_eq!(sent, headers(&[("x-spiffe-id", CALLER)]));
}

#[test]
fn a_connection_token_cannot_name_our_header_away() {
    // HTTP-16: nominated headers go first, ours comes after
    let mut sent = headers(&[("connection", "x-spiffe-id, x-secret"), ("x-secret", "1")]);
    to_callee(&mut sent, &TOLD).unwrap();
    assert_eq!(sent, headers(&[("x-spiffe-id", CALLER)]));
}

#[test]
fn headers_of_one_hop_stay_on_it() {
    // HTTP-13, RFC 9110 §7.6.1
    let hop = [
        ("connection", "close"),
        ("http2-settings", "AAMAAABk"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authenticate", "Basic"),
        ("proxy-authorization", "Basic x"),
        ("te", "gzip"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("upgrade", "trailers"),
    ];
    for (name, value) in hop {
        let mut request = headers(&[(name, value), ("accept", "*")]);
        to_peer(&mut request);
        assert_eq!(request, headers(&[("accept", "*")]), "request {name}");
        for fit in [from_workload, from_peer] {
            let mut response = headers(&[(name, value), ("server", "x")]);
            fit(&mut response);
            assert_eq!(response, headers(&[("server", "x")]), "response {name}");
        }
    }
}

#[test]
fn only_sidecars_speak_by_our_names() {
    // HTTP-16: neither a caller nor a workload; the callee's own sidecar does
    let said = [("cellwall-decision", "d_1"), ("cellwall_outcome", "not-done"), ("cellwalls", "1")];
    for fit in [to_peer, from_workload] {
        let mut read = headers(&said);
        fit(&mut read);
        assert_eq!(read, headers(&[("cellwalls", "1")]));
    }
    let mut read = headers(&said);
    from_peer(&mut read);
    assert_eq!(read, headers(&said));
}

#[test]
fn te_trailers_passes_because_grpc_insists_on_it() {
    let mut request = headers(&[("te", "trailers")]);
    to_peer(&mut request);
    assert_eq!(request, headers(&[("te", "trailers")]));
}

#[test]
fn trace_context_passes_untouched() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut request = headers(&[("traceparent", parent), ("tracestate", "a=b")]);
    to_peer(&mut request);
    assert_eq!(request, headers(&[("traceparent", parent), ("tracestate", "a=b")]));
}

#[test]
fn trailers_carry_neither_identity_nor_framing() {
    // HTTP-16, HTTP-19
    let mut trailers = headers(&[
        ("x-spiffe-id", "spiffe://pay.example/prod/payments"),
        ("x_spiffe_id", "a"),
        ("authorization", "Bearer t"),
        ("content-length", "3"),
        ("cookie", "a=b"),
        ("host", "a"),
        ("transfer-encoding", "chunked"),
        ("cellwall-outcome", "not-done"),
        ("grpc-status", "0"),
    ]);
    scrub_trailers(&mut trailers);
    assert_eq!(trailers, headers(&[("grpc-status", "0")]));
}

#[test]
fn a_grpc_status_is_a_number() {
    assert_eq!(grpc_status(&headers(&[("grpc-status", "7")])), Some(7));
    assert_eq!(grpc_status(&headers(&[("grpc-status", "seven")])), None);
    assert_eq!(grpc_status(&headers(&[])), None);
}
