//! What certificates between leaf and root may not be (X5-05, X5-06, X5-15, ID-08, ID-10).

use super::{Case, DAY, World};
use crate::{
    ca::{Svid, TestCa},
    der::{self, Form},
    x509::{Constraints, Draft, Extension, Name, Usage, Validity, oid},
};

/// `nameConstraints` → `permittedSubtrees`.
const PERMITTED: u8 = 0;
/// `nameConstraints` → `excludedSubtrees`.
const EXCLUDED: u8 = 1;

pub(super) fn cases(world: &World<'_>) -> Vec<Case> {
    let mut cases = authority(world);
    cases.extend(identity(world));
    cases.extend(path_length(world));
    cases.extend(validity(world));
    cases.extend(name_constraints(world));
    cases.extend(chains(world));
    cases
}

/// A right leaf below an intermediate that is not.
fn below(
    world: &World<'_>,
    name: &'static str,
    expected: &'static [&'static str],
    change: impl FnOnce(Draft) -> Draft,
) -> Case {
    let intermediate = world.ca.intermediate_from(&change(world.ca.intermediate_draft()));
    Case::new(name, expected, intermediate.svid(&world.id()))
}

fn authority(world: &World<'_>) -> Vec<Case> {
    let leaf = Extension::basic_constraints(Constraints::Leaf);
    let usage = Extension::key_usage;
    // The second of two intermediates is the bad one: not only the leaf's own issuer is looked at.
    let upper = world.ca.intermediate_draft().instead(leaf.clone());
    let upper = world.ca.intermediate_from(&upper).intermediate();
    let unsigning = usage(&[Usage::DigitalSignature]);
    let unsigning = world.ca.intermediate_draft().instead(unsigning);
    let unsigning = world.ca.intermediate_from(&unsigning).intermediate();
    vec![
        below(world, "issuer-basic-constraints-absent", &["issuer_not_ca"], |draft| {
            draft.without(oid::BASIC_CONSTRAINTS)
        }),
        below(world, "issuer-no-ca", &["issuer_not_ca"], |draft| draft.instead(leaf)),
        Case::new("issuers-issuer-no-ca", &["issuer_not_ca"], upper.svid(&world.id())),
        below(world, "issuer-without-cert-sign", &["issuer_key_usage"], |draft| {
            draft.instead(usage(&[Usage::DigitalSignature, Usage::CrlSign]))
        }),
        // X5-09: an SVID has a key usage, a signing one too.
        below(world, "issuer-key-usage-absent", &["issuer_key_usage"], |draft| {
            draft.without(oid::KEY_USAGE)
        }),
        Case::new(
            "issuers-issuer-without-cert-sign",
            &["issuer_key_usage"],
            unsigning.svid(&world.id()),
        ),
        leaf_signs_leaf(world),
        below(
            world,
            "issuer-unknown-critical-extension",
            &["unknown_critical_extension"],
            |draft| draft.with(Extension::critical(oid::UNKNOWN, der::boolean_true())),
        ),
        below(world, "issuer-basic-constraints-twice", &["duplicate_extension"], |draft| {
            draft.with(Extension::basic_constraints(Constraints::Ca))
        }),
        below(world, "issuer-key-usage-twice", &["duplicate_extension"], |draft| {
            draft.with(usage(&[Usage::KeyCertSign]))
        }),
    ]
}

/// A workload makes itself a CA. Its certificate is no CA, must not sign certificates, and has an
/// ID with a path.
fn leaf_signs_leaf(world: &World<'_>) -> Case {
    let mut draft =
        TestCa::svid_draft(&format!("spiffe://{}/prod/intruder", world.ca.trust_domain()));
    draft.subject = Some("intruder".to_owned());
    let intruder = world.ca.intermediate_from(&draft);
    let expected = &["issuer_not_ca", "issuer_key_usage", "issuer_spiffe_id"];
    Case::new("leaf-signs-leaf", expected, intruder.svid(&world.id()))
}

