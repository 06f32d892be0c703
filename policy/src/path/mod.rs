//! A request path with one reading only, so that the policy and the workload cannot disagree.

mod tolerated;

use std::borrow::Cow;

use thiserror::Error;

pub(crate) use tolerated::ENCODED_SLASH;
use tolerated::SLASH;
pub use tolerated::{MAX_ENCODED_SLASHES, Tolerated};

/// The canonical path of a request: what is authorised and what is sent on (HTTP-08, HTTP-10).
///
/// Percent-encoded unreserved characters are decoded and the hex digits of all other escapes are
/// upper case (RFC 3986 §6.2.2); nothing else is resolved, a path with two readings is refused. A
/// trailing slash is kept: `/a/` is not `/a`, and what opens one does not open the other.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestPath<'a> {
    text: Cow<'a, str>,
    /// The same with each `%2F` as a slash, where it holds one: the reading that is farthest from it.
    split: Option<Box<str>>,
}

/// Why a path has more than one reading.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum AmbiguousPath {
    /// It does not begin with `/`.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// `//`: some servers merge slashes.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// `.` or `..`, plain or encoded: some servers resolve them, some do not.
    #[error("the path has a dot segment")]
    DotSegment,
    /// `;`, plain or encoded: some servers cut parameters off, some do not (HTTP-09).
    #[error("the path has a parameter")]
    Parameter,
    /// `%2F`, `%5C`, `%25` or an encoded control byte: decoded early by some servers only.
    #[error("the path encodes a byte that servers read differently")]
    EncodedByte,
    /// More encoded slashes than [`MAX_ENCODED_SLASHES`], where they are tolerated.
    #[error("the path encodes more than {MAX_ENCODED_SLASHES} slashes")]
    TooManySlashes,
    /// A `%` that two hex digits do not follow.
    #[error("the path has an invalid percent-encoding")]
    BadEncoding,
    /// A byte that RFC 3986 §3.3 does not allow in a path, such as `\`, `?`, `#` or a control byte.
    #[error("the path has a byte that a path may not have")]
    BadByte,
}

impl<'a> RequestPath<'a> {
    /// Reads the path of a request, without its query. Allocates only where the canonical form
    /// differs from `raw`.
    ///
    /// # Errors
    ///
    /// [`AmbiguousPath`] when servers are known to differ in how they read it.
    pub fn parse(raw: &'a str) -> Result<Self, AmbiguousPath> {
        Self::tolerating(raw, Tolerated::Nothing)
    }

    /// The same for a callee that declares what it tolerates. What no reading may have is refused in
    /// all: an empty segment and a dot segment, also between a `%2F` and a slash.
    ///
    /// # Errors
    ///
    /// [`AmbiguousPath`] when servers are known to differ in how they read it, beyond that.
    pub fn tolerating(raw: &'a str, tolerated: Tolerated) -> Result<Self, AmbiguousPath> {
        if !raw.starts_with('/') {
            return Err(AmbiguousPath::NotAbsolute);
        }
        if is_simple(raw) {
            return Ok(Self { text: Cow::Borrowed(raw), split: None });
        }
        let text = canonical(raw, tolerated)?;
        let split = match tolerated {
            Tolerated::Nothing => None,
            Tolerated::EncodedSlash => tolerated::split(&text)?,
        };
        check_segments(split.as_deref().unwrap_or(&text))?;
        Ok(Self { text, split })
    }

    /// The same path, on its own.
    pub fn into_owned(self) -> RequestPath<'static> {
        RequestPath { text: Cow::Owned(self.text.into_owned()), split: self.split }
    }

    /// The canonical path, which is also what must be sent on (HTTP-10).
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path as a server reads it that decodes `%2F` before it takes the path apart. `None` where
    /// that is no other reading.
    pub fn split(&self) -> Option<&str> {
        self.split.as_deref()
    }
}

/// Whether one look at each byte shows that a path is canonical as it stands, as nearly all are: no
/// escape, and behind no slash another one or a dot. Of those that are not, some are.
fn is_simple(raw: &str) -> bool {
    let mut last = 0;
    raw.bytes().all(|byte| {
        let begins_well = last != b'/' || !matches!(byte, b'/' | b'.');
        last = byte;
        begins_well && PLAIN.get(usize::from(byte)) == Some(&true)
    })
}

/// For each byte whether it is plain: seven comparisons for each byte of a path would take longer than
/// the decision.
#[expect(clippy::indexing_slicing, reason = "below the length, and by the compiler")]
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < plain.len() {
        plain[byte] = check_plain(byte as u8).is_ok();
        byte += 1;
    }
    plain
};

fn check_segments(path: &str) -> Result<(), AmbiguousPath> {
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            // The last segment is empty in `/` and after a trailing slash.
            "" if segments.peek().is_some() => return Err(AmbiguousPath::EmptySegment),
            "." | ".." => return Err(AmbiguousPath::DotSegment),
            _ => {}
        }
    }
    Ok(())
}

/// Decodes what may stand plain, upper-cases the rest. Borrows where nothing changes.
fn canonical(raw: &str, tolerated: Tolerated) -> Result<Cow<'_, str>, AmbiguousPath> {
    let mut changed = String::new();
    // What of `raw` is already in `changed`, once that is in use.
    let mut copied = 0;
    let mut rest = raw.bytes().enumerate();
    while let Some((at, byte)) = rest.next() {
        if byte != b'%' {
            check_plain(byte)?;
            continue;
        }
        let digits = raw.get(at + 1..at + 3).ok_or(AmbiguousPath::BadEncoding)?;
        let decoded = decode(digits, tolerated)?;
        // Servers decode `%3A` as they decode `%61`: what may stand plain has no second spelling. An
        // encoded slash is not a slash.
        let plain = decoded != SLASH && check_plain(decoded).is_ok();
        if plain || digits.bytes().any(|digit| digit.is_ascii_lowercase()) {
            changed.push_str(raw.get(copied..at).unwrap_or_default());
            if plain {
                changed.push(char::from(decoded));
            } else {
                changed.push('%');
                changed.push_str(&digits.to_ascii_uppercase());
            }
            copied = at + 3;
        }
        rest.nth(1);
    }
    if copied == 0 {
        return Ok(Cow::Borrowed(raw));
    }
    changed.push_str(raw.get(copied..).unwrap_or_default());
    Ok(Cow::Owned(changed))
}

/// The byte that two hex digits stand for, unless it must not hide behind an escape.
fn decode(digits: &str, tolerated: Tolerated) -> Result<u8, AmbiguousPath> {
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(AmbiguousPath::BadEncoding);
    }
    match u8::from_str_radix(digits, 16).map_err(|_| AmbiguousPath::BadEncoding)? {
        SLASH if tolerated == Tolerated::EncodedSlash => Ok(SLASH),
        SLASH | b'\\' | b'%' | 0..0x20 | 0x7f => Err(AmbiguousPath::EncodedByte),
        b';' => Err(AmbiguousPath::Parameter),
        byte => Ok(byte),
    }
}

/// RFC 3986 §3.3: pchar and the slash, less the `;` of HTTP-09.
const fn check_plain(byte: u8) -> Result<(), AmbiguousPath> {
    match byte {
        b';' => Err(AmbiguousPath::Parameter),
        b'/' | b':' | b'@' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b','
        | b'=' => Ok(()),
        byte if unreserved(byte) => Ok(()),
        _ => Err(AmbiguousPath::BadByte),
    }
}

/// RFC 3986 §2.3.
const fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests;
