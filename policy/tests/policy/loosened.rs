//! Templates that take an encoded slash: rules go by the path as it is sent, guards by every reading.

use cellwall_policy::{
    Call, CallDocument, Callers, DestinationDocument, Mode, RequestPath, Snapshot,
    SnapshotDocument, Tls, Tolerated,
};

use crate::sample::{guard, http, id, named, open_vault, rule, vault};

/// `checkout` may read objects by names that hold slashes.
fn objects() -> SnapshotDocument {
    let mut document = open_vault();
    let calls = [http("GET", "/v1/objects/{name%2F}"), http("GET", "/v1/keys/{id}")];
    document.rules.push(rule("reads", named("checkout"), &calls));
    document
}

/// `VERDICT by BY` for a GET by `prod/checkout`; `refused` for a path that the callee does not read.
fn asked(document: &SnapshotDocument, path: &str) -> String {
    let snapshot = Snapshot::new(document.clone()).unwrap();
    let Ok(path) = RequestPath::tolerating(path, snapshot.tolerates()) else {
        return "refused".to_owned();
    };
    let caller = id("spiffe://pay.example/prod/checkout");
    let call = Call::Http { method: "GET", path: &path };
    let decision = snapshot.decide(&caller, &Tls::default(), &call, std::time::UNIX_EPOCH);
    format!("{} by {}", decision.verdict.as_str(), decision.by)
}

#[test]
fn only_the_template_that_says_so_takes_an_encoded_slash() {
    let document = objects();
    for (path, answer) in [
        ("/v1/objects/a", "allow by reads"),
        ("/v1/objects/a%2Fb", "allow by reads"),
        ("/v1/objects/a%2fb%2Fc", "allow by reads"),
        ("/v1/keys/a", "allow by reads"),
        ("/v1/keys/a%2Fb", "deny by default"),
        ("/v1%2Fobjects/a", "deny by default"),
        ("/v1/objects/a/b", "deny by default"),
        ("/v1/objects/a%2F..", "refused"),
        ("/v1/objects/%2F..%2Fkeys", "refused"),
        ("/v1/objects/a%2F%2Fb", "refused"),
    ] {
        assert_eq!(asked(&document, path), answer, "{path}");
    }
    assert_eq!(asked(&vault(), "/v1/objects/a%2Fb"), "refused");
}

#[test]
fn a_callee_takes_an_encoded_slash_where_any_of_its_calls_does() {
    let plain = [http("GET", "/v1/keys/{id}"), CallDocument::Tcp { port: 5432 }];
    let loosened = [http("GET", "/v1/objects/{name%2F}")];
    for (calls, tolerated) in [
        (Vec::new(), Tolerated::Nothing),
        (plain.to_vec(), Tolerated::Nothing),
        ([&plain[..], &loosened].concat(), Tolerated::EncodedSlash),
    ] {
        assert_eq!(Tolerated::of(&calls), tolerated, "{calls:?}");
    }
}

#[test]
fn an_encoded_slash_takes_no_request_from_the_template_that_owns_it() {
    let mut document = objects();
    document.rules.push(rule("browses", named("checkout"), &[http("GET", "/v4/{rest%2F...}")]));
    let own = [http("GET", "/v4/{id}/variables"), http("GET", "/v4/{id}/files/{file}")];
    document.rules.push(rule("administers", named("payments"), &own));
    let audited = SnapshotDocument { mode: Mode::Audit, ..document.clone() };
    for (path, answer, in_audit) in [
        ("/v4/7/variables", "deny by default", "audit by default"),
        ("/v4/acme%2Fpay/variables", "deny by default", "deny by default"),
        ("/v4/acme%2Fpay/files/x", "deny by default", "deny by default"),
        ("/v4/acme/files/x%2Fy", "deny by default", "deny by default"),
        ("/v4/acme%2Fpay/others", "allow by browses", "allow by browses"),
        ("/v4/acme%2Fpay", "allow by browses", "allow by browses"),
    ] {
        assert_eq!(asked(&document, path), answer, "{path}");
        assert_eq!(asked(&audited, path), in_audit, "{path} in audit");
    }
}

#[test]
fn a_guard_is_about_both_readings_of_an_encoded_slash() {
    for (call, path, is_denied) in [
        // As it is sent: one segment.
        ("/v1/objects/{name}", "/v1/objects/a%2Fb", true),
        ("/v1/objects/{name%2F}", "/v1/objects/a%2Fb", true),
        ("/v1/objects/{rest...}", "/v1/objects/a%2Fb", true),
        ("/v1/objects/{name}/", "/v1/objects/a%2Fb", true),
        // As some servers read it: two.
        ("/v1/objects/{dir}/{name}", "/v1/objects/a%2Fb", true),
        ("/v1/objects/secret/{rest...}", "/v1/objects/secret%2Fb", true),
        ("/v1/objects/secret/b", "/v1/objects/secret%2Fb", true),
        ("/v1/objects/secret/b/", "/v1/objects/secret%2Fb", true),
        ("/v1/objects/{a}/{b}/{c}", "/v1/objects/a%2Fb%2Fc", true),
        // Neither.
        ("/v1/objects/secret/{rest...}", "/v1/objects/public%2Fb", false),
        ("/v1/objects/{a}/{b}/{c}", "/v1/objects/a%2Fb", false),
        ("/v1/objects/secret", "/v1/objects/secret%2Fb", false),
    ] {
        let mut document = objects();
        document.guards.push(guard("closed", Callers::Any, ""));
        document.guards[0].calls = vec![http("GET", call)];
        let answer = if is_denied { "deny by guard/closed" } else { "allow by reads" };
        assert_eq!(asked(&document, path), answer, "{call} {path}");
        document.guards[0].mode = Mode::Audit;
        let answer = if is_denied { "audit by guard/closed" } else { "allow by reads" };
        assert_eq!(asked(&document, path), answer, "{call} {path} in audit");
    }
}

