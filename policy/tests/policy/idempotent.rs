//! Which calls of a destination may be made twice.

use cellwall_policy::{
    Call, CallDocument, CallError, IdempotentBy, IdempotentDocument, Protocol, RequestPath,
    Snapshot, SnapshotDocument, SnapshotError, Tolerated, is_idempotent_method,
};

use crate::sample::{http, vault};

fn declared(call: CallDocument, by: Option<IdempotentBy>) -> IdempotentDocument {
    IdempotentDocument { call, by }
}

fn grpc(service: &str, method: &str) -> CallDocument {
    CallDocument::Grpc { service: service.to_owned(), method: method.to_owned() }
}

fn calling(protocol: Protocol, idempotent: &[IdempotentDocument]) -> SnapshotDocument {
    let mut document = vault();
    for destination in &mut document.destinations {
        destination.protocol = protocol;
        destination.idempotent = idempotent.to_vec();
    }
    document
}

fn by(document: &SnapshotDocument, call: &Call<'_>) -> Option<IdempotentBy> {
    let snapshot = Snapshot::new(document.clone()).unwrap();
    let destination = snapshot.destination("staging/payments").unwrap();
    destination.idempotent.as_ref().and_then(|idempotent| idempotent.by(call))
}

#[test]
fn a_request_may_be_made_twice_only_where_the_template_that_owns_it_says_so() {
    let document = calling(
        Protocol::Http,
        &[
            declared(http("GET", "/v1/{rest...}"), Some(IdempotentBy::Method)),
            declared(http("POST", "/v1/payments"), Some(IdempotentBy::Key)),
            declared(http("GET", "/v1/next"), None),
        ],
    );
    for (method, path, expected) in [
        ("GET", "/v1/payments", Some(IdempotentBy::Method)),
        ("GET", "/v1/next/1", Some(IdempotentBy::Method)),
        ("GET", "/v1/next", None),
        ("POST", "/v1/payments", Some(IdempotentBy::Key)),
        ("PUT", "/v1/payments", None),
        ("POST", "/v1/payments/", None),
        ("POST", "/v1/next", None),
        ("GET", "/", None),
    ] {
        let path = RequestPath::parse(path).unwrap();
        let call = Call::Http { method, path: &path };
        assert_eq!(by(&document, &call), expected, "{method} {path:?}");
    }
    let call = Call::Grpc { service: "a.A", method: "Get" };
    assert_eq!(by(&document, &call), None);
}

#[test]
fn a_request_with_an_encoded_slash_may_be_made_twice_only_if_every_reading_says_so() {
    let (key, method) = (Some(IdempotentBy::Key), Some(IdempotentBy::Method));
    let document = calling(
        Protocol::Http,
        &[
            declared(http("POST", "/files/{rest%2F...}"), key),
            declared(http("POST", "/files/{dir}/{name}"), None),
            declared(http("PUT", "/objects/{name%2F}"), method),
            declared(http("PUT", "/objects/{dir}/{name}"), method),
            declared(http("PUT", "/objects/{a}/keys/{key}"), key),
            declared(http("PUT", "/objects/{name%2F}/all"), method),
            declared(http("POST", "/folders/{name%2F}/"), key),
            declared(http("POST", "/folders/{dir}/{name}/"), None),
        ],
    );
    for (method, path, expected) in [
        ("POST", "/files/a", key),
        ("POST", "/files/a/b", None),
        // Another template owns it, and takes none.
        ("POST", "/files/a/b%2Fc", None),
        // The other one is whose it is with a slash there.
        ("POST", "/files/a%2Fb", None),
        ("POST", "/files/a%2Fb%2Fc", None),
        ("POST", "/files/a/b/c%2Fd", key),
        ("PUT", "/objects/a%2Fb", method),
        ("PUT", "/objects/a%2Fb%2Fc", method),
        ("PUT", "/objects/a%2Fkeys%2Fb", None),
        ("PUT", "/objects/a%2Fb/all", method),
        // The slash at the end is at the end of each reading.
        ("POST", "/folders/a/", key),
        ("POST", "/folders/a%2Fb/", None),
    ] {
        let path = RequestPath::tolerating(path, Tolerated::EncodedSlash).unwrap();
        let call = Call::Http { method, path: &path };
        assert_eq!(by(&document, &call), expected, "{method} {path:?}");
    }
}

