//! Subject alternative names (X5-01, X5-02, X5-03, SPID-01 … SPID-08, ID-01, ID-03, ID-04).

use super::{Case, PATH, World};
use crate::{
    ca::TestCa,
    x509::{Extension, Name, oid},
};

/// A label of a trust domain's name, as long as a name may be: 255 bytes.
fn longest_trust_domain() -> String {
    "t".repeat(255)
}

pub(super) fn unusual_trust_domains() -> Vec<TestCa> {
    // SPID-05: what looks like an address is a name like any other.
    ["10.0.0.1", "under_score-and.dots", &longest_trust_domain()].map(TestCa::new).into()
}

pub(super) fn cases(world: &World<'_>) -> Vec<Case> {
    let mut cases = single_uris(world);
    cases.extend(no_uri(world));
    cases.extend(several_uris(world));
    cases
}

// Certificates that are right but for the bytes of their one URI. `TD` stands for the trust
// domain, `Td` for its upper-case form.

const NOT_CANONICAL: &[(&str, &str)] = &[
    // ID-03: the same ID once case is folded. Refused, not folded.
    ("uri-upper-case-scheme", "SPIFFE://TD/prod/checkout"),
    ("uri-mixed-case-scheme", "Spiffe://TD/prod/checkout"),
    ("uri-upper-case-trust-domain", "spiffe://Td/prod/checkout"),
    ("uri-upper-case-both", "SPIFFE://Td/prod/checkout"),
];

const INVALID: &[(&str, &str)] = &[
    // SPID-01.
    ("uri-empty", ""),
    ("uri-scheme-http", "http://TD/prod/checkout"),
    ("uri-scheme-https", "https://TD/prod/checkout"),
    ("uri-scheme-longer", "spiffes://TD/prod/checkout"),
    ("uri-scheme-missing", "//TD/prod/checkout"),
    ("uri-one-slash", "spiffe:/TD/prod/checkout"),
    ("uri-no-slash", "spiffe:TD/prod/checkout"),
    ("uri-three-slashes", "spiffe:///TD/prod/checkout"),
    ("uri-empty-trust-domain", "spiffe:///prod/checkout"),
    ("uri-scheme-only", "spiffe://"),
    ("uri-query", "spiffe://TD/prod/checkout?a=b"),
    ("uri-empty-query", "spiffe://TD/prod/checkout?"),
    ("uri-fragment", "spiffe://TD/prod/checkout#x"),
    ("uri-empty-fragment", "spiffe://TD/prod/checkout#"),
    // SPID-02.
    ("uri-userinfo", "spiffe://root@TD/prod/checkout"),
    ("uri-empty-userinfo", "spiffe://@TD/prod/checkout"),
    ("uri-userinfo-hides-host", "spiffe://TD@evil.example/prod/checkout"),
    ("uri-port", "spiffe://TD:80/prod/checkout"),
    ("uri-empty-port", "spiffe://TD:/prod/checkout"),
    ("uri-port-without-host", "spiffe://:80/prod/checkout"),
    ("uri-ipv6-literal", "spiffe://[::1]/prod/checkout"),
    // SPID-04.
    ("uri-percent-in-trust-domain", "spiffe://pay%2eexample/checkout"),
    ("uri-space-in-trust-domain", "spiffe://pay example/checkout"),
    // SPID-06.
    ("uri-percent-letter", "spiffe://TD/prod/%63heckout"),
    ("uri-percent-slash", "spiffe://TD/prod%2fcheckout"),
    ("uri-percent-nul", "spiffe://TD/prod/checkout%00"),
    ("uri-dot-segment", "spiffe://TD/./prod/checkout"),
    ("uri-dot-dot-segment", "spiffe://TD/staging/../prod/checkout"),
    ("uri-dot-dot-at-the-end", "spiffe://TD/prod/checkout/.."),
    ("uri-empty-segment", "spiffe://TD/prod//checkout"),
    ("uri-trailing-slash", "spiffe://TD/prod/checkout/"),
    ("uri-root-with-slash", "spiffe://TD/"),
    ("uri-path-parameter", "spiffe://TD/prod/checkout;v=1"),
    ("uri-backslash", "spiffe://TD/prod\\checkout"),
    ("uri-wildcard", "spiffe://TD/prod/*"),
    ("uri-plus", "spiffe://TD/prod/check+out"),
    // ID-04: a reader that stops at the NUL sees another ID.
    ("uri-nul-in-path", "spiffe://TD/prod/checkout\0.evil"),
    ("uri-nul-in-trust-domain", "spiffe://TD\0.evil.example/checkout"),
    ("uri-leading-space", " spiffe://TD/prod/checkout"),
    ("uri-trailing-space", "spiffe://TD/prod/checkout "),
    ("uri-trailing-newline", "spiffe://TD/prod/checkout\n"),
    ("uri-tab", "spiffe://TD/prod\t/checkout"),
    ("uri-delete-character", "spiffe://TD/prod/checkout\x7f"),
];

