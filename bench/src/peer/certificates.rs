//! Certificates for peers that read files: one authority, a client and a server.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::PeerError;

/// How long they are valid; a comparison takes less.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// Writes `ca.pem`, `client.pem`, `client.key`, `server.pem` and `server.key`: P-256, signed by the
/// authority without anything between, `spiffe://bench.example/client` and `/server`. The server is
/// also called `server.bench.example`, for peers that compare nothing but host names.
///
/// # Errors
/// If the library fails, or the folder cannot be written.
pub fn write_certificates(folder: &Path) -> Result<(), PeerError> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| PeerError::File(path, error))
    };
    let key = KeyPair::generate().map_err(PeerError::Certificates)?;
    let mut ca = params("bench.example", vec![uri("spiffe://bench.example")?]);
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = ca.self_signed(&key).map_err(PeerError::Certificates)?;
    write("ca.pem", &root.pem())?;
    let issuer = Issuer::new(ca, key);
    for side in ["client", "server"] {
        let mut names = vec![uri(&format!("spiffe://bench.example/{side}"))?];
        let host = format!("{side}.bench.example");
        names.push(SanType::DnsName(host.try_into().map_err(PeerError::Certificates)?));
        let mut leaf = params(side, names);
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        leaf.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(PeerError::Certificates)?;
        let signed = leaf.signed_by(&key, &issuer).map_err(PeerError::Certificates)?;
        write(&format!("{side}.pem"), &signed.pem())?;
        write(&format!("{side}.key"), &key.serialize_pem())?;
    }
    Ok(())
}

fn params(name: &str, alternatives: Vec<SanType>) -> CertificateParams {
    let mut params = CertificateParams::default();
    let now = SystemTime::now();
    params.not_before = now.checked_sub(LIFE).unwrap_or(SystemTime::UNIX_EPOCH).into();
    params.not_after = (now + LIFE).into();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = alternatives;
    params
}

fn uri(text: &str) -> Result<SanType, PeerError> {
    Ok(SanType::URI(text.try_into().map_err(PeerError::Certificates)?))
}