fn identity(world: &World<'_>) -> Vec<Case> {
    let td = world.ca.trust_domain();
    let named = |name, uri: &str| {
        let names = Extension::names(&[Name::Uri(uri.as_bytes())]);
        below(world, name, &["issuer_spiffe_id"], |draft| draft.instead(names))
    };
    vec![
        named("issuer-with-an-svids-path", &format!("spiffe://{td}/prod/checkout")),
        named("issuer-of-another-trust-domain", "spiffe://partner.example"),
        named("issuer-of-a-longer-trust-domain", &format!("spiffe://{td}.evil.example")),
    ]
}

fn path_length(world: &World<'_>) -> Vec<Case> {
    let limited = |ca: &TestCa, length| {
        let constraints = Extension::basic_constraints(Constraints::CaWithPathLength(length));
        ca.intermediate_from(&ca.intermediate_draft().instead(constraints))
    };
    let one_too_many = limited(world.ca, 0).intermediate();
    let two_too_many = limited(world.ca, 0).intermediate().intermediate();
    let second_limit = limited(&world.ca.intermediate(), 0).intermediate();
    let of_one = limited(world.ca, 1).intermediate().intermediate();
    let case = |name, ca: &TestCa| Case::new(name, &["path_length"], ca.svid(&world.id()));
    vec![
        case("path-length-0-exceeded", &one_too_many),
        case("path-length-0-exceeded-by-two", &two_too_many),
        case("path-length-0-in-the-middle", &second_limit),
        case("path-length-1-exceeded", &of_one),
    ]
}

fn validity(world: &World<'_>) -> Vec<Case> {
    let now = world.now;
    let past = Validity { not_before: now - 2 * DAY, not_after: now - DAY };
    let future = Validity::starting(now + DAY, DAY);
    let upper = world.ca.intermediate_draft().valid(past);
    let upper = world.ca.intermediate_from(&upper).intermediate();
    vec![
        below(world, "issuer-expired", &["expired"], |draft| draft.valid(past)),
        below(world, "issuer-not-yet-valid", &["not_yet_valid"], |draft| draft.valid(future)),
        Case::new("issuers-issuer-expired", &["expired"], upper.svid(&world.id())),
    ]
}

/// RFC 5280 §4.2.1.10 by hand: one subtree, of one name.
fn subtree(list: u8, name: Name<'_>) -> Extension {
    let tag = der::context(list, Form::Constructed);
    let value = der::sequence(&[&der::element(tag, &der::sequence(&[&name.der()]))]);
    Extension::critical(oid::NAME_CONSTRAINTS, value)
}

/// ID-10: no reader agrees with another on what constraints on URIs mean, so none is tolerated,
/// not even one that our ID would satisfy; those on DNS names bind.
fn name_constraints(world: &World<'_>) -> Vec<Case> {
    let td = world.ca.trust_domain();
    let expected = &["name_constraints"];
    let id = world.id();
    let dns_leaf = |name, constraint, dns: &[u8]| {
        let draft = world.ca.intermediate_draft().with(constraint);
        let names = Extension::names(&[Name::Uri(id.as_bytes()), Name::Dns(dns)]);
        let leaf = TestCa::svid_draft(&id).instead(names);
        Case::new(name, expected, world.ca.intermediate_from(&draft).svid_from(&leaf))
    };
    let uri_leaf = |name, list, uri: &[u8]| {
        let constraint = subtree(list, Name::Uri(uri));
        below(world, name, expected, |draft| draft.with(constraint))
    };
    vec![
        uri_leaf("constraint-uri-permitted-ours", PERMITTED, td.as_bytes()),
        uri_leaf("constraint-uri-permitted-other", PERMITTED, b"other.example"),
        uri_leaf("constraint-uri-excluded-ours", EXCLUDED, td.as_bytes()),
        uri_leaf("constraint-uri-excluded-other", EXCLUDED, b"other.example"),
        dns_leaf(
            "constraint-dns-outside-permitted",
            subtree(PERMITTED, Name::Dns(b"pay.example")),
            b"evil.example",
        ),
        dns_leaf(
            "constraint-dns-inside-excluded",
            subtree(EXCLUDED, Name::Dns(b"evil.example")),
            b"www.evil.example",
        ),
        // RUSTSEC-2026-0099: the wildcard covers what the constraint excludes.
        dns_leaf(
            "constraint-dns-wildcard-over-excluded",
            subtree(EXCLUDED, Name::Dns(b"secret.pay.example")),
            b"*.pay.example",
        ),
    ]
}

