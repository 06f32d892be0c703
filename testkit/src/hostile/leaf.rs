//! What a leaf may and may not say about its key (X5-07 … X5-13, ID-06, ID-07).

use super::{Case, Directions, World};
use crate::{
    ca::{Svid, TestCa},
    der,
    x509::{Algorithm, Constraints, Draft, Extension, Key, Usage, oid},
};

pub(super) fn cases(world: &World<'_>) -> Vec<Case> {
    let mut cases = constraints(world);
    cases.extend(key_usages(world));
    cases.extend(extended_key_usages(world));
    cases.extend(signing_certificates(world));
    cases.extend(odd_extensions(world));
    cases
}

fn case(
    world: &World<'_>,
    name: &'static str,
    expected: &'static [&'static str],
    change: impl FnOnce(Draft) -> Draft,
) -> Case {
    let draft = change(TestCa::svid_draft(&world.id()));
    Case::new(name, expected, world.ca.svid_from(&draft))
}

/// An extension whose value is no element of the type that it should be.
fn nonsense(oid: &[u64]) -> Extension {
    Extension::critical(oid, der::element(der::UTF8_STRING, b"nonsense"))
}

fn constraints(world: &World<'_>) -> Vec<Case> {
    let (ca, leaf) = (Constraints::Ca, Constraints::Leaf);
    let ca = Extension::basic_constraints(ca);
    let plain_ca = Extension { critical: false, ..ca.clone() };
    vec![
        case(world, "leaf-is-ca", &["leaf_is_ca"], |draft| draft.instead(ca)),
        case(world, "leaf-is-ca-not-critical", &["leaf_is_ca"], |draft| draft.instead(plain_ca)),
        case(world, "leaf-is-ca-path-length-0", &["leaf_is_ca"], |draft| {
            draft.instead(Extension::basic_constraints(Constraints::CaWithPathLength(0)))
        }),
        // X5-08: the default is no CA, and yet it must be written.
        case(world, "basic-constraints-absent", &["basic_constraints_missing"], |draft| {
            draft.without(oid::BASIC_CONSTRAINTS)
        }),
        case(world, "basic-constraints-twice", &["duplicate_extension"], |draft| {
            draft.with(Extension::basic_constraints(leaf))
        }),
        case(world, "basic-constraints-malformed", &["malformed"], |draft| {
            draft.instead(nonsense(oid::BASIC_CONSTRAINTS))
        }),
    ]
}

fn key_usages(world: &World<'_>) -> Vec<Case> {
    let forbidden: [(&str, &[Usage]); 6] = [
        ("key-usage-key-agreement-only", &[Usage::KeyAgreement]),
        ("key-usage-key-encipherment-only", &[Usage::KeyEncipherment]),
        ("key-usage-with-cert-sign", &[Usage::DigitalSignature, Usage::KeyCertSign]),
        ("key-usage-with-crl-sign", &[Usage::DigitalSignature, Usage::CrlSign]),
        (
            "key-usage-with-both-ca-bits",
            &[Usage::DigitalSignature, Usage::KeyCertSign, Usage::CrlSign],
        ),
        ("key-usage-ca-bits-only", &[Usage::KeyCertSign, Usage::CrlSign]),
    ];
    let mut cases = Vec::new();
    for (name, usages) in forbidden {
        cases.push(case(world, name, &["key_usage_forbidden"], |draft| {
            draft.instead(Extension::key_usage(usages))
        }));
    }
    cases.push(case(world, "key-usage-absent", &["key_usage_missing"], |draft| {
        draft.without(oid::KEY_USAGE)
    }));
    // RFC 5280 §4.2.1.3 wants at least one bit: no digitalSignature, and not well-formed.
    cases.push(case(world, "key-usage-empty", &["key_usage_forbidden", "malformed"], |draft| {
        draft.instead(Extension::key_usage(&[]))
    }));
    cases.push(case(world, "key-usage-twice", &["duplicate_extension"], |draft| {
        draft.with(Extension::key_usage(&[Usage::DigitalSignature, Usage::KeyCertSign]))
    }));
    cases.push(case(world, "key-usage-malformed", &["malformed"], |draft| {
        draft.instead(nonsense(oid::KEY_USAGE))
    }));
    cases
}

