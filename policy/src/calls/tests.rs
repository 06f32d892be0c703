//! Which declared template a call belongs to.

use proptest::prelude::*;

use super::{CallBuilder, CallError, CallIndex};
use crate::{
    Call, CallDocument, Conflict, ListensDocument, PathTemplate, Protocol, RequestPath, Tolerated,
    template::Segment,
};

fn http(methods: &str, path: &str) -> CallDocument {
    CallDocument::Http {
        methods: methods.split(',').map(str::to_owned).collect(),
        path: path.to_owned(),
    }
}

fn grpc(service: &str, method: &str) -> CallDocument {
    CallDocument::Grpc { service: service.to_owned(), method: method.to_owned() }
}

fn build(protocol: Protocol, calls: &[CallDocument]) -> Result<CallIndex, CallError> {
    let mut builder = CallBuilder::new(&[ListensDocument::of(protocol, 5432)]);
    for call in calls {
        builder.declare(call)?;
    }
    builder.finish()
}

fn route<'a>(index: &'a CallIndex, call: &Call<'_>) -> Option<&'a str> {
    index.route(call).and_then(|route| index.text(route)).map(|text| &**text)
}

fn http_route<'a>(index: &'a CallIndex, method: &str, path: &str) -> Option<&'a str> {
    let path = RequestPath::tolerating(path, Tolerated::EncodedSlash).unwrap();
    route(index, &Call::Http { method, path: &path })
}

#[test]
fn a_request_belongs_to_the_most_specific_template_that_carries_its_method() {
    let index = build(
        Protocol::Http,
        &[
            http("POST", "/v1/tokens/{t}"),
            http("POST", "/v1/tokens/export"),
            http("GET", "/v1/{rest...}"),
            http("GET", "/v1/tokens/export/{part}"),
            http("GET", "/"),
            http("GET,HEAD", "/files/{dir}/"),
            http("DELETE", "/{rest...}"),
        ],
    )
    .unwrap();
    for (method, path, template) in [
        ("POST", "/v1/tokens/t_1", Some("/v1/tokens/{t}")),
        ("POST", "/v1/tokens/export", Some("/v1/tokens/export")),
        ("POST", "/v1/tokens/Export", Some("/v1/tokens/{t}")),
        ("POST", "/v1/tokens/exports", Some("/v1/tokens/{t}")),
        ("POST", "/v1/tokens/export/", None),
        ("POST", "/v1/tokens/", None),
        ("POST", "/v1/tokens", None),
        ("POST", "/v1/tokens/a/b", None),
        ("post", "/v1/tokens/a", None),
        ("GET", "/v1/tokens/t_1", Some("/v1/{rest...}")),
        ("GET", "/v1/tokens/export", Some("/v1/{rest...}")),
        ("GET", "/v1/tokens/export/3", Some("/v1/tokens/export/{part}")),
        ("GET", "/v1/tokens/export/3/4", Some("/v1/{rest...}")),
        ("GET", "/v1/a", Some("/v1/{rest...}")),
        ("GET", "/v1/a/", None),
        ("GET", "/v1", None),
        ("GET", "/v1/", None),
        ("GET", "/", Some("/")),
        ("GET", "/files/a/", Some("/files/{dir}/")),
        ("HEAD", "/files/a/", Some("/files/{dir}/")),
        ("HEAD", "/files/a", None),
        ("DELETE", "/a/b/c/d", Some("/{rest...}")),
        ("DELETE", "/v1/tokens/export/3", Some("/{rest...}")),
        ("DELETE", "/", None),
    ] {
        assert_eq!(http_route(&index, method, path), template, "{method} {path}");
    }
}

