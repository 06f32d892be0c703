//! Templates, the IDs they yield, and how an ID is read back.

use std::sync::Arc;

use proptest::prelude::*;
use spiffe::SpiffeId;

use super::{
    IdentityError, IdentityIndex, IdentityTemplate, Reading, Variables, canonical_id, is_reserved,
};

const TEMPLATE: &str = "spiffe://pay.example/{env}/{workload}";

fn template() -> IdentityTemplate {
    IdentityTemplate::parse(TEMPLATE).unwrap()
}

fn id(text: &str) -> SpiffeId {
    SpiffeId::new(text).unwrap()
}

/// `checkout` by the template, `ledger-db` by an override, seen from prod.
fn index() -> IdentityIndex {
    let template = template();
    let callee = id("spiffe://pay.example/prod/payments");
    let mut index = IdentityIndex::new(&template, &callee).unwrap();
    index.insert(Arc::from("checkout"), &template.derive("checkout").unwrap()).unwrap();
    let shape = template.shape("/{env}/vm/ledger-db", "ledger-db").unwrap();
    index.insert(Arc::from("ledger-db"), &shape).unwrap();
    index
}

fn check(caller: &str, name: Option<&str>, crossed: Option<&str>) {
    let index = index();
    let Reading { caller: number, crossed: variables, .. } = index.read(&id(caller));
    let variable = index.first(variables);
    let found = number.and_then(|number| index.name(number)).map(|name| &**name);
    assert_eq!((found, variable.map(|name| &**name)), (name, crossed), "{caller}");
}

#[test]
fn a_template_has_whole_segment_variables_and_workload_once() {
    for text in [
        TEMPLATE,
        "spiffe://pay.example/{workload}",
        "spiffe://10.0.0.1/{region}/{env}/svc/{workload}",
        "spiffe://pay.example/{workload}/{env}",
    ] {
        assert_eq!(IdentityTemplate::parse(text).unwrap().to_string(), text);
    }
    use IdentityError::{
        BadSegment, NotATemplate, Repeated, Reserved, TooManySegments, TrustDomain, Workload,
    };
    let bad = |text: &str| BadSegment(text.to_owned());
    let domain = |text: &str| TrustDomain(text.to_owned());
    for (text, error) in [
        ("", NotATemplate),
        ("spiffe://pay.example", NotATemplate),
        ("https://pay.example/{workload}", NotATemplate),
        ("SPIFFE://pay.example/{workload}", NotATemplate),
        ("spiffe:///{workload}", domain("")),
        // SPID-02, SPID-03
        ("spiffe://Pay.example/{workload}", domain("Pay.example")),
        ("spiffe://u@pay.example/{workload}", domain("u@pay.example")),
        ("spiffe://pay.example:80/{workload}", domain("pay.example:80")),
        // SPID-06
        ("spiffe://pay.example/{workload}/", bad("")),
        ("spiffe://pay.example//{workload}", bad("")),
        ("spiffe://pay.example/../{workload}", bad("..")),
        ("spiffe://pay.example/%61/{workload}", bad("%61")),
        ("spiffe://pay.example/ns-{env}/{workload}", bad("ns-{env}")),
        ("spiffe://pay.example/{}/{workload}", bad("{}")),
        ("spiffe://pay.example/{Env}/{workload}", bad("{Env}")),
        ("spiffe://pay.example/{workload}?a", bad("{workload}?a")),
        ("spiffe://pay.example/a", Workload),
        ("spiffe://pay.example/{workload}/{workload}", Workload),
        ("spiffe://pay.example/{env}/{env}/{workload}", Repeated("env".to_owned())),
        ("spiffe://pay.example/cellwall/{workload}", Reserved),
    ] {
        assert_eq!(IdentityTemplate::parse(text), Err(error), "{text}");
    }
    let of =
        |segments: usize| format!("spiffe://pay.example{}/{{workload}}", "/a".repeat(segments));
    assert_eq!(IdentityTemplate::parse(&of(16)), Err(TooManySegments));
    assert!(IdentityTemplate::parse(&of(15)).is_ok(), "sixteen with the workload");
    let several = IdentityTemplate::parse("spiffe://pay.example/{env}/a/{zone}/{workload}");
    assert_eq!(several.unwrap().variables().collect::<Vec<_>>(), ["env", "zone"]);
}

