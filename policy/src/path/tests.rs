//! Each case of HTTP-08 and HTTP-09, and the two laws: idempotent, and never a panic.

use std::borrow::Cow;

use proptest::prelude::*;

use super::{AmbiguousPath, RequestPath, Tolerated, canonical, check_segments, is_simple};

fn check(raw: &str, expected: Result<&str, AmbiguousPath>) {
    let path = RequestPath::parse(raw);
    assert_eq!(path.as_ref().map(RequestPath::as_str), expected.as_ref().copied(), "{raw:?}");
}

#[test]
fn a_path_with_two_readings_is_refused() {
    use AmbiguousPath::{DotSegment, EmptySegment, EncodedByte, NotAbsolute, Parameter};
    for (raw, reason) in [
        // HTTP-08
        ("", NotAbsolute),
        ("a", NotAbsolute),
        ("*", NotAbsolute),
        ("http://a/b", NotAbsolute),
        ("%2Fa", NotAbsolute),
        ("//", EmptySegment),
        ("//a", EmptySegment),
        ("/a//b", EmptySegment),
        ("/a//", EmptySegment),
        ("/.", DotSegment),
        ("/..", DotSegment),
        ("/./a", DotSegment),
        ("/a/../b", DotSegment),
        ("/a/.", DotSegment),
        ("/a/..", DotSegment),
        ("/a/../", DotSegment),
        ("/%2e", DotSegment),
        ("/%2E%2e/a", DotSegment),
        ("/.%2e/a", DotSegment),
        ("/a/%2e./b", DotSegment),
        ("/a%2fb", EncodedByte),
        ("/a%2Fb", EncodedByte),
        ("/a%5cb", EncodedByte),
        ("/a%5Cb", EncodedByte),
        ("/a%00", EncodedByte),
        ("/a%0d%0aHost:%20b", EncodedByte),
        ("/a%1F", EncodedByte),
        ("/a%7f", EncodedByte),
        ("/a%252fb", EncodedByte),
        ("/a%252e%252e", EncodedByte),
        // HTTP-09
        ("/a;x=1/b", Parameter),
        ("/a;", Parameter),
        ("/;x/../admin", Parameter),
        ("/a%3bx", Parameter),
        ("/a%3Bx", Parameter),
    ] {
        check(raw, Err(reason));
    }
}

#[test]
fn bytes_and_escapes_that_no_path_may_have_are_refused() {
    use AmbiguousPath::{BadByte, BadEncoding};
    for (raw, reason) in [
        ("/a\\b", BadByte),
        ("/a\0", BadByte),
        ("/a\r\n", BadByte),
        ("/a\tb", BadByte),
        ("/a\u{7f}", BadByte),
        ("/a b", BadByte),
        ("/ä", BadByte),
        ("/a\u{2215}b", BadByte),
        ("/a#b", BadByte),
        ("/a?b", BadByte),
        ("/a\"b", BadByte),
        ("/a<b>", BadByte),
        ("/a[b]", BadByte),
        ("/a{b}", BadByte),
        ("/a^b", BadByte),
        ("/a|b", BadByte),
        ("/a`b", BadByte),
        ("/%", BadEncoding),
        ("/%4", BadEncoding),
        ("/%4/a", BadEncoding),
        ("/%zz", BadEncoding),
        ("/%+1", BadEncoding),
        ("/% 1", BadEncoding),
        ("/%4ä", BadEncoding),
        ("/%%41", BadEncoding),
    ] {
        check(raw, Err(reason));
    }
}