const NOT_ASCII: &[(&str, &str)] = &[
    // Two rules at once: no character of a SPIFFE ID, and none of an IA5String.
    ("uri-non-ascii", "spiffe://TD/prod/chéckout"),
    ("uri-homograph", "spiffe://TD/prod/сheckout"),
];

const NO_PATH: &[(&str, &str)] = &[
    // X5-03.
    ("uri-without-path", "spiffe://TD"),
];

const NOBODYS: &[(&str, &str)] = &[
    // X5-16: a name that only begins, or ends, like ours is nobody we know.
    ("uri-trust-domain-longer", "spiffe://TD.evil.example/prod/checkout"),
    ("uri-trust-domain-prefixed", "spiffe://evil.TD/prod/checkout"),
    ("uri-trust-domain-final-dot", "spiffe://TD./prod/checkout"),
];

fn single_uris(world: &World<'_>) -> Vec<Case> {
    let td = world.ca.trust_domain();
    let upper = td.to_ascii_uppercase();
    let mut cases = Vec::new();
    let mut add = |expected, uris: &[(&'static str, &str)]| {
        for (name, pattern) in uris {
            let id = pattern.replace("TD", td).replace("Td", &upper);
            cases.push(Case::new(name, expected, world.ca.svid(&id)));
        }
    };
    add(&["san_not_canonical"], NOT_CANONICAL);
    add(&["spiffe_id_invalid"], INVALID);
    add(&["spiffe_id_invalid", "malformed"], NOT_ASCII);
    add(&["spiffe_id_no_path"], NO_PATH);
    add(&["unknown_trust_domain"], NOBODYS);

    let id = world.id();
    let long = |length: usize| format!("{id}{}", "a".repeat(length - id.len()));
    // SPID-08.
    cases.push(Case::new("uri-2049-bytes", &["spiffe_id_too_long"], world.ca.svid(&long(2049))));
    let id = long(20_000);
    cases.push(Case::new("uri-20000-bytes", &["spiffe_id_too_long"], world.ca.svid(&id)));
    let id = format!("spiffe://t{}{PATH}", longest_trust_domain());
    cases.push(Case::new("uri-trust-domain-256-bytes", &["spiffe_id_invalid"], world.ca.svid(&id)));
    let latin1 = [b"spiffe://", td.as_bytes(), b"/prod/ch\xe9ckout"].concat();
    let names = Extension::names(&[Name::Uri(&latin1)]);
    // As above: no character of a SPIFFE ID, none of an IA5String, and not even UTF-8.
    cases.push(with_names(world, "uri-latin-1", &["spiffe_id_invalid", "malformed"], names));
    cases
}

fn no_uri(world: &World<'_>) -> Vec<Case> {
    let id = world.id();
    let bytes = id.as_bytes();
    let td = world.ca.trust_domain().as_bytes();
    let none = &["no_uri_san"];
    let mut subject = TestCa::svid_draft(&id).without(oid::SUBJECT_ALT_NAME);
    let bare = world.ca.svid_from(&subject);
    subject.subject = Some(id.clone());
    vec![
        Case::new("san-absent", none, bare),
        Case::new("san-absent-id-in-common-name", none, world.ca.svid_from(&subject)),
        with_names(world, "san-dns-only", none, Extension::names(&[Name::Dns(td)])),
        with_names(world, "san-id-as-dns-name", none, Extension::names(&[Name::Dns(bytes)])),
        with_names(world, "san-id-as-email", none, Extension::names(&[Name::Email(bytes)])),
        // RFC 5280 §4.2.1.6 wants at least one name: no URI, and not well-formed.
        with_names(world, "san-empty", &["no_uri_san", "malformed"], Extension::names(&[])),
    ]
}

fn several_uris(world: &World<'_>) -> Vec<Case> {
    let (id, other) = (world.id(), format!("spiffe://{}/prod/ledger", world.ca.trust_domain()));
    let partner = format!("spiffe://{}{PATH}", world.partner.trust_domain());
    let (id, other, partner) = (id.as_bytes(), other.as_bytes(), partner.as_bytes());
    let http = b"http://pay.example/prod/checkout".as_slice();
    let pairs = [
        ("san-two-ids", [id, other]),
        ("san-two-ids-of-two-trust-domains", [partner, id]),
        ("san-id-then-http", [id, http]),
        ("san-http-then-id", [http, id]),
        ("san-same-id-twice", [id, id]),
        ("san-id-then-empty-uri", [id, b""]),
    ];
    let mut cases = Vec::new();
    for (name, uris) in pairs {
        let names = Extension::names(&uris.map(Name::Uri));
        cases.push(with_names(world, name, &["multiple_uri_sans"], names));
    }
    let between = Extension::names(&[Name::Uri(id), Name::Dns(b"a.example"), Name::Uri(other)]);
    cases.push(with_names(world, "san-dns-between-ids", &["multiple_uri_sans"], between));
    for (name, second) in [("san-extension-twice", other), ("san-extension-twice-same", id)] {
        let draft = TestCa::svid_draft(&world.id()).with(Extension::names(&[Name::Uri(second)]));
        cases.push(Case::new(name, &["duplicate_extension"], world.ca.svid_from(&draft)));
    }
    cases
}

fn with_names(
    world: &World<'_>,
    name: &'static str,
    expected: &'static [&'static str],
    names: Extension,
) -> Case {
    let draft = TestCa::svid_draft(&world.id()).instead(names);
    Case::new(name, expected, world.ca.svid_from(&draft))
}