#[test]
fn an_id_may_be_as_long_as_the_limit_and_no_longer() {
    // SPID-07
    let (template, head) = (template(), "spiffe://pay.example/prod/");
    let of = |length: usize| {
        let shape = template.shape(&format!("/{{env}}/{}", "a".repeat(length - head.len())), "a");
        template.id(&shape.unwrap(), "prod").map(|id| id.to_string().len())
    };
    assert_eq!((of(2048), of(2049)), (Ok(2048), Err(IdentityError::TooLong)));
    let of = |segments: usize| template.shape(&format!("/{{env}}{}", "/a".repeat(segments)), "a");
    assert!(of(15).is_ok(), "sixteen with the environment");
    for segments in [16, 17] {
        assert_eq!(of(segments), Err(IdentityError::TooManySegments));
    }
}

#[test]
fn an_override_has_the_variables_at_the_templates_places() {
    use IdentityError::{BadSegment, Misplaced, NotAPath, Reserved};
    let template = template();
    assert!(template.shape("/{env}/vm/ledger-db", "ledger-db").is_ok());
    assert_eq!(
        template.shape("/{env}/vm/{workload}", "ledger-db"),
        template.shape("/{env}/vm/ledger-db", "ledger-db")
    );
    let misplaced = || Misplaced("`{env}` is segment 1".to_owned());
    for (text, error) in [
        ("{env}/vm/a", NotAPath),
        ("spiffe://pay.example/prod/a", NotAPath),
        ("/vm/a", misplaced()),
        ("/vm/{env}/a", misplaced()),
        ("/{env}/{env}", misplaced()),
        ("/{env}/{region}/a", misplaced()),
        ("/{env}/a/", BadSegment(String::new())),
        ("/{env}/a b", BadSegment("a b".to_owned())),
    ] {
        assert_eq!(template.shape(text, "a"), Err(error), "{text}");
    }
    let flat = IdentityTemplate::parse("spiffe://pay.example/{workload}").unwrap();
    assert_eq!(flat.shape("/cellwall/a", "a"), Err(Reserved));
    assert_eq!(flat.shape("/cellwall", "a"), Err(Reserved));
    assert_eq!(flat.derive("cellwall"), Err(Reserved));
    assert_eq!(flat.derive("a/b"), Err(BadSegment("a/b".to_owned())));
}

#[test]
fn an_id_needs_a_value_for_each_variable_and_is_never_reserved() {
    let template = template();
    let shape = template.derive("a").unwrap();
    let made = |environment: &str| template.id(&shape, environment).map(|id| id.to_string());
    assert_eq!(made("prod"), Ok("spiffe://pay.example/prod/a".to_owned()));
    for environment in ["", "prod/eu", "a b", "..", "%61"] {
        let error = IdentityError::Environment(environment.to_owned());
        assert_eq!(made(environment), Err(error));
    }
    assert_eq!(made("cellwall"), Err(IdentityError::Reserved));
    assert_eq!(made(&"e".repeat(2048)), Err(IdentityError::TooLong)); // SPID-08
    let flat = IdentityTemplate::parse("spiffe://pay.example/{workload}").unwrap();
    let shape = flat.derive("a").unwrap();
    assert_eq!(flat.id(&shape, "").unwrap().path(), "/a");
    assert!(flat.id(&shape, "prod").is_err());
}

#[test]
fn an_id_reads_back_as_the_shape_and_environment_that_made_it() {
    let two = IdentityTemplate::parse("spiffe://pay.example/{region}/x/{env}/{workload}").unwrap();
    let shape = two.derive("a").unwrap();
    let made = two.id(&shape, "eu/prod").unwrap();
    assert_eq!(two.read(&made), Some((shape, "eu/prod".to_owned())));
    let one = template();
    for text in
        ["spiffe://pay.example", "spiffe://other.example/prod/a", "spiffe://pay.example/cellwall/a"]
    {
        assert_eq!(one.read(&id(text)), None, "{text}");
    }
}

