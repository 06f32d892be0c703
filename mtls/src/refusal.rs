//! Why a handshake was refused: one closed list for logs, metrics and tests.

use std::fmt;

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why there is no session. The name of each is a metric label, so a name never changes.
        ///
        /// The other side never learns it (TLS-08): our log and metrics do.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Refusal {
            $($(#[$doc])* $variant,)*
        }

        impl Refusal {
            /// Every refusal, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in logs and metrics.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

refusals! {
    /// The peer showed no certificate (TLS-03).
    NoCertificate = "no_certificate",
    /// A certificate is not well-formed DER of X.509 version 3 (ID-14).
    Malformed = "malformed",
    /// More than 8 certificates (TLS-05).
    ChainTooLong = "chain_too_long",
    /// More than 32 KiB of certificates (TLS-05).
    ChainTooLarge = "chain_too_large",
    /// An extension is there twice (ID-14).
    DuplicateExtension = "duplicate_extension",
    /// The leaf has no URI SAN (X5-01).
    NoUriSan = "no_uri_san",
    /// The leaf has more than one URI SAN, of whatever scheme (X5-02).
    MultipleUriSans = "multiple_uri_sans",
    /// The URI SAN is a SPIFFE ID only after folding, for example of upper case (ID-03).
    SanNotCanonical = "san_not_canonical",
    /// The URI SAN is not a SPIFFE ID (SPID-01..06, ID-04).
    SpiffeIdInvalid = "spiffe_id_invalid",
    /// The SPIFFE ID has no path: a trust domain, not a workload (X5-03).
    SpiffeIdNoPath = "spiffe_id_no_path",
    /// The SPIFFE ID is longer than 2048 bytes (SPID-07, SPID-08).
    SpiffeIdTooLong = "spiffe_id_too_long",
    /// The leaf is a CA (X5-07, X5-08).
    LeafIsCa = "leaf_is_ca",
    /// The leaf does not say that it is no CA (X5-08).
    BasicConstraintsMissing = "basic_constraints_missing",
    /// The leaf has no key usage (X5-10).
    KeyUsageMissing = "key_usage_missing",
    /// The leaf may not sign a handshake, or may sign certificates (X5-10, X5-11).
    KeyUsageForbidden = "key_usage_forbidden",
    /// The leaf has no extended key usage (X5-13).
    ExtendedKeyUsageMissing = "extended_key_usage_missing",
    /// The extended key usage lacks the role that the peer plays (X5-13).
    ExtendedKeyUsageRole = "extended_key_usage_role",
    /// A critical extension that we do not know (ID-07).
    UnknownCriticalExtension = "unknown_critical_extension",
    /// We have no bundle for the trust domain of the leaf (X5-16).
    UnknownTrustDomain = "unknown_trust_domain",
    /// No anchor of that bundle is within its validity (ID-11).
    AnchorsExpired = "anchors_expired",
    /// The chain does not lead to an anchor of the leaf's trust domain (X5-16, ID-05).
    UnknownIssuer = "unknown_issuer",
    /// A signature in the chain does not verify (X5-15).
    BadSignature = "bad_signature",
    /// An algorithm that we do not accept (TLS-02).
    UnsupportedAlgorithm = "unsupported_algorithm",
    /// The leaf or an intermediate has expired (ID-09).
    Expired = "expired",
    /// The leaf or an intermediate is not valid yet (ID-09).
    NotYetValid = "not_yet_valid",
    /// An issuer is no CA (ID-08).
    IssuerNotCa = "issuer_not_ca",
    /// An issuer may not sign certificates (ID-08).
    IssuerKeyUsage = "issuer_key_usage",
    /// An issuer has a SPIFFE ID with a path, or of another trust domain (X5-05, X5-06).
    IssuerSpiffeId = "issuer_spiffe_id",
    /// The chain is longer than an issuer allows (X5-15).
    PathLength = "path_length",
    /// Name constraints that we do not evaluate, or that do not hold (ID-10).
    NameConstraints = "name_constraints",
    /// A valid peer, but not the one that the destination stands for (AZ-12).
    UnexpectedPeer = "unexpected_peer",
    /// The SPIFFE ID is on the deny list (ID-15).
    DeniedId = "denied_id",
    /// The serial number is on the deny list (ID-15).
    DeniedSerial = "denied_serial",
    /// The public key is on the deny list (ID-15).
    DeniedKey = "denied_key",
    /// The trust domain is on the deny list (ID-15).
    DeniedTrustDomain = "denied_trust_domain",
    /// Two parsers read the leaf's identity differently (ID-02).
    ParserDisagreement = "parser_disagreement",
    /// No handshake within the deadline (TLS-05).
    HandshakeTimeout = "handshake_timeout",
    /// No common application protocol, or none offered (TLS-06).
    AlpnMismatch = "alpn_mismatch",
    /// The peer ended the handshake with an alert: it refused us.
    RefusedByPeer = "refused_by_peer",
    /// The peer does not speak TLS 1.3 as we do: version, group, signature or framing.
    TlsProtocol = "tls_protocol",
    /// The connection broke.
    Io = "io",
    /// We have no SVID ourselves (ID-21).
    NoOwnIdentity = "no_own_identity",
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Refusal {}
