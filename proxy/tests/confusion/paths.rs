//! Paths as clients write them, and the one reading that each has, if any: made from lists that say
//! what RFC 3986 and the known bypasses say, not from the sidecar's code.

/// RFC 3986 §3.3: what stands plain in a segment, less `;` (HTTP-09).
const PLAIN: &str =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:@!$&'()*+,=";

/// Decoded by some servers before they look at the path, and not by others (HTTP-08, HTTP-09).
const NEVER_ENCODED: &str = "/\\%;";

/// What may not stand plain: no server has to refuse it, and each reads it in its own way.
const NEVER_PLAIN: &str = "\"<>[]^`{|};\\\u{7f}\u{80}\u{e9}\u{ff}";

/// Whole paths: dots, slashes, cut and doubled escapes, what has passed some proxy's policy before.
const WHOLE: [(&str, Option<&str>); 60] = [
    ("/v1/x", Some("/v1/x")),
    ("/v1/x/", None), // one reading, and `{name...}` does not open it
    ("/v1/.x", Some("/v1/.x")),
    ("/v1/x.", Some("/v1/x.")),
    ("/v1/...", Some("/v1/...")),
    ("/v1/..x", Some("/v1/..x")),
    ("/V1/X", Some("/V1/X")),
    ("/v1/%78", Some("/v1/x")),
    ("/%76%31/x", Some("/v1/x")),
    ("/v1/%2a%2A", Some("/v1/**")),
    ("/v1/x%20y", Some("/v1/x%20y")),
    ("/v1/%e2%82%ac", Some("/v1/%E2%82%AC")),
    ("/v1/%c0%af", Some("/v1/%C0%AF")),
    ("/v1/%c0%ae%c0%ae/x", Some("/v1/%C0%AE%C0%AE/x")),
    ("/v1/%e0%80%af", Some("/v1/%E0%80%AF")),
    ("/v1/%ef%bc%8f", Some("/v1/%EF%BC%8F")),
    ("/v1/%3f", Some("/v1/%3F")),
    ("/v1/%23", Some("/v1/%23")),
    ("/v1/x?a=/../b", Some("/v1/x?a=/../b")),
    ("/v1/x?a=%2f%2e%2E;b", Some("/v1/x?a=%2f%2e%2E;b")),
    ("/v1/x?", Some("/v1/x?")),
    ("/v1/x?//y", Some("/v1/x?//y")),
    ("/v1/x#/../y", Some("/v1/x")),
    ("/v1/x#?a=b", Some("/v1/x")),
    ("/v1/x?a=b#c", Some("/v1/x?a=b")),
    ("//v1/x", None),
    ("/v1//x", None),
    ("/v1/x//", None),
    ("///", None),
    ("/.", None),
    ("/..", None),
    ("/./v1/x", None),
    ("/../v1/x", None),
    ("/v1/./x", None),
    ("/v1/../x", None),
    ("/v1/x/.", None),
    ("/v1/x/..", None),
    ("/v1/%2e/x", None),
    ("/v1/%2E%2e/x", None),
    ("/v1/.%2e/x", None),
    ("/v1/%2e./x", None),
    ("/v1/x/%2e%2e", None),
    ("/v1/..%2fx", None),
    ("/v1%2fx", None),
    ("/v1/%5c..%5cx", None),
    ("/v1\\..\\x", None),
    ("/v1/..;/x", None),
    ("/v1/x;a=b/y", None),
    ("/v1/x;", None),
    ("/v1/%3Bx", None),
    ("/v1/%", None),
    ("/v1/%4", None),
    ("/v1/%zz", None),
    ("/v1/%u0041", None),
    ("/v1/%%41", None),
    ("/v1/%252e%252e/x", None),
    ("/v1/%25%32%66", None),
    ("/v1/x%00.txt", None),
    ("/v1/%0d%0ax", None),
    ("/v1/x%09", None),
];

/// Every path with its reading: all escapes, all bytes that may stand plain without a letter or a
/// digit, all that may not, and the whole ones.
pub(super) fn paths() -> Vec<(String, Option<String>)> {
    let escapes = (0..=u8::MAX).map(|byte| {
        let letter = char::from(byte);
        let read = match letter {
            _ if PLAIN.contains(letter) => Some(format!("/v1/x{letter}y")),
            _ if letter < ' ' || letter == '\u{7f}' || NEVER_ENCODED.contains(letter) => None,
            _ => Some(format!("/v1/x%{byte:02X}y")),
        };
        (format!("/v1/x%{byte:02x}y"), read)
    });
    let marks = PLAIN.chars().filter(|letter| !letter.is_ascii_alphanumeric());
    let plain = marks.map(|mark| (format!("/v1/x{mark}y"), Some(format!("/v1/x{mark}y"))));
    let odd = NEVER_PLAIN.chars().map(|letter| (format!("/v1/x{letter}y"), None));
    let whole = WHOLE.map(|(raw, read)| (raw.to_owned(), read.map(str::to_owned)));
    escapes.chain(plain).chain(odd).chain(whole).collect()
}