fn extended_key_usages(world: &World<'_>) -> Vec<Case> {
    let role = &["extended_key_usage_role"];
    let with = |name, purposes: &[&[u64]]| {
        case(world, name, role, |draft| draft.instead(Extension::extended_key_usage(purposes)))
    };
    vec![
        case(world, "extended-key-usage-absent", &["extended_key_usage_missing"], |draft| {
            draft.without(oid::EXTENDED_KEY_USAGE)
        }),
        with("extended-key-usage-client-only", &[oid::CLIENT_AUTH]).only(Directions::ServerOnly),
        with("extended-key-usage-server-only", &[oid::SERVER_AUTH]).only(Directions::ClientOnly),
        with("extended-key-usage-any-only", &[oid::ANY_USAGE]),
        with("extended-key-usage-code-signing-only", &[oid::CODE_SIGNING]),
        with("extended-key-usage-unknown-only", &[oid::UNKNOWN]),
        case(world, "extended-key-usage-twice", &["duplicate_extension"], |draft| {
            draft.with(Extension::extended_key_usage(&[oid::SERVER_AUTH, oid::CLIENT_AUTH]))
        }),
        case(world, "extended-key-usage-malformed", &["malformed"], |draft| {
            draft.instead(nonsense(oid::EXTENDED_KEY_USAGE))
        }),
    ]
}

/// X5-07: a signing certificate is nobody's credential, in whoever's hands.
fn signing_certificates(world: &World<'_>) -> Vec<Case> {
    let held = |ca: &TestCa| Svid {
        chain: vec![ca.certificate()],
        key: ca.key().pkcs8(),
        ..ca.svid(&world.id())
    };
    // Their SPIFFE IDs have no path, they are CAs, and their usages are those of CAs.
    let all: &[&str] =
        &["leaf_is_ca", "spiffe_id_no_path", "key_usage_forbidden", "extended_key_usage_missing"];
    let intermediate = world.ca.intermediate();
    let dressed = TestCa::svid_draft(&world.id())
        .instead(Extension::basic_constraints(Constraints::Ca))
        .instead(Extension::key_usage(&[Usage::DigitalSignature, Usage::KeyCertSign]));
    vec![
        Case::new("ca-root-presented", all, held(world.ca)),
        Case::new("ca-intermediate-presented", all, held(&intermediate)),
        Case::new("ca-partner-root-presented", all, held(&world.partner)),
        // A CA in a workload's clothes; what gives it away is cA, and keyCertSign.
        Case::new(
            "ca-with-a-workloads-id",
            &["leaf_is_ca", "key_usage_forbidden"],
            world.ca.svid_from(&dressed),
        ),
    ]
}

fn odd_extensions(world: &World<'_>) -> Vec<Case> {
    let unknown = Extension::critical(oid::UNKNOWN, der::boolean_true());
    let twice = Extension::plain(oid::UNKNOWN, der::boolean_true());
    let identifier = Extension::authority_key_identifier(&world.ca.key().identifier());
    vec![
        case(world, "leaf-unknown-critical-extension", &["unknown_critical_extension"], |draft| {
            draft.with(unknown)
        }),
        case(world, "leaf-unknown-extension-twice", &["duplicate_extension"], |draft| {
            draft.with(twice.clone()).with(twice)
        }),
        case(world, "leaf-authority-key-identifier-twice", &["duplicate_extension"], |draft| {
            draft.with(identifier)
        }),
    ]
}

pub(super) fn controls(world: &World<'_>) -> Vec<Case> {
    let draft = TestCa::svid_draft(&world.id());
    let p384 = Key::generate(Algorithm::P384);
    vec![
        Case::new("control-p384-leaf", &[], world.ca.svid_for(&draft, &p384)),
        case(world, "control-unknown-extension", &[], |draft| {
            draft.with(Extension::plain(oid::UNKNOWN, der::boolean_true()))
        }),
        case(world, "control-empty-subject", &[], |mut draft| {
            draft.subject = None;
            draft
        }),
        case(world, "control-further-purpose", &[], |draft| {
            draft.instead(Extension::extended_key_usage(&[
                oid::CODE_SIGNING,
                oid::SERVER_AUTH,
                oid::CLIENT_AUTH,
            ]))
        }),
        case(world, "control-client-only-as-client", &[], |draft| {
            draft.instead(Extension::extended_key_usage(&[oid::CLIENT_AUTH]))
        })
        .only(Directions::ClientOnly),
        case(world, "control-server-only-as-server", &[], |draft| {
            draft.instead(Extension::extended_key_usage(&[oid::SERVER_AUTH]))
        })
        .only(Directions::ServerOnly),
    ]
}
