//! Requests that ask to go on in another protocol (RFC 9110 §7.8): a call of its own each.
//!
//! Where a call names its methods, such a request is `GET+websocket`: no method on the wire has a
//! `+`, so that it is never taken for one.

use crate::is_http_method;

/// The longest name of a protocol.
const MAX_PROTOCOL_BYTES: usize = 32;

/// What stands between a method and the protocol.
const MARK: char = '+';

/// How the names of protocols begin that carry calls or connections of their own: behind one of
/// these would be calls that nobody judges (HTTP-13, HTTP-15), or by `connect-udp` (RFC 9298 §3.2) and its
/// kin a proxy to anywhere, which CONNECT is refused for (HTTP-14).
const READ: [&str; 9] = ["http", "h2", "h3", "spdy", "quic", "tls", "ssl", "dtls", "connect"];

/// Whether a request may ask for this protocol, in lower case. One that carries calls
/// or connections of its own is none.
pub fn is_upgrade(protocol: &str) -> bool {
    let legal =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    protocol.len() <= MAX_PROTOCOL_BYTES
        && protocol.starts_with(|first: char| first.is_ascii_lowercase())
        && protocol.bytes().all(legal)
        && !READ.iter().any(|own| protocol.starts_with(own))
}

/// How a call names a request that asks to go on in `protocol`.
pub fn upgrade_to(protocol: &str) -> String {
    format!("GET{MARK}{protocol}")
}

/// Whether `text` is what a call may name as a method: an HTTP method, or a request that asks to go
/// on in another protocol.
pub fn is_call_method(text: &str) -> bool {
    is_http_method(text) || upgrade_of(text).is_some()
}

/// The method on the wire: of `GET+websocket`, `GET`.
pub fn wire_method(method: &str) -> &str {
    upgrade_of(method).map_or(method, |_| "GET")
}

/// The protocol that a request asks for, if it asks for one.
pub fn upgrade_of(method: &str) -> Option<&str> {
    let protocol = method.strip_prefix("GET")?.strip_prefix(MARK)?;
    is_upgrade(protocol).then_some(protocol)
}

#[cfg(test)]
mod tests {
    use super::{is_call_method, is_upgrade, upgrade_to, wire_method};

    #[test]
    fn nothing_that_the_proxy_would_have_to_judge_is_an_upgrade() {
        for protocol in ["websocket", "x-feed.v2", "chat_3"] {
            assert!(is_upgrade(protocol), "{protocol}");
        }
        let long = "a".repeat(33);
        for protocol in [
            "",
            "h2",
            "h2c",
            "h3",
            "http",
            "http2",
            "HTTP/2.0",
            "http/2.0",
            "tls",
            "TLS/1.3",
            "ssl",
            "spdy_3",
            "quic",
            "dtls",
            "connect-udp",
            "connect-ip",
            "connect-tcp",
            "WebSocket",
            "a b",
            "a,b",
            "a/1",
            "-a",
            "1a",
            "a+b",
            "ä",
            &long,
        ] {
            assert!(!is_upgrade(protocol), "{protocol}");
        }
    }

    #[test]
    fn a_request_that_asks_for_an_upgrade_is_a_get_on_the_wire() {
        assert_eq!(upgrade_to("websocket"), "GET+websocket");
        for (method, wire, is_legal) in [
            ("GET", "GET", true),
            ("GET+websocket", "GET", true),
            ("GET+h2c", "GET+h2c", false),
            ("GET+", "GET+", false),
            ("POST+websocket", "POST+websocket", false),
        ] {
            assert_eq!((wire_method(method), is_call_method(method)), (wire, is_legal), "{method}");
        }
    }
}