#[test]
fn a_path_with_an_encoded_slash_belongs_to_its_most_specific_template_if_that_takes_it() {
    let index = build(
        Protocol::Http,
        &[
            http("GET", "/v1/objects/{name%2F}"),
            http("GET", "/v1/objects/{name%2F}/acl"),
            http("GET", "/v1/objects/all"),
            http("GET", "/v1/users/{id}"),
            http("GET", "/v1/{rest...}"),
            http("PUT", "/files/{rest%2F...}"),
            http("PUT", "/files/{dir}/{name}"),
            http("POST", "/v4/projects/{rest%2F...}"),
            http("POST", "/v4/projects/{id}/variables"),
            http("POST", "/v4/projects/{id%2F}/files/{file}"),
            http("POST", "/v4/projects/{id%2F}/keys/{key%2F}"),
            http("POST", "/v4/projects/{id%2F}/tree/{rest...}"),
        ],
    )
    .unwrap();
    assert_eq!(index.tolerated(), Tolerated::EncodedSlash);
    for (method, path, template) in [
        ("GET", "/v1/objects/a%2Fb", Some("/v1/objects/{name%2F}")),
        ("GET", "/v1/objects/a%2Fb%2Fc", Some("/v1/objects/{name%2F}")),
        ("GET", "/v1/objects/a", Some("/v1/objects/{name%2F}")),
        ("GET", "/v1/objects/all", Some("/v1/objects/all")),
        ("GET", "/v1/objects/a%2Fb/acl", Some("/v1/objects/{name%2F}/acl")),
        ("GET", "/v1/objects/a%2Facl", Some("/v1/objects/{name%2F}")),
        ("GET", "/v1/objects/a%2Fb/", None),
        ("GET", "/v1/objects%2Fall", None),
        ("GET", "/v1%2Fobjects/a", None),
        ("GET", "/v1/users/a%2Fb", None),
        ("GET", "/v1/a%2Fb", None),
        ("GET", "/v1/users/a", Some("/v1/users/{id}")),
        ("PUT", "/v1/objects/a%2Fb", None),
        ("PUT", "/files/a/b", Some("/files/{dir}/{name}")),
        // The template that owns it does not take it: nobody else gets it.
        ("PUT", "/files/a/b%2Fc", None),
        ("PUT", "/files/a%2Fb/c", None),
        ("PUT", "/files/a%2Fb", Some("/files/{rest%2F...}")),
        ("PUT", "/files/a/b/c%2Fd", Some("/files/{rest%2F...}")),
        ("POST", "/v4/projects/a%2Fb/variables", None),
        ("POST", "/v4/projects/a%2Fb/others", Some("/v4/projects/{rest%2F...}")),
        ("POST", "/v4/projects/a%2Fb/variables/c", Some("/v4/projects/{rest%2F...}")),
        ("POST", "/v4/projects/a%2Fb/files/c", Some("/v4/projects/{id%2F}/files/{file}")),
        ("POST", "/v4/projects/a%2Fb/files/c%2Fd", None),
        ("POST", "/v4/projects/a/files/c%2Fd", None),
        ("POST", "/v4/projects/a%2Fb/keys/c%2Fd", Some("/v4/projects/{id%2F}/keys/{key%2F}")),
        ("POST", "/v4/projects/a%2Fb/tree/c", Some("/v4/projects/{id%2F}/tree/{rest...}")),
        ("POST", "/v4/projects/a%2Fb/tree/c/d%2Fe", None),
    ] {
        assert_eq!(http_route(&index, method, path), template, "{method} {path}");
    }
    let plain = build(Protocol::Http, &[http("GET", "/v1/{rest...}")]).unwrap();
    assert_eq!(plain.tolerated(), Tolerated::Nothing);
}

#[test]
fn a_grpc_call_belongs_to_its_method_before_the_star() {
    let index = build(
        Protocol::Grpc,
        &[grpc("a.v1.A", "*"), grpc("a.v1.A", "Post"), grpc("a.v1.B", "Get")],
    )
    .unwrap();
    for (service, method, template) in [
        ("a.v1.A", "Post", Some("a.v1.A/Post")),
        ("a.v1.A", "post", Some("a.v1.A/*")),
        ("a.v1.A", "Get", Some("a.v1.A/*")),
        ("a.v1.B", "Get", Some("a.v1.B/Get")),
        ("a.v1.B", "*", None),
        ("a.v1", "A", None),
        ("a.v1.a", "Post", None),
    ] {
        assert_eq!(route(&index, &Call::Grpc { service, method }), template, "{service}/{method}");
    }
}

#[test]
fn a_call_in_another_protocol_belongs_to_nothing() {
    // AZ-03
    let path = RequestPath::parse("/a").unwrap();
    let calls = [
        Call::Http { method: "GET", path: &path },
        Call::Grpc { service: "a.A", method: "Get" },
        Call::Tcp { port: 5432 },
    ];
    for (protocol, declared) in [
        (Protocol::Http, http("GET", "/{rest...}")),
        (Protocol::Grpc, grpc("a.A", "*")),
        (Protocol::Tcp, CallDocument::Tcp { port: 5432 }),
    ] {
        let index = build(protocol, &[declared]).unwrap();
        for call in &calls {
            assert_eq!(route(&index, call).is_some(), call.protocol() == protocol, "{call:?}");
        }
    }
}

#[test]
fn calls_that_do_not_fit_the_callee_are_refused() {
    let error = |protocol, call: CallDocument| build(protocol, &[call]).unwrap_err();
    assert_eq!(error(Protocol::Tcp, http("GET", "/a")), CallError::Protocol("http"));
    assert_eq!(error(Protocol::Tcp, CallDocument::Tcp { port: 1 }), CallError::Port(1));
    assert_eq!(error(Protocol::Http, http("get", "/a")), CallError::Method("get".to_owned()));
    let none = CallDocument::Http { methods: Vec::new(), path: "/a".to_owned() };
    assert_eq!(error(Protocol::Http, none), CallError::Method(String::new()));
    for (service, method) in [("a.A", "b/c"), ("a", "b.c"), ("", "b"), ("a.A", ""), ("*", "*")] {
        let expected = CallError::Grpc(format!("{service}/{method}"));
        assert_eq!(error(Protocol::Grpc, grpc(service, method)), expected);
    }
}

