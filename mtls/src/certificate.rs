//! What an X509-SVID says: the leaf's identity and usage, and the rules for issuers.

use rustls::pki_types::{CertificateDer, UnixTime};
use spiffe::{SpiffeId, TrustDomain};
use x509_parser::{
    asn1_rs::FromDer as _,
    certificate::{BasicExtension, X509Certificate},
    extensions::{GeneralName, KeyUsage, ParsedExtension, SubjectAlternativeName},
    oid_registry::{OID_X509_EXT_SUBJECT_ALT_NAME, Oid},
    time::ASN1Time,
};

use crate::{Refusal, Serial, provider::sha256};

/// The longest SPIFFE ID: SPIFFE-ID §2.3.
const MAX_SPIFFE_ID: usize = 2048;

/// The part that a peer plays in a handshake.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    Client,
    Server,
}

/// What we need of a leaf, read once (ID-02).
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Leaf {
    pub(crate) id: SpiffeId,
    pub(crate) san: Box<str>,
    pub(crate) serial: Serial,
    pub(crate) key_hash: [u8; 32],
    pub(crate) not_after: UnixTime,
}

/// What we need of a certificate that signs others.
#[derive(Clone, Debug)]
pub(crate) struct IssuerFacts {
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
}

impl Leaf {
    /// Reads a leaf and checks it by the rules for leaves: X509-SVID §4, §5.2.
    pub(crate) fn read(der: &CertificateDer<'_>, role: Role) -> Result<Self, Refusal> {
        let certificate = parse(der)?;
        let san = uri_san(&certificate)?.ok_or(Refusal::NoUriSan)?;
        let id = canonical(san)?;
        check_leaf_usage(&certificate, role)?;
        Ok(Self {
            id,
            san: san.into(),
            serial: Serial::new(certificate.raw_serial()),
            key_hash: sha256(certificate.public_key().raw),
            not_after: time(certificate.validity().not_after)?,
        })
    }
}

impl IssuerFacts {
    /// Reads a certificate that signs others within `trust_domain`: X509-SVID §3.2, §4.
    pub(crate) fn read(
        der: &CertificateDer<'_>,
        trust_domain: &TrustDomain,
    ) -> Result<Self, Refusal> {
        let certificate = parse(der)?;
        match basic_constraints(&certificate)? {
            Some(true) => {}
            Some(false) | None => return Err(Refusal::IssuerNotCa), // X5-05, ID-08
        }
        // webpki does not look at this bit (finding 0.4): X5-05, ID-08
        if !key_usage(&certificate)?.is_some_and(|usage| usage.key_cert_sign()) {
            return Err(Refusal::IssuerKeyUsage);
        }
        check_issuer_id(uri_san(&certificate)?, trust_domain)?;
        Ok(Self {
            not_before: time(certificate.validity().not_before)?,
            not_after: time(certificate.validity().not_after)?,
        })
    }
}

/// A SPIFFE ID that is spelled in the one canonical way and names a workload.
pub(crate) fn canonical(uri: &str) -> Result<SpiffeId, Refusal> {
    if uri.len() > MAX_SPIFFE_ID {
        return Err(Refusal::SpiffeIdTooLong); // SPID-07, SPID-08
    }
    let id = SpiffeId::new(uri).map_err(|_| Refusal::SpiffeIdInvalid)?;
    if id.to_string() != uri {
        return Err(Refusal::SanNotCanonical); // ID-03: byte by byte, never folded
    }
    if id.path().is_empty() {
        return Err(Refusal::SpiffeIdNoPath); // X5-03
    }
    Ok(id)
}

/// Whether `der` is one certificate with each extension at most once (ID-14).
pub(crate) fn is_well_formed(der: &CertificateDer<'_>) -> Result<(), Refusal> {
    parse(der).map(drop)
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Refusal> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| Refusal::Malformed)?;
    if !rest.is_empty() {
        return Err(Refusal::Malformed); // ID-14: trailing bytes
    }
    let mut seen: Vec<&Oid<'_>> = Vec::new();
    for extension in certificate.extensions() {
        if seen.contains(&&extension.oid) {
            return Err(Refusal::DuplicateExtension); // ID-14, RFC 5280 §4.2
        }
        seen.push(&extension.oid);
        if let ParsedExtension::ParseError { .. } = extension.parsed_extension() {
            return Err(Refusal::Malformed);
        }
    }
    Ok(certificate)
}

