//! One message of the Workload API: read whole or refused, never guessed at.

use std::collections::BTreeMap;

use cellwall_api::workload::{X509svid, X509svidResponse};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use spiffe::{SpiffeId, TrustDomain};
use zeroize::Zeroize as _;

/// WAPI-32: what a message may hold. Its bytes are limited where it is received.
const MAX_SVIDS: usize = 100;
const MAX_BUNDLES: usize = 200;

/// The authorities of each trust domain.
type Bundles = BTreeMap<TrustDomain, Vec<CertificateDer<'static>>>;

/// What one message gives us: our SVID, and whom we trust.
pub(super) struct Offer {
    /// Whose SVID the message says it is.
    pub(super) id: SpiffeId,
    /// Leaf first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) bundles: Bundles,
}

/// Why a message is discarded as a whole. What we had stays in force.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Unreadable {
    /// A field that every message has (WAPI-10).
    #[error("{0} is empty")]
    Empty(&'static str),
    /// More than a right server would send (WAPI-32).
    #[error("{count} {what}, and at most {limit} are taken")]
    TooMany { what: &'static str, count: usize, limit: usize },
    /// A name that SPIFFE does not allow, or spelled another way (SPID-03).
    #[error("{0} is not a canonical spiffe name")]
    Name(&'static str),
    /// WAPI-31: whoever could put it there would replace our own authorities.
    #[error("the trust domain {0} of an svid is among the federated ones")]
    OwnFederated(TrustDomain),
    /// Not DER certificates, one after the other.
    #[error("{0} is not a list of certificates")]
    Certificates(&'static str),
}

impl Unreadable {
    /// The label of the metric.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::TooMany { .. } => "too_large",
            Self::OwnFederated(_) => "own_trust_domain",
            Self::Empty(_) | Self::Name(_) | Self::Certificates(_) => "malformed",
        }
    }
}

/// Reads a message. `ours` is the identity to take, or else the first one (WAPI-22); `None` when
/// the message is sound and has no SVID for it (WAPI-08).
pub(super) fn read(
    mut message: X509svidResponse,
    ours: Option<&SpiffeId>,
) -> Result<Option<Offer>, Unreadable> {
    let read = check(&message, ours);
    // SEC-01: what we took is a copy.
    message.svids.iter_mut().for_each(|svid| svid.x509_svid_key.zeroize());
    read
}

fn check(message: &X509svidResponse, ours: Option<&SpiffeId>) -> Result<Option<Offer>, Unreadable> {
    at_most(MAX_SVIDS, "svids", message.svids.len())?;
    at_most(MAX_BUNDLES, "bundles", message.svids.len().min(1) + message.federated_bundles.len())?;
    if message.svids.is_empty() {
        return Err(Unreadable::Empty("svids"));
    }
    let mut found = None;
    let mut bundles = Bundles::new();
    for svid in &message.svids {
        mandatory(svid)?;
        let id = canonical_id(&svid.spiffe_id)?;
        let bundle = certificates(&svid.bundle, "bundle")?;
        let chosen = found.is_none() && ours.is_none_or(|ours| *ours == id);
        // For one trust domain, our own entry's word counts, or else the first.
        if chosen || !bundles.contains_key(id.trust_domain()) {
            bundles.insert(id.trust_domain().clone(), bundle);
        }
        if chosen {
            found = Some((id, svid));
        }
    }
    let own: Vec<TrustDomain> = bundles.keys().cloned().collect();
    for (name, bundle) in &message.federated_bundles {
        let domain = canonical_domain(name)?;
        if own.contains(&domain) {
            return Err(Unreadable::OwnFederated(domain));
        }
        bundles.insert(domain, certificates(bundle, "a federated bundle")?);
    }
    let Some((id, svid)) = found else { return Ok(None) };
    let key = PrivatePkcs8KeyDer::from(svid.x509_svid_key.clone());
    let chain = certificates(&svid.x509_svid, "x509_svid")?;
    Ok(Some(Offer { id, chain, key: PrivateKeyDer::Pkcs8(key), bundles }))
}

fn at_most(limit: usize, what: &'static str, count: usize) -> Result<(), Unreadable> {
    if count > limit { Err(Unreadable::TooMany { what, count, limit }) } else { Ok(()) }
}

/// Every field of an SVID but its hint is mandatory (SPIFFE Workload API §5.2.1).
fn mandatory(svid: &X509svid) -> Result<(), Unreadable> {
    let fields = [
        (svid.spiffe_id.is_empty(), "spiffe_id"),
        (svid.x509_svid.is_empty(), "x509_svid"),
        (svid.x509_svid_key.is_empty(), "x509_svid_key"),
        (svid.bundle.is_empty(), "bundle"),
    ];
    match fields.into_iter().find(|(empty, _)| *empty) {
        Some((_, field)) => Err(Unreadable::Empty(field)),
        None => Ok(()),
    }
}

fn canonical_id(text: &str) -> Result<SpiffeId, Unreadable> {
    let id = SpiffeId::new(text).ok().filter(|id| id.to_string() == text);
    id.ok_or(Unreadable::Name("spiffe_id"))
}

/// The key of a federated bundle is the SPIFFE ID of its trust domain.
fn canonical_domain(text: &str) -> Result<TrustDomain, Unreadable> {
    let name = text.strip_prefix("spiffe://").unwrap_or(text);
    let domain = TrustDomain::new(name).ok().filter(|domain| domain.as_str() == name);
    domain.ok_or(Unreadable::Name("a federated trust domain"))
}

fn certificates(
    mut der: &[u8],
    field: &'static str,
) -> Result<Vec<CertificateDer<'static>>, Unreadable> {
    let mut all = Vec::new();
    while !der.is_empty() {
        let (rest, _) = x509_parser::parse_x509_certificate(der)
            .map_err(|_| Unreadable::Certificates(field))?;
        let (one, _) =
            der.split_at_checked(der.len() - rest.len()).ok_or(Unreadable::Certificates(field))?;
        all.push(CertificateDer::from(one.to_vec()));
        der = rest;
    }
    Ok(all)
}