#[test]
fn a_guard_is_about_each_encoded_slash_by_itself() {
    let closed = "/v4/{id}/secret/{rest...}";
    for (call, path, is_denied) in [
        (closed, "/v4/7/secret/x", true),
        (closed, "/v4/7/secret%2Fx", true),
        (closed, "/v4/acme%2Fpay/secret/x", true),
        // The first is a part of the segment, the second is not; and the other way round.
        (closed, "/v4/acme%2Fpay/secret%2Fx", true),
        (closed, "/v4/a%2Fb%2Fc%2Fd/secret%2Fx", true),
        (closed, "/v4/acme%2Fpay%2Fsecret%2Fx", true),
        (closed, "/v4/acme%2Fsecret%2Fx", true),
        (closed, "/v4/acme%2Fsecret/x%2Fy", true),
        (closed, "/v4/acme%2Fpay/secrets%2Fx", false),
        (closed, "/v4/acme%2Fpay/secret", false),
        (closed, "/v4/acme%2Fpay%2Fsecret", false),
        (closed, "/v4/secret%2Fx", false),
        // A slash at its end is one in each reading.
        ("/v4/{id}/secret/{key}/", "/v4/acme%2Fpay/secret%2Fx", true),
        // No literal has one, and one parameter has as many as there are.
        ("/v4/{id}", "/v4/a%2Fb%2Fc", true),
        ("/v4/{id}/{key}", "/v4/a%2Fb%2Fc", true),
        ("/v4/{a}/{b}/{c}/{d}", "/v4/a%2Fb%2Fc", false),
        ("/v4/{a}/b/{c}", "/v4/a%2Fb%2Fc", true),
        ("/v4/{a}/c", "/v4/a%2Fb%2Fc", true),
        ("/v4/{a}/b", "/v4/a%2Fb%2Fc", false),
        ("/v4/a/{b}", "/v4/a%2Fb%2Fc", true),
        // What ends a segment of several pieces is no segment by itself.
        ("/v4/b", "/v4/a%2Fb", false),
        // Of a segment, the first reading matches, or only the last.
        ("/v4/a/{b}/{c}/d", "/v4/a%2Fb%2Fc/d", true),
        ("/v4/{a}/d", "/v4/a%2Fb%2Fc/d", true),
    ] {
        let mut document = objects();
        document.rules.push(rule("browses", named("checkout"), &[http("GET", "/v4/{rest%2F...}")]));
        document.guards.push(guard("closed", Callers::Any, ""));
        document.guards[0].calls = vec![http("GET", call)];
        let answer = if is_denied { "deny by guard/closed" } else { "allow by browses" };
        assert_eq!(asked(&document, path), answer, "{call} {path}");
    }
}

#[test]
fn a_path_with_as_many_encoded_slashes_as_there_may_be_is_decided_on_in_no_time() {
    let mut document = objects();
    document.rules.push(rule("browses", named("checkout"), &[http("GET", "/v4/{rest%2F...}")]));
    document.guards.push(guard("closed", Callers::Any, ""));
    // Templates whose nodes double with each segment.
    let template = |at: usize| {
        let segments =
            (0..10).map(|it| if it == at { "/x".to_owned() } else { format!("/{{p{it}}}") });
        http("GET", &format!("/v4{}/y", segments.collect::<String>()))
    };
    document.guards[0].calls = (0..10).map(template).collect();
    let path = |end: &str| format!("/v4/x{}/{end}", "%2Fx".repeat(15));
    assert_eq!(asked(&document, &path("y%2Fx")), "allow by browses");
    assert_eq!(asked(&document, &path("z%2Fy")), "deny by guard/closed");
    assert_eq!(asked(&document, &path("z%2Fz%2Fy")), "refused");
}

#[test]
fn audit_does_not_open_a_path_with_two_readings_that_no_template_declares() {
    let document = SnapshotDocument { mode: Mode::Audit, ..objects() };
    assert_eq!(asked(&document, "/v1/nothing/a"), "audit by default");
    assert_eq!(asked(&document, "/v1/nothing/a%2Fb"), "deny by default");
    assert_eq!(asked(&document, "/v1/objects/a%2Fb/c"), "deny by default");
    let mut others = document;
    others.rules.last_mut().unwrap().from = named("payments");
    assert_eq!(asked(&others, "/v1/objects/a%2Fb"), "audit by default");
}

#[test]
fn a_destination_says_what_it_tolerates_only_where_it_does() {
    // AZ-08: the bytes of all other documents stay as they were
    let mut document = vault();
    let written = serde_json::to_value(&document.destinations[0]).unwrap();
    assert_eq!(written.get("tolerates"), None);
    document.destinations[0].tolerates = Tolerated::EncodedSlash;
    let written = serde_json::to_value(&document.destinations[0]).unwrap();
    assert_eq!(written["tolerates"], "encoded-slash");
    let read: DestinationDocument = serde_json::from_value(written).unwrap();
    assert_eq!(read, document.destinations[0]);
    let snapshot = Snapshot::new(document).unwrap();
    let known = snapshot.destination("staging/payments").unwrap();
    assert_eq!(known.tolerates, Tolerated::EncodedSlash);
}
