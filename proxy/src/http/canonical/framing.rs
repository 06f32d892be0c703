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

/// How long a message says that its body is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Length {
    Known(u64),
    Chunked,
    Unsaid,
}

/// One length, said once, in one way (HTTP-01..03, RFC 9112 §6.3).
pub(super) fn length(version: Version, headers: &HeaderMap) -> Result<Length, Doubt> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (lengths.next(), codings.next(), lengths.next(), codings.next()) {
        (None, None, ..) => Ok(Length::Unsaid),
        (Some(length), None, None, _) => figure(length).map(Length::Known).ok_or(Doubt),
        // RFC 9112 §6.1: HTTP/1.0 does not know the field, and who sends it may mean either.
        (None, Some(coding), _, None)
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
pub(super) fn check_nominations(headers: &HeaderMap) -> Result<(), Doubt> {
    for value in headers.get_all(header::CONNECTION) {
        let tokens = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        for token in tokens.filter(|token| !token.is_empty()) {
            HeaderName::from_bytes(token).map_err(|_| Doubt)?;
        }
    }
    Ok(())
}

/// RFC 9110 §10.1.1 knows one expectation. Another one is about a reader that we do not know.
pub(super) fn check_expectation(headers: &HeaderMap) -> Result<(), Doubt> {
    let mut expected = headers.get_all(header::EXPECT).iter();
    let known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    match (expected.next(), expected.next()) {
        (None, _) => Ok(()),
        (Some(value), None) if known(value) => Ok(()),
        _ => Err(Doubt),
    }
}