/// TLS-05, ID-13.
fn chains(world: &World<'_>) -> Vec<Case> {
    let fat = |bytes: usize| {
        Extension::plain(oid::UNKNOWN, der::element(der::OCTET_STRING, &vec![0; bytes]))
    };
    let plain = world.ca.svid(&world.id());
    let padded = |extra: usize| {
        let mut svid = plain.clone();
        svid.chain.extend((0..extra).map(|_| world.ca.intermediate().certificate()));
        svid
    };
    let draft = TestCa::svid_draft(&world.id()).with(fat(33 * 1024));
    let mut heap = plain.clone();
    let part = world.ca.intermediate_draft().with(fat(6 * 1024));
    heap.chain.extend((0..6).map(|_| world.ca.intermediate_from(&part).certificate()));
    vec![
        Case::new("chain-of-9", &["chain_too_long"], padded(8)),
        Case::new("chain-of-40", &["chain_too_long"], padded(39)),
        Case::new("chain-one-fat-leaf", &["chain_too_large"], world.ca.svid_from(&draft)),
        below(world, "chain-one-fat-issuer", &["chain_too_large"], |draft| {
            draft.with(fat(33 * 1024))
        }),
        Case::new("chain-fat-in-sum", &["chain_too_large"], heap),
        Case::new("chain-without-its-issuer", &["unknown_issuer"], without_issuer(world, 1)),
        Case::new("chain-without-the-upper-issuer", &["unknown_issuer"], without_issuer(world, 2)),
        pathological(world),
    ]
}

/// A leaf below two intermediates, with the certificate at `index` taken out of the chain.
fn without_issuer(world: &World<'_>, index: usize) -> Svid {
    let mut svid = world.ca.intermediate().intermediate().svid(&world.id());
    svid.chain.remove(index);
    svid
}

/// ID-12: seven authorities of one name that could all have signed each other. The name leads in
/// circles and never to the root.
fn pathological(world: &World<'_>) -> Case {
    let stranger = TestCa::new(world.ca.trust_domain());
    let mut draft = world.ca.intermediate_draft();
    draft.subject = stranger.signer().name.map(ToOwned::to_owned);
    let draft = Draft { subject: Some("circle".to_owned()), ..draft };
    let mut authority = stranger.intermediate_from(&draft);
    for _ in 0..6 {
        authority = authority.intermediate_from(&draft);
    }
    let mut svid = authority.svid(&world.id());
    // Without the one that leads out of the circle, to a root that nobody trusts.
    svid.chain.truncate(7);
    // A reader with a budget for signatures may stop at it.
    Case::new("chain-in-circles", &["unknown_issuer", "path_length"], svid)
}

pub(super) fn controls(world: &World<'_>) -> Vec<Case> {
    let plain = world.ca.svid(&world.id());
    let mut padded = plain.clone();
    padded.chain.extend((0..7).map(|_| world.partner.intermediate().certificate()));
    let mut with_root = plain;
    with_root.chain.push(world.ca.root());
    let two = world.ca.intermediate().intermediate().svid(&world.id());
    let mut shuffled = two.clone();
    shuffled.chain.swap(1, 2);
    let length = Extension::basic_constraints(Constraints::CaWithPathLength(0));
    let constraint = subtree(PERMITTED, Name::Dns(b"pay.example"));
    vec![
        Case::new("control-two-intermediates", &[], two),
        Case::new("control-intermediates-out-of-order", &[], shuffled),
        Case::new("control-root-in-the-chain", &[], with_root),
        Case::new("control-chain-of-8-with-strangers", &[], padded),
        below(world, "control-path-length-kept", &[], |draft| draft.instead(length)),
        // X5-05: a signing certificate may have no ID at all.
        below(world, "control-issuer-without-id", &[], |draft| {
            draft.without(oid::SUBJECT_ALT_NAME)
        }),
        below(world, "control-dns-constraint-without-dns-name", &[], |draft| {
            draft.with(constraint)
        }),
    ]
}
