//! What a template may be, and which two may stand beside each other.

use super::{Conflict, PathTemplate, TemplateError, is_grpc_name, is_http_method};

#[test]
fn a_template_is_literals_parameters_and_at_most_one_tail() {
    for text in [
        "/",
        "/a",
        "/a/",
        "/v1/payments/{id}",
        "/v1/payments/{id}/capture",
        "/files/{rest...}",
        "/{rest...}",
        "/{a}/{b}/",
        "/a:b/~c/%C3%A4",
        // A star is a byte like another, no wildcard.
        "/a/*",
        "/objects/{name%2F}/acl",
        "/files/{rest%2F...}",
    ] {
        assert_eq!(PathTemplate::parse(text).map(|t| t.as_str().to_owned()), Ok(text.to_owned()));
    }
}

#[test]
fn a_template_that_no_canonical_path_can_match_is_refused() {
    use TemplateError::{
        BadSegment, EmptySegment, NotAbsolute, NotCanonical, Repeated, TailNotLast, TooLong,
    };
    let bad = |text: &str| BadSegment(text.to_owned());
    let not_canonical = |text: &str| NotCanonical(text.to_owned());
    let tail = |text: &str| TailNotLast(text.to_owned());
    for (text, error) in [
        ("", NotAbsolute),
        ("a", NotAbsolute),
        ("//", EmptySegment),
        ("/a//b", EmptySegment),
        ("/a{id}", bad("a{id}")),
        ("/{id}.json", bad("{id}.json")),
        ("/{}", bad("{}")),
        ("/{...}", bad("{...}")),
        ("/{a b}", bad("{a b}")),
        ("/{{a}}", bad("{{a}}")),
        ("/{a", bad("{a")),
        ("/a/{id}/b/{id}", Repeated("id".to_owned())),
        ("/{rest...}/a", tail("/{rest...}/a")),
        ("/{rest...}/", tail("/{rest...}/")),
        ("/{id%2f}", bad("{id%2f}")),
        ("/{id%25}", bad("{id%25}")),
        ("/{%2F}", bad("{%2F}")),
        ("/{%2Fid}", bad("{%2Fid}")),
        ("/{rest...%2F}", bad("{rest...%2F}")),
        ("/a%2Fb", not_canonical("a%2Fb")),
        ("/a/{id}/b/{id%2F}", Repeated("id".to_owned())),
        ("/a/..", not_canonical("..")),
        ("/.", not_canonical(".")),
        ("/%41", not_canonical("%41")),
        ("/%c3", not_canonical("%c3")),
        ("/a;b", not_canonical("a;b")),
        ("/a?b", not_canonical("a?b")),
        ("/a b", not_canonical("a b")),
    ] {
        assert_eq!(PathTemplate::parse(text), Err(error), "{text}");
    }
    assert_eq!(PathTemplate::parse(&"/a".repeat(33)), Err(TooLong));
    assert_eq!(PathTemplate::parse(&format!("/{}", "a".repeat(512))), Err(TooLong));
    // As much as is allowed, and shown as it was written.
    for longest in ["/a".repeat(32), format!("/{}", "a".repeat(511))] {
        assert_eq!(PathTemplate::parse(&longest).map(|one| one.to_string()), Ok(longest));
    }
    let orders = |one: &str, other: &str| {
        let [one, other] = [one, other].map(|last| format!("{}/{last}", "/a".repeat(31)));
        let [one, other] = [one, other].map(|text| PathTemplate::parse(&text).unwrap());
        (one.conflict(&other), one.specificity(&other))
    };
    assert_eq!(orders("{x}", "b"), (None, std::cmp::Ordering::Greater), "in the last segment");
}

#[test]
fn two_templates_for_one_path_are_allowed_only_in_a_strict_order() {
    use Conflict::{SameShape, Slash, Unordered};
    for (one, other, conflict) in [
        ("/v1/{id}", "/v1/search", None),
        ("/v1/{id}", "/v1/{id}", None),
        ("/v1/{id}", "/v1/{token}", Some(SameShape)),
        ("/a/{x}", "/{y}/b", Some(Unordered)),
        ("/a/{x}", "/{y}/{z}", None),
        ("/a/{x}/c", "/{y}/b/d", None),
        ("/a/b", "/a/c", None),
        ("/a", "/a/b", None),
        ("/a/{x}", "/a/{rest...}", None),
        ("/a/{x}/{rest...}", "/a/{rest...}", None),
        ("/a/{rest...}", "/{x}/b", Some(Unordered)),
        ("/{rest...}", "/a/b/c", None),
        ("/{rest...}", "/{tail...}", Some(SameShape)),
        ("/{rest...}", "/", None),
        ("/a/{rest...}", "/a", None),
        ("/a/", "/a", Some(Slash)),
        ("/a/{x}/", "/a/b", Some(Slash)),
        ("/a/{rest...}", "/a/b/", Some(Slash)),
        ("/a/{x}/", "/a/b/", None),
    ] {
        let parse = |text| PathTemplate::parse(text).unwrap();
        assert_eq!(parse(one).conflict(&parse(other)), conflict, "{one} {other}");
        assert_eq!(parse(other).conflict(&parse(one)), conflict, "{other} {one}");
    }
}

#[test]
fn only_what_takes_an_encoded_slash_is_read_as_another_and_only_where_they_agree_before_it() {
    for (one, other, is_read) in [
        ("/a/{x%2F}", "/a/b/c", true),
        ("/a/{x%2F}", "/b/c/d", false),
        ("/a/{x%2F}", "/a", false),
        ("/a/{x%2F}", "/{rest...}", true),
        ("/a/{x}/{y%2F}", "/a/b/c/d", true),
        ("/a/{x}", "/a/b/c", false),
        ("/a/{rest%2F...}", "/a/b/c", true),
        ("/a/{rest%2F...}", "/b/c/d", false),
        ("/a/{x}/{rest%2F...}", "/a/b", false),
        ("/a/{rest...}", "/a/b/c", false),
        ("/a/{x%2F}/{rest%2F...}", "/a/b", true),
    ] {
        let parse = |text| PathTemplate::parse(text).unwrap();
        assert_eq!(parse(one).is_read_as(&parse(other)), is_read, "{one} {other}");
    }
}

#[test]
fn methods_and_grpc_names_are_tokens_of_their_standards() {
    for method in ["GET", "POST", "M-SEARCH"] {
        assert!(is_http_method(method), "{method}");
    }
    // HTTP-14, HTTP-18
    for method in ["", "get", "Get", "GET ", "-", "G,P", "CONNECT", "TRACE", &"A".repeat(33)] {
        assert!(!is_http_method(method), "{method}");
    }
    for name in ["Post", "ledger.v1.Ledger", "_a.b_1"] {
        assert!(is_grpc_name(name), "{name}");
    }
    for name in ["", ".", "a.", ".a", "a..b", "1a", "a/b", "a*", "ä", "a-b"] {
        assert!(!is_grpc_name(name), "{name}");
    }
}
