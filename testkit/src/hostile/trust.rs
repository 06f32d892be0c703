//! Time and trust: validity, anchors, whose root signed for whom (X5-16, ID-05, ID-09, ID-11).

use std::time::Duration;

use super::{Case, DAY, MINUTE, PATH, World};
use crate::{
    ca::{Svid, TestCa},
    x509::{Algorithm, Key, Signer, Validity},
};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn cases(world: &World<'_>) -> Vec<Case> {
    let mut cases = validity(world);
    cases.extend(anchors(world));
    cases.extend(trust_domains(world));
    cases.extend(strangers(world));
    cases.extend(signatures(world));
    cases
}

fn validity(world: &World<'_>) -> Vec<Case> {
    let now = world.now;
    let case = |name, expected, not_before, not_after| {
        let validity = Validity { not_before, not_after };
        Case::new(name, expected, world.ca.svid_valid(&world.id(), validity))
    };
    let (begin, end) = (now - 30 * DAY, now + DAY);
    vec![
        // No grace: the certificate ended two seconds ago, one of which may be lost to rounding.
        case("leaf-just-expired", &["expired"], begin, now - 2 * SECOND),
        case("leaf-long-expired", &["expired"], begin, now - 29 * DAY),
        // A minute ahead, so that a slow test does not reach it.
        case("leaf-not-yet-valid", &["not_yet_valid"], now + MINUTE, end),
        case("leaf-valid-tomorrow", &["not_yet_valid"], now + DAY, now + 2 * DAY),
        // Ended before it began: it is neither valid yet, nor any more, nor well-formed.
        case(
            "leaf-validity-inverted",
            &["expired", "not_yet_valid", "malformed"],
            now + DAY,
            now - DAY,
        ),
        case(
            "leaf-expired-in-1970",
            &["expired"],
            std::time::UNIX_EPOCH,
            std::time::UNIX_EPOCH + DAY,
        ),
    ]
}

/// ID-11: webpki would accept these, since it reads no validity from an anchor.
fn anchors(world: &World<'_>) -> Vec<Case> {
    let expected = &["anchors_expired"];
    let of = |ca: &TestCa| ca.svid(&format!("spiffe://{}{PATH}", ca.trust_domain()));
    vec![
        Case::new("root-expired", expected, of(&world.expired)),
        Case::new("root-expired-intermediate-not", expected, of(&world.expired.intermediate())),
        Case::new("root-not-yet-valid", expected, of(&world.future)),
    ]
}

/// X5-16: a root vouches for its own trust domain and for no other.
fn trust_domains(world: &World<'_>) -> Vec<Case> {
    let ours = world.id();
    let theirs = format!("spiffe://{}{PATH}", world.partner.trust_domain());
    let nobodys = format!("spiffe://nowhere.example{PATH}");
    let sent_along = |mut svid: Svid, ca: &TestCa| {
        svid.chain.push(ca.root());
        svid
    };
    let unknown = &["unknown_issuer"];
    let partners = sent_along(world.partner.svid(&ours), &world.partner);
    // The intermediate is of the wrong trust domain, and of no issuer that counts for ours.
    let middle: &[&str] = &["unknown_issuer", "issuer_spiffe_id"];
    vec![
        Case::new("cross-partner-signs-ours", unknown, world.partner.svid(&ours)),
        Case::new("cross-partner-signs-ours-root-sent", unknown, partners),
        Case::new("cross-we-sign-partners", unknown, world.ca.svid(&theirs)),
        Case::new("cross-expired-signs-ours", unknown, world.expired.svid(&ours)),
        Case::new("cross-partner-intermediate", middle, world.partner.intermediate().svid(&ours)),
        Case::new("trust-domain-unknown", &["unknown_trust_domain"], world.ca.svid(&nobodys)),
        Case::new(
            "trust-domain-unknown-own-root",
            &["unknown_trust_domain"],
            sent_along(TestCa::new("nowhere.example").svid(&nobodys), world.ca),
        ),
    ]
}

fn strangers(world: &World<'_>) -> Vec<Case> {
    let id = world.id();
    let namesake = world.ca.rotated();
    let mut with_root = namesake.svid(&id);
    with_root.chain.push(namesake.root());
    // The issuer is not the one that we trust, and its signature is not that of the one whose
    // name it bears.
    let both: &[&str] = &["unknown_issuer", "bad_signature"];
    let draft = world.ca.intermediate_draft();
    let stranger = TestCa::from_draft(world.ca.trust_domain(), &draft);
    let unknown = &["unknown_issuer"];
    vec![
        Case::new("stranger-with-our-roots-name", both, namesake.svid(&id)),
        Case::new("stranger-with-our-roots-name-root-sent", both, with_root),
        Case::new("stranger-below-namesake", both, namesake.intermediate().svid(&id)),
        Case::new("stranger", unknown, stranger.svid(&id)),
        Case::new("stranger-intermediate", unknown, stranger.intermediate().svid(&id)),
        Case::new("self-signed", unknown, self_signed(world, "workload")),
        Case::new("self-signed-with-our-roots-name", both, self_signed_as_root(world)),
    ]
}

fn self_signed(world: &World<'_>, name: &str) -> Svid {
    let mut draft = TestCa::svid_draft(&world.id());
    draft.subject = Some(name.to_owned());
    let key = Key::generate(Algorithm::P256);
    let certificate = draft.sign(&key, Signer { name: Some(name), key: &key });
    Svid {
        chain: vec![certificate],
        key: key.pkcs8(),
        serial: draft.serial,
        validity: draft.validity,
    }
}

fn self_signed_as_root(world: &World<'_>) -> Svid {
    self_signed(world, world.ca.signer().name.unwrap_or_default())
}

fn signatures(world: &World<'_>) -> Vec<Case> {
    let bad = &["bad_signature"];
    let other = Key::generate(Algorithm::P256);
    let plain = world.ca.svid(&world.id());
    let below = world.ca.intermediate().svid(&world.id());
    let stolen = Svid { key: other.pkcs8(), ..plain.clone() };
    let forged = {
        let draft = TestCa::svid_draft(&world.id());
        let key = Key::generate(Algorithm::P256);
        let signer = Signer { name: world.ca.signer().name, key: &other };
        Svid { chain: vec![draft.sign(&key, signer)], key: key.pkcs8(), ..plain.clone() }
    };
    vec![
        Case::new("signature-byte-changed", bad, tampered(plain.clone(), 0, From::End(3))),
        Case::new("signed-byte-changed", bad, tampered(plain, 0, From::Start(20))),
        Case::new("issuers-signature-byte-changed", bad, tampered(below.clone(), 1, From::End(3))),
        Case::new("issuers-signed-byte-changed", bad, tampered(below, 1, From::Start(20))),
        // Signed by somebody else in our root's name, as above.
        Case::new("signature-of-another-key", &["bad_signature", "unknown_issuer"], forged),
        // The certificate is right; who shows it does not have its key.
        Case::new("certificate-stolen-without-key", bad, stolen),
    ]
}

/// Where to change a byte.
enum From {
    /// So many bytes from the first. The 20th lies in the serial number.
    Start(usize),
    /// So many bytes from the last. The third lies in the signature's `s`.
    End(usize),
}

fn tampered(mut svid: Svid, certificate: usize, at: From) -> Svid {
    let mut bytes = svid.chain[certificate].to_vec();
    let index = match at {
        From::Start(index) => index,
        From::End(distance) => bytes.len() - distance,
    };
    bytes[index] ^= 1;
    svid.chain[certificate] = bytes.into();
    svid
}