#[test]
fn what_may_stand_plain_is_decoded_and_all_else_keeps_its_escape_in_upper_case() {
    for (raw, canonical) in [
        ("/", "/"),
        ("/a", "/a"),
        ("/a/b.c", "/a/b.c"),
        ("/a/..b/c../.d/...", "/a/..b/c../.d/..."),
        ("/%61%62", "/ab"),
        ("/%7Euser/%2Dx%5Fy%2Ez", "/~user/-x_y.z"),
        ("/a%20b", "/a%20b"),
        ("/a%c3%a4", "/a%C3%A4"),
        ("/a%3fb%23c", "/a%3Fb%23c"),
        ("/%41b%2b%63", "/Ab+c"),
        ("/v1/payments%3Arefund", "/v1/payments:refund"),
        ("/a%3ab%40c%21%24%26%27%28%29%2A%2B%2C%3Dd", "/a:b@c!$&'()*+,=d"),
        ("/a:b@c!$&'()*+,=d", "/a:b@c!$&'()*+,=d"),
        ("/A", "/A"),
    ] {
        check(raw, Ok(canonical));
        check(canonical, Ok(canonical));
    }
}

#[test]
fn a_trailing_slash_is_part_of_the_path() {
    check("/a/", Ok("/a/"));
    check("/a", Ok("/a"));
    check("/a/b/", Ok("/a/b/"));
}

#[test]
fn an_encoded_slash_that_is_tolerated_is_kept_and_its_other_reading_known() {
    for (raw, canonical, split) in [
        ("/a%2Fb", "/a%2Fb", "/a/b"),
        ("/a%2fb", "/a%2Fb", "/a/b"),
        ("/%61%2f%62/", "/a%2Fb/", "/a/b/"),
        ("/v1/a%2Fb%2fc/d", "/v1/a%2Fb%2Fc/d", "/v1/a/b/c/d"),
        ("/v1/..a%2Fb..", "/v1/..a%2Fb..", "/v1/..a/b.."),
    ] {
        let path = RequestPath::tolerating(raw, Tolerated::EncodedSlash).unwrap();
        assert_eq!((path.as_str(), path.split()), (canonical, Some(split)), "{raw}");
        assert_eq!(RequestPath::parse(raw), Err(AmbiguousPath::EncodedByte), "{raw}");
    }
}

#[test]
fn a_path_with_more_encoded_slashes_than_the_limit_is_refused_whatever_its_escapes() {
    let read = |count: usize, escape: &str| {
        let path = format!("/v1/a{}", format!("{escape}b").repeat(count));
        RequestPath::tolerating(&path, Tolerated::EncodedSlash).map(|it| it.as_str().to_owned())
    };
    let limit = super::MAX_ENCODED_SLASHES;
    for escape in ["%2F", "%2f", "/c%2F"] {
        let error = AmbiguousPath::TooManySlashes;
        assert_eq!(read(limit + 1, escape), Err(error), "{escape}");
        let kept = format!("/v1/a{}", format!("{escape}b").to_uppercase().repeat(limit));
        assert_eq!(read(limit, escape).map(|it| it.to_uppercase()), Ok(kept.to_uppercase()));
    }
    assert_eq!(read(limit * 4, "/"), Ok(format!("/v1/a{}", "/b".repeat(limit * 4))));
}

#[test]
fn what_neither_reading_may_have_is_refused_also_beside_an_encoded_slash() {
    use AmbiguousPath::{
        BadByte, BadEncoding, DotSegment, EmptySegment, EncodedByte, NotAbsolute, Parameter,
    };
    for (raw, reason) in [
        ("%2Fa", NotAbsolute),
        ("/%2Fa", EmptySegment),
        ("/a%2F", EmptySegment),
        ("/a%2f/", EmptySegment),
        ("/a%2F/b", EmptySegment),
        ("/a/%2Fb", EmptySegment),
        ("/a%2F%2fb", EmptySegment),
        ("/%2F", EmptySegment),
        ("/a//b%2Fc", EmptySegment),
        ("/a%2F..", DotSegment),
        ("/a%2f%2e%2E/b", DotSegment),
        ("/..%2Fa", DotSegment),
        ("/%2e%2fa", DotSegment),
        ("/a%2F../b", DotSegment),
        ("/a%2F.%2Fb", DotSegment),
        ("/a%2Fb/..", DotSegment),
        ("/x%2F..%2Fadmin", DotSegment),
        ("/a%252Fb", EncodedByte),
        ("/a%2F%2500", EncodedByte),
        ("/a%2Fb%5Cc", EncodedByte),
        ("/a%2F%00", EncodedByte),
        ("/a%2Fb;c", Parameter),
        ("/a%2Fb%3Bc", Parameter),
        ("/a%2Fb\\c", BadByte),
        ("/a%2Fb%2", BadEncoding),
    ] {
        let read = RequestPath::tolerating(raw, Tolerated::EncodedSlash);
        assert_eq!(read, Err(reason), "{raw}");
    }
}

