//! A small DER writer: enough to make certificates, and to make them wrong on purpose.

use std::time::SystemTime;

use time::OffsetDateTime;

/// `SEQUENCE`.
pub const SEQUENCE: u8 = 0x30;
/// `SET`.
pub const SET: u8 = 0x31;
/// `BOOLEAN`.
pub const BOOLEAN: u8 = 0x01;
/// `INTEGER`.
pub const INTEGER: u8 = 0x02;
/// `BIT STRING`.
pub const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`.
pub const OCTET_STRING: u8 = 0x04;
/// `OBJECT IDENTIFIER`.
pub const OBJECT_IDENTIFIER: u8 = 0x06;
/// `UTF8String`.
pub const UTF8_STRING: u8 = 0x0c;

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// One element: tag, definite length in its shortest form, content.
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len().to_be_bytes();
    let significant = length.iter().skip_while(|byte| **byte == 0).copied().collect::<Vec<_>>();
    match significant.as_slice() {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        long => {
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}

/// A `SEQUENCE` of elements that are written already.
pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, &parts.concat())
}

/// A non-negative `INTEGER` from big-endian bytes.
pub fn integer(bytes: &[u8]) -> Vec<u8> {
    let mut content = bytes.iter().skip_while(|byte| **byte == 0).copied().collect::<Vec<_>>();
    if content.first().is_none_or(|first| *first >= 0x80) {
        content.insert(0, 0);
    }
    element(INTEGER, &content)
}

/// `BOOLEAN TRUE`.
pub fn boolean_true() -> Vec<u8> {
    element(BOOLEAN, &[0xff])
}

/// A `BIT STRING` of whole bytes.
pub fn bit_string(bytes: &[u8]) -> Vec<u8> {
    element(BIT_STRING, &[&[0], bytes].concat())
}

/// An `OBJECT IDENTIFIER` from its arcs; fewer than two arcs give an empty one.
pub fn object_identifier(arcs: &[u64]) -> Vec<u8> {
    let mut content = Vec::new();
    if let [first, second, rest @ ..] = arcs {
        push_base_128(&mut content, first * 40 + second);
        for arc in rest {
            push_base_128(&mut content, *arc);
        }
    }
    element(OBJECT_IDENTIFIER, &content)
}

fn push_base_128(out: &mut Vec<u8>, value: u64) {
    let mut shift = 63;
    while shift > 0 && value >> shift == 0 {
        shift -= 7;
    }
    while shift > 0 {
        out.push(0x80 | (value >> shift & 0x7f) as u8);
        shift -= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// A context tag: `[number]`, constructed or primitive as the caller needs it.
pub const fn context(number: u8, form: Form) -> u8 {
    match form {
        Form::Primitive => 0x80 | number,
        Form::Constructed => 0xa0 | number,
    }
}

/// Whether an element holds bytes or other elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Bytes.
    Primitive,
    /// Elements.
    Constructed,
}

/// A point in time as RFC 5280 §4.1.2.5 wants it: `UTCTime` until 2049, `GeneralizedTime` after.
/// Fractions of a second are cut off.
pub fn time(at: SystemTime) -> Vec<u8> {
    let at = OffsetDateTime::from(at);
    let rest = format!(
        "{:02}{:02}{:02}{:02}{:02}Z",
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    );
    match at.year() {
        year @ 1950..2050 => element(UTC_TIME, format!("{:02}{rest}", year % 100).as_bytes()),
        year => element(GENERALIZED_TIME, format!("{year:04}{rest}").as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lengths_take_their_shortest_form() {
        assert_eq!(element(OCTET_STRING, &[]), [0x04, 0]);
        assert_eq!(element(OCTET_STRING, &[7; 127])[..3], [0x04, 127, 7]);
        assert_eq!(element(OCTET_STRING, &[7; 128])[..4], [0x04, 0x81, 128, 7]);
        assert_eq!(element(OCTET_STRING, &[7; 256])[..5], [0x04, 0x82, 1, 0, 7]);
    }

    #[test]
    fn integers_are_never_negative() {
        assert_eq!(integer(&[0, 0]), [0x02, 1, 0]);
        assert_eq!(integer(&[0, 0x7f]), [0x02, 1, 0x7f]);
        assert_eq!(integer(&[0x80]), [0x02, 2, 0, 0x80]);
    }

    #[test]
    fn object_identifiers_use_base_128() {
        let ecdsa_with_sha256 = [0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
        assert_eq!(object_identifier(&[1, 2, 840, 10045, 4, 3, 2]), ecdsa_with_sha256);
        assert_eq!(object_identifier(&[2, 5, 29, 17]), [0x06, 3, 0x55, 0x1d, 0x11]);
    }

    #[test]
    fn a_time_after_2049_is_a_generalized_time() {
        let unix = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(time(unix(1_700_000_000)), b"\x17\x0d231114221320Z");
        assert_eq!(time(unix(2_524_608_000)), b"\x18\x0f20500101000000Z");
    }
}
