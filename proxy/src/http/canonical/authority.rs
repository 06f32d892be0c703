//! Who a request says that it is for, in one spelling (HTTP-05, HTTP-06, HTTP-11, HTTP-17).

use std::{cell::RefCell, net::Ipv6Addr};

use http::{HeaderValue, Request, Version, uri::Authority};

use super::framing::{Doubt, Lines};

/// The longest name of the DNS (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;

/// The port that a request without one means: the mesh carries `http`.
const DEFAULT_PORT: u16 = 80;

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// What was read last.
struct Last {
    text: Box<[u8]>,
    host: Host,
}

/// A host, and a port if it is not the default one: lower case, without a trailing dot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Host {
    /// As the target of HTTP/2 says it.
    pub(super) authority: Authority,
    /// As the header of HTTP/1 says it.
    pub(super) value: HeaderValue,
}

impl Host {
    /// The one host of `request`, however often it says it. Over HTTP/1 it has to be in the header
    /// (RFC 9112 §3.2); over HTTP/2 either place will do.
    pub(super) fn of<B>(request: &Request<B>, lines: Lines<'_>) -> Result<Self, Doubt> {
        let said = match lines {
            Lines::None => None,
            Lines::One(line) => Some(Self::read(line.as_bytes())?),
            Lines::More => return Err(Doubt),
        };
        let uri = request.uri();
        let target = uri.authority().map(|one| Self::read(one.as_str().as_bytes())).transpose()?;
        let schemes = [None, Some("http"), Some("https")];
        let needs_line = request.version() != Version::HTTP_2;
        if !schemes.contains(&uri.scheme_str()) {
            return Err(Doubt);
        }
        match (said, target) {
            (Some(said), Some(target)) if said != target => Err(Doubt),
            (Some(said), _) => Ok(said),
            (None, Some(target)) if !needs_line => Ok(target),
            (None, _) => Err(Doubt),
        }
    }

    /// Reads `host[:port]`. Most heads say the same as the last one that this thread read.
    fn read(text: &[u8]) -> Result<Self, Doubt> {
        LAST.with_borrow_mut(|last| {
            if let Some(last) = last
                && *last.text == *text
            {
                return Ok(last.host.clone());
            }
            let host = Self::parse(text)?;
            if text.len() <= MAX_NAME {
                *last = Some(Last { text: text.into(), host: host.clone() });
            }
            Ok(host)
        })
    }

    /// What a name means beyond its letters is not interpreted: neither
    /// escapes nor IDNA, nor addresses in the spellings of `inet_aton`.
    fn parse(text: &[u8]) -> Result<Self, Doubt> {
        let text = std::str::from_utf8(text).map_err(|_| Doubt)?;
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let number = port.map(port_number).transpose()?;
        let mut canonical = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => format!("[{}]", address.parse::<Ipv6Addr>().map_err(|_| Doubt)?),
            None => name(host, text.len())?,
        };
        if let Some(port) = port.filter(|_| number != Some(DEFAULT_PORT)) {
            canonical.push(':');
            canonical.push_str(port.trim_start_matches('0'));
        }
        let value = HeaderValue::from_str(&canonical).map_err(|_| Doubt)?;
        let authority = Authority::try_from(canonical).map_err(|_| Doubt)?;
        Ok(Self { authority, value })
    }
}

/// Labels of letters, digits, `-`, `_` and `~`, joined by dots: less than a URI may have (RFC 3986
/// §3.2.2), and all that names of hosts need. With room for `length` bytes in all.
fn name(host: &str, length: usize) -> Result<String, Doubt> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~');
    // No label is empty: before each dot, and at the end, something else stands.
    let mut last = b'.';
    for byte in host.bytes() {
        if !(is_plain(byte) || byte == b'.' && last != b'.') {
            return Err(Doubt);
        }
        last = byte;
    }
    if last == b'.' || host.len() > MAX_NAME {
        return Err(Doubt);
    }
    let mut name = String::with_capacity(length);
    name.push_str(host);
    name.make_ascii_lowercase();
    Ok(name)
}

/// Digits and nothing else, from 1 to 65535.
fn port_number(text: &str) -> Result<u16, Doubt> {
    let is_figure = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| *port > 0 && is_figure);
    port.ok_or(Doubt)
}