#[test]
fn templates_without_an_order_are_refused_for_a_common_method_only() {
    let two = |one, other| build(Protocol::Http, &[http(one, "/a/{x}"), http(other, "/{y}/b")]);
    assert_eq!(
        two("GET,PUT", "PUT").unwrap_err(),
        CallError::Conflict {
            first: "/a/{x}".into(),
            second: "/{y}/b".into(),
            conflict: Conflict::Unordered
        }
    );
    assert!(two("GET", "PUT").is_ok());
}

#[test]
fn of_many_templates_each_two_that_contradict_each_other_are_found() {
    let all = [
        "/",
        "/a",
        "/a/",
        "/{x}/",
        "/a/{x}/",
        "/b",
        "/{x}",
        "/{y}",
        "/{x...}",
        "/a/{x}",
        "/a/b",
        "/{x}/b",
        "/{x}/{y}",
        "/b/{x...}",
        "/a/{x}/c",
        "/a/b/{z}",
        "/{x}/b/c",
        "/a/{x...}",
        "/a/b/{x...}",
        "/{x}/b/{y...}",
    ];
    for (at, one) in all.iter().enumerate() {
        for other in all.iter().skip(at + 1) {
            let template = |text: &&str| PathTemplate::parse(text).unwrap();
            let expected = template(one).conflict(&template(other));
            let [first, second, third] = ["/z/a", "/{x}/z", "/a/b/c"].map(|path| http("PUT", path));
            let calls = [first, http("GET", one), second, http("GET", other), third];
            let found = match build(Protocol::Http, &calls) {
                Err(CallError::Conflict { first, second, conflict }) => {
                    assert_eq!((&*first, &*second), (*one, *other));
                    Some(conflict)
                }
                built => built.map(|_| None).unwrap(),
            };
            assert_eq!(found, expected, "{one} {other}");
        }
    }
}

#[test]
fn more_templates_than_the_limit_are_refused() {
    let many: Vec<_> = (0..=1024).map(|number| http("GET", &format!("/a{number}"))).collect();
    assert_eq!(build(Protocol::Http, &many).unwrap_err(), CallError::TooMany);
}

fn takes(tolerated: Tolerated, segment: &str) -> bool {
    tolerated == Tolerated::EncodedSlash || !segment.contains("%2F")
}

/// Whether a template matches, by the definition and segment by segment; and whether it takes each
/// encoded slash of the path.
fn matches(template: &PathTemplate, path: &str) -> [bool; 2] {
    let slash = path.ends_with('/');
    let inner = path.trim_matches('/');
    let segments: Vec<_> = inner.split('/').filter(|segment| !segment.is_empty()).collect();
    let pairs = || template.segments.iter().zip(&segments);
    let fits = pairs().all(|(want, have)| match want {
        Segment::Literal(text) => **text == **have,
        Segment::Any(_) => true,
    });
    let own = pairs().all(|(want, have)| match want {
        Segment::Literal(_) => true,
        Segment::Any(tolerated) => takes(*tolerated, have),
    });
    let mut rest = segments.iter().skip(template.segments.len());
    let length = if template.tail {
        segments.len() > template.segments.len()
    } else {
        segments.len() == template.segments.len()
    };
    let takes = own && rest.all(|have| takes(template.tail_tolerates, have));
    [fits && length && slash == template.slash, takes]
}

proptest! {
    /// The compiled tree against a scan over all templates.
    #[test]
    fn the_tree_finds_what_a_scan_finds(
        templates in prop::collection::vec(
            "(/([ab]|\\{p(%2F)?\\})){1,3}(/\\{q(%2F)?\\.\\.\\.\\}|/)?", 1..8,
        ),
        path in "(/[abc](%2F[ab])?){1,4}/?",
    ) {
        let declared: Vec<_> = templates
            .iter()
            .enumerate()
            .map(|(at, text)| {
                // Parameters of one template need names of their own.
                let mut named = String::new();
                for (at, part) in text.split("{p").enumerate() {
                    if at > 0 {
                        named.push_str(&format!("{{p{at}"));
                    }
                    named.push_str(part);
                }
                http(["GET", "PUT"][at % 2], &named)
            })
            .collect();
        if let Ok(index) = build(Protocol::Http, &declared) {
            for method in ["GET", "PUT"] {
                let mut fitting: Vec<_> = declared
                    .iter()
                    .filter_map(|call| match call {
                        CallDocument::Http { methods, path } if methods[0] == method => {
                            Some(PathTemplate::parse(path).unwrap())
                        }
                        _ => None,
                    })
                    .filter(|template| matches(template, &path)[0])
                    .collect();
                fitting.sort_by(PathTemplate::specificity);
                let owner = fitting.first().filter(|owner| matches(owner, &path)[1]);
                let expected = owner.map(PathTemplate::as_str);
                prop_assert_eq!(http_route(&index, method, &path), expected, "{} {}", method, path);
            }
        }
    }
}
