//! One X509-SVID with its key: how it is asked for, and when it is renewed.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls_pki_types::CertificateSigningRequestDer;
use zeroize::Zeroizing;

use crate::{Issued, holdings::Held};

/// Retries of a renewal start here and double up to [`MAX_RETRY`] or a tenth of what remains.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(30);

/// A key that no certificate has been issued for.
pub struct FreshKey {
    /// The private key, PKCS #8.
    pub key: Zeroizing<Vec<u8>>,
    /// The request to certify it.
    pub csr: CertificateSigningRequestDer<'static>,
}

/// A certificate, its key, and when to replace both.
pub(crate) struct Svid {
    pub(crate) issued: Issued,
    pub(crate) key: Zeroizing<Vec<u8>>,
    pub(crate) _held: Held,
    pub(crate) renewal: Renewal,
}

/// When a certificate is replaced: planned once, and again after each attempt that failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Renewal {
    due: SystemTime,
    not_after: SystemTime,
    retry: Duration,
}

impl fmt::Debug for FreshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FreshKey")
    }
}

impl FreshKey {
    /// Makes a P-256 key and asks for nothing but its certification: whatever else a request
    /// says, the server does not read (CA-01).
    ///
    /// # Errors
    ///
    /// The cryptographic library's.
    pub fn generate() -> Result<Self, rcgen::Error> {
        let pair = Zeroizing::new(KeyPair::generate()?);
        let mut request = CertificateParams::default();
        request.distinguished_name = DistinguishedName::new();
        let csr = request.serialize_request(&*pair)?;
        Ok(Self { key: Zeroizing::new(pair.serialized_der().to_vec()), csr: csr.into() })
    }
}

impl Renewal {
    /// Half of the life after issuance, give or take `jitter` of it, which is -0.1 to 0.1
    /// (ROT-02). `notBefore` is earlier than issuance and plays no part.
    pub fn planned(issued_at: SystemTime, not_after: SystemTime, jitter: f64) -> Self {
        let life = not_after.duration_since(issued_at).unwrap_or_default();
        let due = issued_at + life.mul_f64(0.5 * (1.0 + jitter.clamp(-0.1, 0.1)));
        Self { due, not_after, retry: FIRST_RETRY }
    }

    /// The plan after an attempt that failed at `now`.
    pub fn failed(self, now: SystemTime, jitter: f64) -> Self {
        let remaining = self.not_after.duration_since(now).unwrap_or_default();
        let pause = self.retry.min(remaining / 10).mul_f64(1.0 + jitter.clamp(-0.1, 0.1));
        let retry = (self.retry * 2).min(MAX_RETRY);
        Self { due: now + pause.max(Duration::from_millis(100)), retry, ..self }
    }

    /// When the next attempt is due.
    pub fn due(&self) -> SystemTime {
        self.due
    }

    /// Whether there is nothing left to renew.
    pub(crate) fn is_over(self, now: SystemTime) -> bool {
        self.not_after <= now
    }
}

/// -0.1 to 0.1, so that a fleet that started together does not renew together.
pub fn jitter() -> f64 {
    rand::random_range(-0.1..=0.1)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{FreshKey, Renewal};

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn renewal_is_due_at_half_life_from_issuance_with_jitter() {
        // ROT-02
        let issued = SystemTime::UNIX_EPOCH + HOUR;
        for (jitter, seconds) in [(0.0, 1800), (0.1, 1980), (-0.1, 1620), (7.0, 1980)] {
            let renewal = Renewal::planned(issued, issued + HOUR, jitter);
            assert_eq!(renewal.due, issued + Duration::from_secs(seconds), "{jitter}");
        }
    }

    #[test]
    fn retries_back_off_to_a_ceiling_and_quicken_towards_the_end() {
        // ROT-02: 1 s doubling to 30 s, never more than a tenth of what remains.
        let issued = SystemTime::UNIX_EPOCH;
        let mut renewal = Renewal::planned(issued, issued + HOUR, 0.0);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let now = renewal.due;
            renewal = renewal.failed(now, 0.0);
            pauses.push(renewal.due.duration_since(now).unwrap().as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        let late = issued + HOUR - Duration::from_secs(10);
        assert_eq!(renewal.failed(late, 0.0).due, late + Duration::from_secs(1));
        assert!(!renewal.is_over(late));
        assert!(renewal.is_over(issued + HOUR));
    }

    #[test]
    fn no_two_requests_share_a_key() {
        // WAPI-33
        let (one, two) = (FreshKey::generate().unwrap(), FreshKey::generate().unwrap());
        assert_ne!(*one.key, *two.key);
        assert_ne!(one.csr, two.csr);
    }
}