/// The one URI SAN, of whatever scheme: X509-SVID §2 counts them all.
fn uri_san<'a>(certificate: &'a X509Certificate<'_>) -> Result<Option<&'a str>, Refusal> {
    let Some(names) = subject_alternative_name(certificate)? else { return Ok(None) };
    let mut found = None;
    for name in &names.general_names {
        let uri = match name {
            GeneralName::URI(uri) => *uri,
            // A URI that is no IA5String, or a name that cannot be read: ID-04.
            GeneralName::Invalid(..) => return Err(Refusal::SpiffeIdInvalid),
            _ => continue,
        };
        if found.replace(uri).is_some() {
            return Err(Refusal::MultipleUriSans); // X5-02
        }
    }
    Ok(found)
}

fn subject_alternative_name<'a>(
    certificate: &'a X509Certificate<'_>,
) -> Result<Option<&'a SubjectAlternativeName<'a>>, Refusal> {
    let extension = certificate
        .get_extension_unique(&OID_X509_EXT_SUBJECT_ALT_NAME)
        .map_err(|_| Refusal::DuplicateExtension)?;
    match extension.map(|extension| extension.parsed_extension()) {
        None => Ok(None),
        Some(ParsedExtension::SubjectAlternativeName(names)) => Ok(Some(names)),
        Some(_) => Err(Refusal::Malformed),
    }
}

fn check_leaf_usage(certificate: &X509Certificate<'_>, role: Role) -> Result<(), Refusal> {
    match basic_constraints(certificate)? {
        Some(false) => {}
        Some(true) => return Err(Refusal::LeafIsCa), // X5-07, X5-08
        None => return Err(Refusal::BasicConstraintsMissing), // X5-08
    }
    let usage = key_usage(certificate)?.ok_or(Refusal::KeyUsageMissing)?; // X5-10
    if !usage.digital_signature() || usage.key_cert_sign() || usage.crl_sign() {
        return Err(Refusal::KeyUsageForbidden); // X5-10, X5-11
    }
    let extended = certificate
        .extended_key_usage()
        .map_err(|_| Refusal::Malformed)?
        .ok_or(Refusal::ExtendedKeyUsageMissing)?
        .value;
    let fits = match role {
        Role::Client => extended.client_auth,
        Role::Server => extended.server_auth,
    };
    if fits { Ok(()) } else { Err(Refusal::ExtendedKeyUsageRole) } // X5-13
}

/// A signing certificate's own SPIFFE ID, if it has one, is its trust domain: X5-05, X5-06.
fn check_issuer_id(uri: Option<&str>, trust_domain: &TrustDomain) -> Result<(), Refusal> {
    let Some(uri) = uri else { return Ok(()) };
    // SPID-11: the standard's own example has the slash, which SPIFFE-ID §2.2 forbids.
    let id =
        SpiffeId::new(uri.strip_suffix('/').unwrap_or(uri)).map_err(|_| Refusal::IssuerSpiffeId)?;
    if id.trust_domain() == trust_domain && id.path().is_empty() {
        Ok(())
    } else {
        Err(Refusal::IssuerSpiffeId)
    }
}

/// Whether the certificate says that it is a CA; `None` when it says nothing.
fn basic_constraints(certificate: &X509Certificate<'_>) -> Result<Option<bool>, Refusal> {
    let extension = certificate.basic_constraints().map_err(|_| Refusal::Malformed)?;
    Ok(extension.map(|BasicExtension { value, .. }| value.ca))
}

fn key_usage<'a>(certificate: &'a X509Certificate<'_>) -> Result<Option<&'a KeyUsage>, Refusal> {
    let extension = certificate.key_usage().map_err(|_| Refusal::Malformed)?;
    Ok(extension.map(|BasicExtension { value, .. }| value))
}

fn time(time: ASN1Time) -> Result<UnixTime, Refusal> {
    let seconds = u64::try_from(time.timestamp()).map_err(|_| Refusal::Malformed)?;
    Ok(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
}