#[test]
fn a_grpc_method_that_says_nothing_is_not_what_its_service_says() {
    let key = Some(IdempotentBy::Key);
    let document = calling(
        Protocol::Grpc,
        &[declared(grpc("a.A", "*"), key), declared(grpc("a.A", "Next"), None)],
    );
    for (service, method, expected) in
        [("a.A", "Post", key), ("a.A", "Next", None), ("b.A", "Post", None)]
    {
        assert_eq!(by(&document, &Call::Grpc { service, method }), expected);
    }
}

#[test]
fn what_is_said_in_two_ways_is_not_said() {
    let (key, method) = (Some(IdempotentBy::Key), Some(IdempotentBy::Method));
    let path = RequestPath::parse("/a").unwrap();
    let call = Call::Http { method: "PUT", path: &path };
    for (first, second, expected) in
        [(key, key, key), (key, None, None), (None, key, None), (key, method, None)]
    {
        let [first, second] = [first, second].map(|by| declared(http("PUT", "/a"), by));
        assert_eq!(by(&calling(Protocol::Http, &[first, second]), &call), expected);
    }
}

#[test]
fn a_call_that_cannot_be_made_twice_is_no_policy() {
    let key = IdempotentBy::Key;
    for (protocol, call, by, refused) in [
        (Protocol::Http, http("POST", "/a"), IdempotentBy::Method, "POST"),
        (Protocol::Grpc, grpc("a.A", "Get"), IdempotentBy::Method, "grpc"),
    ] {
        let document = calling(protocol, &[declared(call, Some(by))]);
        let error = SnapshotError::Call(CallError::Idempotent(refused.to_owned()));
        assert_eq!(Snapshot::new(document).unwrap_err(), error);
    }
    let of_another = calling(Protocol::Grpc, &[declared(http("GET", "/a"), Some(key))]);
    let error = SnapshotError::Call(CallError::Protocol("http"));
    assert_eq!(Snapshot::new(of_another).unwrap_err(), error);
    let tcp = calling(Protocol::Tcp, &[declared(CallDocument::Tcp { port: 5432 }, Some(key))]);
    let error = SnapshotError::Call(CallError::Idempotent("tcp".to_owned()));
    assert_eq!(Snapshot::new(tcp).unwrap_err(), error);
}

#[test]
fn five_methods_say_that_a_request_may_be_sent_twice() {
    let all = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH", "CONNECT", "TRACE"];
    let those: Vec<_> = all.into_iter().filter(|method| is_idempotent_method(method)).collect();
    assert_eq!(those, ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);
}

#[test]
fn a_release_that_does_not_know_the_declaration_refuses_it_and_without_one_nothing_is_written() {
    // AZ-08: the field is one that an older `DestinationDocument` does not have.
    let plain = serde_json::to_value(vault()).unwrap();
    assert_eq!(plain["destinations"][0].get("idempotent"), None);
    let by = Some(IdempotentBy::Key);
    let one = declared(http("POST", "/v1/payments"), by);
    let whole = calling(Protocol::Http, &[one, declared(http("GET", "/"), None)]);
    let json = serde_json::to_value(&whole).unwrap();
    let written = serde_json::json!([
        {"call": {"http": {"methods": ["POST"], "path": "/v1/payments"}}, "by": "key"},
        {"call": {"http": {"methods": ["GET"], "path": "/"}}},
    ]);
    assert_eq!(json["destinations"][0]["idempotent"], written);
    assert_eq!(serde_json::from_value::<SnapshotDocument>(json.clone()).unwrap(), whole);
    let mut bent = json;
    bent["destinations"][0]["idempotent"][0]["often"] = true.into();
    let error = serde_json::from_value::<SnapshotDocument>(bent).unwrap_err().to_string();
    assert!(error.starts_with("unknown field `often`"), "{error}");
}