proptest! {
    #[test]
    fn what_one_look_takes_for_canonical_is_so_by_the_longer_way(
        raw in "/([a-z./%;:~\\\\?#\u{0}-\u{20}ä]|//|/\\.|%2F){0,8}",
    ) {
        if is_simple(&raw) {
            for tolerated in [Tolerated::Nothing, Tolerated::EncodedSlash] {
                let read = canonical(&raw, tolerated);
                prop_assert!(matches!(read, Ok(Cow::Borrowed(same)) if same == raw), "{read:?}");
            }
            prop_assert_eq!(check_segments(&raw), Ok(()));
        } else if !raw.contains('%') && canonical(&raw, Tolerated::Nothing).is_ok() {
            prop_assert!(raw.contains("//") || raw.contains("/."), "{raw:?}");
        }
    }

    #[test]
    fn what_is_tolerated_changes_nothing_else(
        raw in "/([a-z./%;\\u{0}-\u{20}]|%2F|%2f|%2e|%41|%25){0,16}",
    ) {
        let tolerating = RequestPath::tolerating(&raw, Tolerated::EncodedSlash);
        let strict = RequestPath::parse(&raw);
        if let Ok(path) = &tolerating {
            let again = RequestPath::tolerating(path.as_str(), Tolerated::EncodedSlash);
            prop_assert_eq!(again.as_ref(), Ok(path));
            match path.split() {
                // Its other reading is a path of one reading, and as long as it without the escapes.
                Some(split) => {
                    prop_assert_eq!(RequestPath::parse(split).map(|it| it.as_str().to_owned()), Ok(split.to_owned()));
                    prop_assert_eq!(split, path.as_str().replace("%2F", "/"));
                    prop_assert_eq!(strict, Err(AmbiguousPath::EncodedByte));
                }
                None => prop_assert_eq!(strict.as_ref(), Ok(path)),
            }
        }
        if !raw.to_ascii_uppercase().contains("%2F") {
            prop_assert_eq!(tolerating, RequestPath::parse(&raw));
        }
    }

    #[test]
    fn parsing_is_idempotent_and_leaves_nothing_that_it_would_refuse(
        raw in "/[a-z./%;\\\\?#\u{0}-\u{20}ä0-9A-F]{0,24}",
    ) {
        if let Ok(path) = RequestPath::parse(&raw) {
            prop_assert_eq!(RequestPath::parse(path.as_str()), Ok(path.clone()));
            prop_assert!(path.as_str().is_ascii());
            prop_assert!(!path.as_str().contains("//"));
            prop_assert!(!path.as_str().split('/').any(|segment| segment == "." || segment == ".."));
        }
    }

    #[test]
    fn any_text_whatever_is_read_without_a_panic(raw in ".*") {
        let _ = RequestPath::parse(&raw);
        let _ = RequestPath::parse(&format!("/{raw}"));
    }

    #[test]
    fn an_escape_of_any_byte_reads_as_that_byte_or_is_refused(byte in 0u8..=255, upper in any::<bool>()) {
        let escape = if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
        let raw = format!("/x{escape}y");
        let expected = match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~:@!$&'()*+,=".contains(&byte) => {
                Ok(format!("/x{}y", char::from(byte)))
            }
            b'/' | b'\\' | b'%' | 0..=0x1f | 0x7f => Err(AmbiguousPath::EncodedByte),
            b';' => Err(AmbiguousPath::Parameter),
            _ => Ok(format!("/x{}y", escape.to_uppercase())),
        };
        prop_assert_eq!(RequestPath::parse(&raw).map(|path| path.as_str().to_owned()), expected);
    }
}