impl Offer {
    /// Whether `other` says the same: a message that comes again is no news.
    pub(super) fn says_like(&self, other: &Self) -> bool {
        (&self.id, &self.chain, &self.bundles) == (&other.id, &other.chain, &other.bundles)
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.key.zeroize(); // SEC-01
    }
}

#[cfg(test)]
mod tests {
    use cellwall_api::workload::X509svidResponse;
    use cellwall_testkit::{ca::TestCa, workload_api::X509State};
    use spiffe::SpiffeId;

    use super::{Offer, Unreadable, read};

    const PAYMENTS: &str = "spiffe://pay.example/prod/payments";
    const LEDGER: &str = "spiffe://pay.example/prod/ledger";

    fn two() -> X509svidResponse {
        let ca = TestCa::new("pay.example");
        let state = X509State::issued(&ca, LEDGER);
        state.with(PAYMENTS, ca.svid(PAYMENTS), vec![ca.root()]).to_message()
    }

    fn refused(spoil: impl FnOnce(&mut X509svidResponse)) -> Option<Unreadable> {
        let mut message = two();
        spoil(&mut message);
        read(message, None).err()
    }

    /// SEC-01: does not compile once an offer, which holds a key, can be printed: then there are two
    /// to choose from.
    #[test]
    fn an_offer_cannot_be_printed() {
        trait CanBePrinted<Way> {
            const KEYS: usize = 0;
        }
        impl<T> CanBePrinted<()> for T {}
        impl<T: std::fmt::Debug> CanBePrinted<u8> for T {}
        assert_eq!(<Offer as CanBePrinted<_>>::KEYS, 0);
    }

    #[test]
    fn ours_is_taken_wherever_it_stands_and_the_first_one_without_a_wish() {
        // WAPI-22, WAPI-08
        let ours = SpiffeId::new(PAYMENTS).unwrap();
        let other = SpiffeId::new("spiffe://pay.example/prod/web").unwrap();
        let taken = |ours| read(two(), ours).unwrap().map(|offer| offer.id.to_string());
        assert_eq!(taken(Some(&ours)).as_deref(), Some(PAYMENTS));
        assert_eq!(taken(None).as_deref(), Some(LEDGER));
        assert_eq!(taken(Some(&other)), None);
    }

    #[test]
    fn a_message_without_a_mandatory_field_is_discarded_whole() {
        // WAPI-10: also when the field is missing in an SVID that is not ours
        let empty = |field| Some(Unreadable::Empty(field));
        assert_eq!(refused(|m| m.svids.clear()), empty("svids"));
        assert_eq!(refused(|m| m.svids[1].spiffe_id.clear()), empty("spiffe_id"));
        assert_eq!(refused(|m| m.svids[1].x509_svid.clear()), empty("x509_svid"));
        assert_eq!(refused(|m| m.svids[1].x509_svid_key.clear()), empty("x509_svid_key"));
        assert_eq!(refused(|m| m.svids[1].bundle.clear()), empty("bundle"));
    }

    #[test]
    fn names_are_canonical_and_our_own_trust_domain_is_never_federated() {
        // SPID-03, WAPI-31
        let federated = |name: &'static str| {
            refused(move |message| drop(message.federated_bundles.insert(name.into(), Vec::new())))
        };
        let own = spiffe::TrustDomain::new("pay.example").unwrap();
        for name in ["spiffe://pay.example", "pay.example"] {
            assert_eq!(federated(name), Some(Unreadable::OwnFederated(own.clone())));
        }
        for name in ["spiffe://PAY.example", "spiffe://a/b", "spiffe://a:80", "a b", ""] {
            let expected = Unreadable::Name("a federated trust domain");
            assert_eq!(federated(name), Some(expected), "{name}");
        }
        assert_eq!(federated("spiffe://partner.example"), None);
        let upper = refused(|message| message.svids[0].spiffe_id = LEDGER.to_uppercase());
        assert_eq!(upper, Some(Unreadable::Name("spiffe_id")));
    }

    #[test]
    fn a_message_has_so_many_svids_and_bundles_and_no_more() {
        // WAPI-32
        let svids = |count: usize| refused(move |m| m.svids = vec![m.svids[0].clone(); count]);
        assert_eq!(svids(100), None);
        let expected = Unreadable::TooMany { what: "svids", count: 101, limit: 100 };
        assert_eq!(svids(101), Some(expected));
        let bundles = |count: usize| {
            let names = (1..count).map(|number| (format!("spiffe://td-{number}"), Vec::new()));
            refused(move |message| message.federated_bundles = names.collect())
        };
        assert_eq!(bundles(200), None);
        let expected = Unreadable::TooMany { what: "bundles", count: 201, limit: 200 };
        assert_eq!(bundles(201), Some(expected));
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let field = |index: usize, bytes: &'static [u8]| {
            refused(move |message| match index {
                0 => message.svids[0].x509_svid.extend(bytes),
                _ => message.svids[0].bundle.extend(bytes),
            })
        };
        assert_eq!(field(0, b"\x30\x03abc"), Some(Unreadable::Certificates("x509_svid")));
        assert_eq!(field(1, b"x"), Some(Unreadable::Certificates("bundle")));
    }
}
