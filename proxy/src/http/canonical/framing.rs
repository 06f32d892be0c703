//! Where a message ends, and which of its headers are for one hop: both must be said in one way.

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};

use super::Ambiguous;

/// There is more than one reading, or none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Doubt;

impl From<Doubt> for Ambiguous {
    fn from(_: Doubt) -> Self {
        Self::Request
    }
}

/// The fields that say how a head is read, found in one look over its names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields<'a> {
    length: Lines<'a>,
    coding: Lines<'a>,
    expected: Lines<'a>,
    pub(super) connection: Lines<'a>,
    pub(super) host: Lines<'a>,
    pub(super) upgrade: Lines<'a>,
}

/// How often a field is there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Lines<'a> {
    #[default]
    None,
    One(&'a HeaderValue),
    More,
}

impl<'a> Fields<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            let lines = match name.as_str() {
                "content-length" => &mut fields.length,
                "transfer-encoding" => &mut fields.coding,
                "expect" => &mut fields.expected,
                "connection" => &mut fields.connection,
                "host" => &mut fields.host,
                "upgrade" => &mut fields.upgrade,
                _ => continue,
            };
            *lines = match lines {
                Lines::None => Lines::One(value),
                Lines::One(_) | Lines::More => Lines::More,
            };
        }
        fields
    }
}

/// How long a message says that its body is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Length {
    Known(u64),
    Chunked,
    Unsaid,
}

/// One length, said once, in one way (HTTP-01..03, RFC 9112 §6.3).
pub(super) fn length(version: Version, fields: &Fields<'_>) -> Result<Length, Doubt> {
    match (fields.length, fields.coding) {
        (Lines::None, Lines::None) => Ok(Length::Unsaid),
        (Lines::One(length), Lines::None) => figure(length).map(Length::Known).ok_or(Doubt),
        // RFC 9112 §6.1: HTTP/1.0 does not know the field, and who sends it may mean either.
        (Lines::None, Lines::One(coding))
            if coding.as_bytes().eq_ignore_ascii_case(b"chunked")
                && version != Version::HTTP_10 =>
        {
            Ok(Length::Chunked)
        }
        _ => Err(Doubt),
    }
}

/// Digits and nothing else: no sign, no list, no other base (RFC 9110 §8.6).
fn figure(value: &HeaderValue) -> Option<u64> {
    let digits = value.to_str().ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// `Connection` names headers, each a token (RFC 9110 §7.6.1): one that cannot be read would be
/// taken away by us and not by the next reader, or the other way round (HTTP-13).
pub(super) fn check_nominations(headers: &HeaderMap, fields: &Fields<'_>) -> Result<(), Doubt> {
    if matches!(fields.connection, Lines::None) {
        return Ok(());
    }
    for value in headers.get_all(header::CONNECTION) {
        let tokens = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        for token in tokens.filter(|token| !token.is_empty()) {
            HeaderName::from_bytes(token).map_err(|_| Doubt)?;
        }
    }
    Ok(())
}

/// RFC 9110 §10.1.1 knows one expectation. Another one is about a reader that we do not know.
pub(super) fn check_expectation(fields: &Fields<'_>) -> Result<(), Doubt> {
    match fields.expected {
        Lines::None => Ok(()),
        Lines::One(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(()),
        Lines::One(_) | Lines::More => Err(Doubt),
    }
}
