//! Requests over HTTP/1 that some proxy has read in another way than the server behind it, byte by
//! byte, and what is left of each.

/// What the connection does after the case.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum After {
    /// The next request on it is read.
    Open,
    /// It is closed, and nothing more is read.
    Closed,
    /// It is closed while the body is still coming: the request never becomes whole.
    Cut,
}

/// Its name; its bytes; the requests that are left, as line, host and body; the connection after it.
pub(super) type Case = (&'static str, &'static [u8], &'static [Left], After);

/// Method and target, host, body.
pub(super) type Left = (&'static str, &'static str, &'static str);

use After::{Closed, Cut, Open};

const EMPTY: &[Left] = &[("POST /v1/a", "payments", "")];
const BODY: &[Left] = &[("POST /v1/a", "payments", "body")];
const NONE: &[Left] = &[];

/// HTTP-01..04, HTTP-21: where a request ends.
pub(super) const FRAMING: &[Case] = &[
    ("a length", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ncontent-length: 4\r\n\r\nbody", BODY, Open),
    ("chunks", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n", BODY, Open),
    ("neither", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\n\r\n", EMPTY, Open),
    // hyper reads `chunked` before we see the length: one request is left, and the connection ends.
    ("a length before chunks", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", BODY, Closed),
    ("chunks before a length", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n4\r\nbody\r\n0\r\n\r\n", BODY, Closed),
    ("CL.TE", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nG", EMPTY, Closed),
    ("TE.CL", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n4\r\nGET \r\n0\r\n\r\n", &[("POST /v1/a", "payments", "GET ")], Closed),
    ("two codings", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: gzip, chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", NONE, Closed),
    ("chunks twice", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", NONE, Closed),
    ("chunks, then none", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n4\r\nbody\r\n0\r\n\r\n", NONE, Closed),
    ("none, then chunks", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: identity, chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", NONE, Closed),
    ("identity", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: identity\r\ncontent-length: 4\r\n\r\nbody", NONE, Closed),
    ("a list with a hole", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: chunked,\r\n\r\n4\r\nbody\r\n0\r\n\r\n", NONE, Closed),
    ("almost chunked", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: xchunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", NONE, Closed),
    ("a vertical tab", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: \x0bchunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", NONE, Closed),
    ("a space in the name", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding : chunked\r\ncontent-length: 4\r\n\r\nbody", NONE, Closed),
    ("a quoted coding", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: \"chunked\"\r\n\r\n4\r\nbody\r\n0\r\n\r\n", NONE, Closed),
    ("chunks in HTTP/1.0", b"POST /v1/a HTTP/1.0\r\nhost: payments\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", NONE, Closed),
    // Equal ones hyper takes for one before we see them: one request is left, with one of them.
    ("a length twice", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ncontent-length: 4\r\ncontent-length: 4\r\n\r\nbody", BODY, Open),
    ("two lengths", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ncontent-length: 4\r\ncontent-length: 0\r\n\r\nbody", NONE, Closed),
    ("a list of lengths", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ncontent-length: 4, 4\r\n\r\nbody", NONE, Closed),
    ("a sign", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ncontent-length: +4\r\n\r\nbody", NONE, Closed),
    ("less than nothing", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ncontent-length: -4\r\n\r\nbody", NONE, Closed),
    ("another base", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ncontent-length: 0x4\r\n\r\nbody", NONE, Closed),
    ("no figure", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ncontent-length: \r\n\r\nbody", NONE, Closed),
    ("too large a figure", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ncontent-length: 18446744073709551620\r\n\r\nbody", NONE, Closed),
    ("an extension of a chunk", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: chunked\r\n\r\n4;a=\"b\"\r\nbody\r\n0\r\n\r\n", BODY, Open),
    ("a line feed in an extension", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: chunked\r\n\r\n4;a\nb\r\nbody\r\n0\r\n\r\n", NONE, Cut),
    ("a size that ends in a line feed", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: chunked\r\n\r\n4\nbody\r\n0\r\n\r\n", NONE, Cut),
    ("a chunk without an end", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbodyXX0\r\n\r\n", NONE, Cut),
    ("a size below nothing", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: chunked\r\n\r\n-4\r\nbody\r\n0\r\n\r\n", NONE, Cut),
    ("a size above all", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: chunked\r\n\r\n10000000000000004\r\nbody\r\n0\r\n\r\n", NONE, Cut),
    ("a size of another base", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: chunked\r\n\r\n0x4\r\nbody\r\n0\r\n\r\n", NONE, Cut),
    ("a GET with a body", b"GET /v1/a HTTP/1.1\r\nhost: payments\r\ncontent-length: 4\r\n\r\nbody", &[("GET /v1/a", "payments", "body")], Open),
    ("a GET with chunks", b"GET /v1/a HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", &[("GET /v1/a", "payments", "body")], Open),
    ("line feeds alone", b"POST /v1/a HTTP/1.1\nhost: payments\ncontent-length: 4\n\nbody", BODY, Open),
    ("empty lines first", b"\r\n\r\nPOST /v1/a HTTP/1.1\r\nhost: payments\r\ncontent-length: 4\r\n\r\nbody", BODY, Open),
];

/// HTTP-04, HTTP-13: what is a header.
pub(super) const FIELDS: &[Case] = &[
    ("a bare carriage return", b"POST /v1/a HTTP/1.1\r\nhost: payments\rx: y\r\n\r\n", NONE, Closed),
    ("a zero byte", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\nx: a\0b\r\n\r\n", NONE, Closed),
    ("a folded line", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\nx: a\r\n b\r\n\r\n", NONE, Closed),
    ("a folded first line", b"POST /v1/a HTTP/1.1\r\n host: payments\r\n\r\n", NONE, Closed),
    ("a space before the colon", b"POST /v1/a HTTP/1.1\r\nhost : payments\r\n\r\n", NONE, Closed),
    ("a line without a colon", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\nx\r\n\r\n", NONE, Closed),
    ("a line without a name", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\n: x\r\n\r\n", NONE, Closed),
    ("a nomination of the host", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\nconnection: host, x-spiffe-id\r\n\r\n", EMPTY, Open),
    ("a nomination of the length", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\nconnection: content-length\r\ncontent-length: 4\r\n\r\nbody", BODY, Open),
    ("a nomination beyond ASCII", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\nconnection: \xe9\r\n\r\n", NONE, Closed),
    ("a nomination of two words", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\nconnection: x y\r\n\r\n", NONE, Closed),
    ("the end of the connection", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n", EMPTY, Closed),
    ("an upgrade", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", EMPTY, Closed),
    ("an upgrade to HTTP/2", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n", EMPTY, Closed),
    ("an expectation", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\nbody", BODY, Open),
    ("another expectation", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\nexpect: 102-processing\r\n\r\n", NONE, Closed),
    ("HTTP/1.0", b"POST /v1/a HTTP/1.0\r\nhost: payments\r\n\r\n", EMPTY, Closed),
];

/// HTTP-05..07, HTTP-11, HTTP-14, HTTP-17, HTTP-18: what is asked, and of whom.
pub(super) const TARGETS: &[Case] = &[
    ("no host", b"POST /v1/a HTTP/1.1\r\n\r\n", NONE, Closed),
    ("no host in HTTP/1.0", b"POST /v1/a HTTP/1.0\r\n\r\n", NONE, Closed),
    ("two hosts", b"POST /v1/a HTTP/1.1\r\nhost: payments\r\nhost: ledger\r\n\r\n", NONE, Closed),
    (
        "the host twice",
        b"POST /v1/a HTTP/1.1\r\nhost: payments\r\nhost: payments\r\n\r\n",
        NONE,
        Closed,
    ),
    ("an empty host", b"POST /v1/a HTTP/1.1\r\nhost:\r\n\r\n", NONE, Closed),
    ("userinfo", b"POST /v1/a HTTP/1.1\r\nhost: a@payments\r\n\r\n", NONE, Closed),
    ("a path in the host", b"POST /v1/a HTTP/1.1\r\nhost: payments/x\r\n\r\n", NONE, Closed),
    (
        "another spelling of the host",
        b"POST /v1/a HTTP/1.1\r\nhost: PAYMENTS.:80\r\n\r\n",
        EMPTY,
        Open,
    ),
    (
        "another port",
        b"POST /v1/a HTTP/1.1\r\nhost: payments:8443\r\n\r\n",
        &[("POST /v1/a", "payments:8443", "")],
        Open,
    ),
    (
        "an address",
        b"POST /v1/a HTTP/1.1\r\nhost: [0:0::1]:80\r\n\r\n",
        &[("POST /v1/a", "[::1]", "")],
        Open,
    ),
    (
        "an absolute target",
        b"POST http://payments/v1/a HTTP/1.1\r\nhost: payments\r\n\r\n",
        EMPTY,
        Open,
    ),
    (
        "an absolute target in capitals",
        b"POST HTTP://Payments:80/v1/a HTTP/1.1\r\nhost: payments\r\n\r\n",
        EMPTY,
        Open,
    ),
    (
        "an absolute target elsewhere",
        b"POST http://ledger/v1/a HTTP/1.1\r\nhost: payments\r\n\r\n",
        NONE,
        Closed,
    ),
    ("an absolute target, no host", b"POST http://payments/v1/a HTTP/1.1\r\n\r\n", NONE, Closed),
    (
        "another scheme",
        b"POST gopher://payments/v1/a HTTP/1.1\r\nhost: payments\r\n\r\n",
        NONE,
        Closed,
    ),
    ("a fragment", b"POST /v1/a#/../b?c HTTP/1.1\r\nhost: payments\r\n\r\n", EMPTY, Open),
    (
        "a fragment and an absolute target",
        b"POST http://payments/v1/a#@ledger/ HTTP/1.1\r\nhost: payments\r\n\r\n",
        EMPTY,
        Open,
    ),
    ("the whole server", b"OPTIONS * HTTP/1.1\r\nhost: payments\r\n\r\n", NONE, Closed),
    ("a star", b"POST * HTTP/1.1\r\nhost: payments\r\n\r\n", NONE, Closed),
    ("an authority", b"POST payments:80 HTTP/1.1\r\nhost: payments\r\n\r\n", NONE, Closed),
    (
        "a tunnel",
        b"CONNECT 127.0.0.1:15020 HTTP/1.1\r\nhost: 127.0.0.1:15020\r\n\r\n",
        NONE,
        Closed,
    ),
    (
        "a tunnel to the metadata",
        b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nhost: payments\r\n\r\n",
        NONE,
        Closed,
    ),
    ("an echo", b"TRACE /v1/a HTTP/1.1\r\nhost: payments\r\n\r\n", NONE, Closed),
    ("a method in lower case", b"post /v1/a HTTP/1.1\r\nhost: payments\r\n\r\n", NONE, Closed),
    ("a method of other letters", b"PO!ST /v1/a HTTP/1.1\r\nhost: payments\r\n\r\n", NONE, Closed),
    ("two spaces", b"POST  /v1/a HTTP/1.1\r\nhost: payments\r\n\r\n", NONE, Closed),
    ("a space in the target", b"POST /v1/a b HTTP/1.1\r\nhost: payments\r\n\r\n", NONE, Closed),
    ("a tab for a space", b"POST\t/v1/a HTTP/1.1\r\nhost: payments\r\n\r\n", NONE, Closed),
    ("HTTP/1.2", b"POST /v1/a HTTP/1.2\r\nhost: payments\r\n\r\n", NONE, Closed),
    ("HTTP/2.0", b"POST /v1/a HTTP/2.0\r\nhost: payments\r\n\r\n", NONE, Closed),
    ("no version", b"POST /v1/a\r\nhost: payments\r\n\r\n", NONE, Closed),
    ("the beginning of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NONE, Closed),
];