pub(super) fn controls(world: &World<'_>) -> Vec<Case> {
    let id = world.id();
    let td = world.ca.trust_domain();
    let dns = Extension::names(&[
        Name::Dns(b"checkout.pay.example"),
        Name::Uri(id.as_bytes()),
        Name::Email(b"checkout@pay.example"),
    ]);
    let critical = Extension { critical: true, ..Extension::names(&[Name::Uri(id.as_bytes())]) };
    // SPID-07.
    let longest = format!("{id}{}", "a".repeat(2048 - id.len()));
    let mut controls = vec![
        Case::new("control-plain", &[], world.ca.svid(&id)),
        Case::new("control-2048-bytes", &[], world.ca.svid(&longest)),
        Case::new(
            "control-odd-segments",
            &[],
            world.ca.svid(&format!("spiffe://{td}/.../a..b/_-")),
        ),
        Case::new("control-upper-case-path", &[], world.ca.svid(&format!("spiffe://{td}/Prod/A"))),
        with_names(world, "control-one-uri-among-others", &[], dns),
        with_names(world, "control-critical-san", &[], critical),
        Case::new("control-partner", &[], world.partner.svid("spiffe://partner.example/prod/a")),
    ];
    let names = ["control-numeric", "control-underscore", "control-255-byte-trust-domain"];
    for (name, ca) in names.into_iter().zip(&world.unusual) {
        let id = format!("spiffe://{}{PATH}", ca.trust_domain());
        controls.push(Case::new(name, &[], ca.svid(&id)));
    }
    controls
}