#[test]
fn an_id_is_read_by_whole_segments_byte_by_byte() {
    // AZ-04, SPID-09
    check("spiffe://pay.example/prod/checkout", Some("checkout"), None);
    check("spiffe://pay.example/staging/checkout", Some("checkout"), Some("env"));
    check("spiffe://pay.example/prod/vm/ledger-db", Some("ledger-db"), None);
    check("spiffe://pay.example/staging/vm/ledger-db", Some("ledger-db"), Some("env"));
    for near in [
        "ledger-db",
        "Checkout",
        "checkou",
        "checkout1",
        "checkout/",
        "checkout/a",
        "vm",
        "vm/ledger",
        "vm/ledger-db/a",
        "vm/Ledger-db",
        "check.ut",
    ] {
        let near = near.trim_end_matches('/');
        if near == "checkout" {
            continue;
        }
        check(&format!("spiffe://pay.example/prod/{near}"), None, None);
    }
    for far in ["Prod/checkout", "prod1/checkout", "pro/checkout", "prod.x/checkout", "x/y/z"] {
        let expected = (far.ends_with("/checkout")).then_some("checkout");
        check(&format!("spiffe://pay.example/{far}"), expected, Some("env"));
    }
    // Without the variable, of another trust domain, and Cellwall's own.
    check("spiffe://pay.example", None, Some("env"));
    check("spiffe://other.example/prod/checkout", None, Some("env"));
    check("spiffe://pay.example.org/prod/checkout", None, Some("env"));
    check("spiffe://pay.example/cellwall/control-plane", None, Some("env"));
    check("spiffe://pay.example/prod", None, None);
}

#[test]
fn a_reserved_id_stands_on_the_far_side_wherever_the_variable_is() {
    let template = IdentityTemplate::parse("spiffe://pay.example/{workload}/{env}").unwrap();
    let callee = id("spiffe://pay.example/payments/prod");
    let index = IdentityIndex::new(&template, &callee).unwrap();
    for (caller, crossed) in [("nobody/prod", None), ("cellwall/prod", Some("env"))] {
        let caller = id(&format!("spiffe://pay.example/{caller}"));
        let reading = index.read(&caller);
        let first = index.first(reading.crossed).map(|name| &**name);
        assert_eq!((reading.caller, first), (None, crossed));
    }
}

#[test]
fn two_callers_with_the_same_ids_are_refused() {
    let template = template();
    let mut index = index();
    let shape = template.shape("/{env}/checkout", "other").unwrap();
    assert_eq!(index.insert(Arc::from("other"), &shape), None);
}

#[test]
fn only_canonical_ids_of_legal_length_are_read() {
    let longest = format!("spiffe://a/{}", "b".repeat(2048 - 11));
    assert!(canonical_id(&longest).is_some());
    for text in [
        "",
        "spiffe://A/b",
        "SPIFFE://a/b",
        "spiffe://a/b/",
        "spiffe://a/%62",
        "spiffe://a/./b",
        "spiffe://a:1/b",
        &format!("{longest}b"),
    ] {
        assert_eq!(canonical_id(text), None, "{text}");
    }
    for (text, reserved) in [
        ("spiffe://a/cellwall", true),
        ("spiffe://a/cellwall/control-plane", true),
        ("spiffe://a/cellwalls", false),
        ("spiffe://a/Cellwall/x", false),
        ("spiffe://a/b/cellwall", false),
        ("spiffe://a", false),
    ] {
        assert_eq!(is_reserved(&id(text)), reserved, "{text}");
    }
}

proptest! {
    #[test]
    fn an_id_one_byte_off_is_another_one(at in 0usize..40, byte in b'a'..=b'z') {
        let mut text = "spiffe://pay.example/prod/checkout".to_owned().into_bytes();
        let at = 9 + at % (text.len() - 9);
        let changed = text[at] != byte;
        text[at] = byte;
        if let Ok(near) = SpiffeId::new(String::from_utf8(text).unwrap()) {
            let index = index();
            let reading = index.read(&near);
            prop_assert_eq!(reading.caller.is_some() && reading.crossed == Variables::default(), !changed);
        }
    }
}
