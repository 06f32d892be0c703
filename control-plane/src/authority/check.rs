//! The second look at a certificate before it leaves, by another parser than wrote it (CA-04).

use std::time::SystemTime;

use spiffe::SpiffeId;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    oid_registry::{
        OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_BASIC_CONSTRAINTS,
        OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE, OID_X509_EXT_SUBJECT_ALT_NAME,
        OID_X509_EXT_SUBJECT_KEY_IDENTIFIER, Oid,
    },
    parse_x509_certificate,
    x509::X509Version,
};

use super::{BACKDATED, Ca, PublicKey, Validity};

/// X5-20: 64 bits at least.
const MIN_SERIAL_BYTES: usize = 8;
/// SPID-08
const MAX_ID_BYTES: usize = 2048;
/// RFC 5280 §4.2.1.3: bit 0 of the key usage, as x509-parser counts.
const DIGITAL_SIGNATURE_ONLY: u16 = 1;

/// What a certificate was meant to be.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Who signed.
    pub ca: &'a Ca,
    /// For whom.
    pub id: &'a SpiffeId,
    /// With which key.
    pub key: &'a PublicKey,
    /// From when to when.
    pub validity: Validity,
}

/// How a certificate is not what it was meant to be. None of them can happen; a certificate in
/// which one does is not released.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Defect {
    /// Not a certificate of version 3, or bytes follow it.
    #[error("not one certificate of version 3")]
    Malformed,
    /// Our authority's key did not sign it.
    #[error("not signed by the authority")]
    Signature,
    /// It names another issuer.
    #[error("another issuer")]
    Issuer,
    /// Another public key.
    #[error("another public key")]
    Key,
    /// The serial number is short or not positive.
    #[error("the serial number is short or not positive")]
    Serial,
    /// The dates are not those asked for, or exceed the authority's (X5-20).
    #[error("other dates, or past the authority's end")]
    Dates,
    /// Not exactly one name, the SPIFFE ID, critical (X5-01, X5-04).
    #[error("not exactly one name, the SPIFFE ID, critical")]
    Name,
    /// The ID has no path, is too long, or is not of our trust domain (X5-03, X5-06, SPID-08).
    #[error("not the SPIFFE ID of a workload of this trust domain")]
    Id,
    /// Not an explicit, critical `cA=false` (X5-08).
    #[error("not explicitly and critically without cA")]
    BasicConstraints,
    /// Not `digitalSignature` alone, critical (X5-09 to X5-12).
    #[error("key usage is not digitalSignature alone, critical")]
    KeyUsage,
    /// Not `serverAuth` and `clientAuth` alone (X5-13).
    #[error("extended key usage is not serverAuth and clientAuth alone")]
    ExtendedKeyUsage,
    /// Something nobody asked for.
    #[error("an extension that nobody asked for")]
    Extension,
}

/// Reads a certificate again and compares it with what it was meant to be.
///
/// # Errors
///
/// The first [`Defect`].
pub(super) fn check(der: &[u8], expected: &Expected<'_>) -> Result<(), Defect> {
    let (rest, leaf) = parse_x509_certificate(der).map_err(|_| Defect::Malformed)?;
    if !rest.is_empty() || leaf.version() != X509Version::V3 {
        return Err(Defect::Malformed);
    }
    check_origin(&leaf, expected)?;
    check_facts(&leaf, expected)?;
    check_name(&leaf, expected)?;
    check_usage(&leaf)?;
    check_nothing_else(&leaf)
}

fn check_origin(leaf: &X509Certificate<'_>, expected: &Expected<'_>) -> Result<(), Defect> {
    let (_, ca) = parse_x509_certificate(&expected.ca.certificate).map_err(|_| Defect::Issuer)?;
    if leaf.issuer().as_raw() != ca.subject().as_raw() {
        return Err(Defect::Issuer);
    }
    leaf.verify_signature(Some(ca.public_key())).map_err(|_| Defect::Signature)
}

fn check_facts(leaf: &X509Certificate<'_>, expected: &Expected<'_>) -> Result<(), Defect> {
    if leaf.public_key().raw != expected.key.info {
        return Err(Defect::Key);
    }
    let serial = leaf.raw_serial();
    if serial.len() < MIN_SERIAL_BYTES || serial.first().is_none_or(|byte| byte & 0x80 != 0) {
        return Err(Defect::Serial);
    }
    let not_before: SystemTime = leaf.validity().not_before.to_datetime().into();
    let not_after: SystemTime = leaf.validity().not_after.to_datetime().into();
    let begins = expected.validity.issued_at.checked_sub(BACKDATED);
    if Some(not_before) != begins
        || not_after != expected.validity.not_after
        || not_after > expected.ca.not_after
    {
        return Err(Defect::Dates);
    }
    Ok(())
}

fn check_name(leaf: &X509Certificate<'_>, expected: &Expected<'_>) -> Result<(), Defect> {
    let id = expected.id.to_string();
    if expected.id.path().is_empty()
        || id.len() > MAX_ID_BYTES
        || !expected.id.is_member_of(&expected.ca.trust_domain)
    {
        return Err(Defect::Id);
    }
    let names = leaf.subject_alternative_name().map_err(|_| Defect::Name)?.ok_or(Defect::Name)?;
    let is_the_id = matches!(names.value.general_names.as_slice(),
        [GeneralName::URI(name)] if *name == id);
    if is_the_id && names.critical && leaf.subject().iter().next().is_none() {
        Ok(())
    } else {
        Err(Defect::Name)
    }
}

fn check_usage(leaf: &X509Certificate<'_>) -> Result<(), Defect> {
    let basic = leaf.basic_constraints().map_err(|_| Defect::BasicConstraints)?;
    if !basic.is_some_and(|basic| basic.critical && !basic.value.ca) {
        return Err(Defect::BasicConstraints);
    }
    let usage = leaf.key_usage().map_err(|_| Defect::KeyUsage)?;
    if !usage.is_some_and(|usage| usage.critical && usage.value.flags == DIGITAL_SIGNATURE_ONLY) {
        return Err(Defect::KeyUsage);
    }
    let extended = leaf.extended_key_usage().map_err(|_| Defect::ExtendedKeyUsage)?;
    let both_roles = extended.is_some_and(|extended| {
        let usage = extended.value;
        let more = usage.any
            || usage.code_signing
            || usage.email_protection
            || usage.time_stamping
            || usage.ocsp_signing
            || !usage.other.is_empty();
        usage.server_auth && usage.client_auth && !more
    });
    if both_roles { Ok(()) } else { Err(Defect::ExtendedKeyUsage) }
}

fn check_nothing_else(leaf: &X509Certificate<'_>) -> Result<(), Defect> {
    const KNOWN: [Oid<'static>; 6] = [
        OID_X509_EXT_SUBJECT_ALT_NAME,
        OID_X509_EXT_KEY_USAGE,
        OID_X509_EXT_EXTENDED_KEY_USAGE,
        OID_X509_EXT_BASIC_CONSTRAINTS,
        OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER,
        OID_X509_EXT_SUBJECT_KEY_IDENTIFIER,
    ];
    let unasked = leaf.extensions().iter().any(|extension| {
        !KNOWN.contains(&extension.oid)
            || matches!(
                extension.parsed_extension(),
                ParsedExtension::ParseError { .. } | ParsedExtension::Unparsed
            )
    });
    if unasked { Err(Defect::Extension) } else { Ok(()) }
}
