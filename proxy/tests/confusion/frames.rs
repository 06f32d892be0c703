//! Requests over HTTP/2 that no right client sends, and what is left of each. `/v1/a` stands for the
//! path of a call that the policy allows.

/// Its name; pseudo-header fields; other fields; the host of the request that is left, if any.
pub(super) type Case =
    (&'static str, &'static [(&'static str, &'static str)], &'static [Field], Option<&'static str>);

/// Name and value.
pub(super) type Field = (&'static [u8], &'static [u8]);

const POST: (&str, &str) = (":method", "POST");
const HTTP: (&str, &str) = (":scheme", "http");
const HOST: (&str, &str) = (":authority", "payments");
const PATH: (&str, &str) = (":path", "/v1/a");

/// What is usual: what follows it in a case is not.
const USUAL: &[(&str, &str)] = &[POST, HTTP, HOST, PATH];

const LEFT: Option<&str> = Some("payments");

/// HTTP-05, HTTP-07, HTTP-08, HTTP-11, HTTP-14, HTTP-17, HTTP-18: what is asked, and of whom.
pub(super) const TARGETS: &[Case] = &[
    ("usual", USUAL, &[], LEFT),
    ("no authority", &[POST, HTTP, PATH], &[], None),
    ("host for authority", &[POST, HTTP, PATH], &[(b"host", b"payments")], LEFT),
    ("host and authority", USUAL, &[(b"host", b"Payments:80")], LEFT),
    ("another host", USUAL, &[(b"host", b"ledger")], None),
    ("two hosts", &[POST, HTTP, PATH], &[(b"host", b"payments"), (b"host", b"ledger")], None),
    ("the host twice", USUAL, &[(b"host", b"payments"), (b"host", b"payments")], None),
    ("an empty authority", &[POST, HTTP, (":authority", ""), PATH], &[], None),
    ("an empty host", &[POST, HTTP, PATH], &[(b"host", b"")], None),
    ("userinfo", &[POST, HTTP, (":authority", "a:b@payments"), PATH], &[], None),
    ("another spelling", &[POST, HTTP, (":authority", "PAYMENTS.:80"), PATH], &[], LEFT),
    ("another port", &[POST, HTTP, (":authority", "payments:81"), PATH], &[], Some("payments:81")),
    ("a port that is none", &[POST, HTTP, (":authority", "payments:x"), PATH], &[], None),
    ("no scheme", &[POST, HOST, PATH], &[], None),
    ("https", &[POST, (":scheme", "https"), HOST, PATH], &[], LEFT),
    ("another scheme", &[POST, (":scheme", "gopher"), HOST, PATH], &[], None),
    ("two schemes", &[POST, HTTP, (":scheme", "https"), HOST, PATH], &[], None),
    ("no method", &[HTTP, HOST, PATH], &[], None),
    ("two methods", &[POST, (":method", "GET"), HTTP, HOST, PATH], &[], None),
    ("a method in lower case", &[(":method", "post"), HTTP, HOST, PATH], &[], None),
    ("an echo", &[(":method", "TRACE"), HTTP, HOST, PATH], &[], None),
    ("a tunnel", &[(":method", "CONNECT"), (":authority", "127.0.0.1:15020")], &[], None),
    ("a tunnel with a path", &[(":method", "CONNECT"), HTTP, HOST, PATH], &[], None),
    (
        "a tunnel for a protocol",
        &[(":method", "CONNECT"), (":protocol", "websocket"), HTTP, HOST, PATH],
        &[],
        None,
    ),
    ("no path", &[POST, HTTP, HOST], &[], None),
    ("an empty path", &[POST, HTTP, HOST, (":path", "")], &[], None),
    ("two paths", &[POST, HTTP, HOST, PATH, (":path", "/v1/b")], &[], None),
    ("a star", &[POST, HTTP, HOST, (":path", "*")], &[], None),
    ("no slash", &[POST, HTTP, HOST, (":path", "v1/a")], &[], None),
    ("a whole target", &[POST, HTTP, HOST, (":path", "http://ledger/v1/a")], &[], None),
    ("a space in the path", &[POST, HTTP, HOST, (":path", "/v1/a HTTP/1.1")], &[], None),
    ("a line in the path", &[POST, HTTP, HOST, (":path", "/v1/a HTTP/1.1\r\nx: y")], &[], None),
    ("dots in the path", &[POST, HTTP, HOST, (":path", "/x/../v1/a")], &[], None),
    ("a fragment", &[POST, HTTP, HOST, (":path", "/v1/a#/../b")], &[], LEFT),
];

/// HTTP-02, HTTP-03, HTTP-13, HTTP-21: what is a field, and where a request ends. The body is `body`.
pub(super) const FIELDS: &[Case] = &[
    ("an unknown pseudo-header", &[POST, HTTP, HOST, PATH, (":x", "y")], &[], None),
    ("a late pseudo-header", &[POST, HTTP, HOST], &[(b"x", b"y"), (b":path", b"/v1/a")], None),
    ("a status", &[POST, HTTP, HOST, PATH, (":status", "200")], &[], None),
    ("a name in capitals", USUAL, &[(b"X-Note", b"y")], None),
    ("a space in a name", USUAL, &[(b"x note", b"y")], None),
    ("a colon in a name", USUAL, &[(b"x:note", b"y")], None),
    ("a line end in a name", USUAL, &[(b"x\r\ny", b"z")], None),
    ("no name", USUAL, &[(b"", b"y")], None),
    ("a line end in a value", USUAL, &[(b"x", b"y\r\nhost: ledger")], None),
    ("a line feed in a value", USUAL, &[(b"x", b"y\nhost: ledger")], None),
    ("a zero byte in a value", USUAL, &[(b"x", b"y\0z")], None),
    ("a connection", USUAL, &[(b"connection", b"close")], None),
    ("keep-alive", USUAL, &[(b"keep-alive", b"timeout=5")], None),
    ("a proxy's connection", USUAL, &[(b"proxy-connection", b"close")], None),
    ("an upgrade", USUAL, &[(b"upgrade", b"websocket")], None),
    ("chunks", USUAL, &[(b"transfer-encoding", b"chunked")], None),
    ("another TE", USUAL, &[(b"te", b"gzip")], None),
    ("TE of trailers", USUAL, &[(b"te", b"trailers")], LEFT),
    ("the right length", USUAL, &[(b"content-length", b"4")], LEFT),
    ("a longer length", USUAL, &[(b"content-length", b"5")], None),
    ("a shorter length", USUAL, &[(b"content-length", b"3")], None),
    ("a length twice", USUAL, &[(b"content-length", b"4"), (b"content-length", b"4")], None),
    ("two lengths", USUAL, &[(b"content-length", b"4"), (b"content-length", b"0")], None),
    ("a list of lengths", USUAL, &[(b"content-length", b"4, 4")], None),
    ("a sign", USUAL, &[(b"content-length", b"+4")], None),
    ("an expectation", USUAL, &[(b"expect", b"100-continue")], LEFT),
    ("another expectation", USUAL, &[(b"expect", b"200-ok")], None),
    ("a proxy's password", USUAL, &[(b"proxy-authorization", b"Basic x")], LEFT),
    ("two cookies", USUAL, &[(b"cookie", b"a=b"), (b"cookie", b"c=d")], LEFT),
];
