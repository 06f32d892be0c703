//! Which publication of the policy a snapshot is of, and which may follow which (POL-02).

use std::{fmt, str::FromStr};

use aws_lc_rs::digest;
use thiserror::Error;

use crate::PolicyVersion;

/// SHA-256: tells the content of one publication from another's.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Digest([u8; 32]);

/// A publication of the whole policy. The epoch orders first: a control plane that was restored
/// from a backup counts versions again, and an operator raises the epoch.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Publication {
    /// Raised by an operator after a restore. Larger is newer, whatever the version.
    pub epoch: u64,
    /// Larger is newer within an epoch.
    pub version: PolicyVersion,
    /// Of the documents that were published.
    pub digest: Digest,
}

/// A text is not 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{0}` is not a SHA-256 in lower-case hexadecimal digits")]
pub struct NotADigest(pub String);

/// Why a publication may not follow another.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum NotNewer {
    /// It is older.
    #[error("{offered} is older than {ours}; if the control plane was restored, stop it and run \
             `cellwalld epoch raise --to {}`", .ours.epoch.saturating_add(1))]
    Older {
        /// What may not follow.
        offered: Publication,
        /// What was in force.
        ours: Publication,
    },
    /// It has the other's epoch and version, and was made from other documents.
    #[error("{offered} has not the content of the {ours} that was in force: the control plane \
             was restored without a new epoch; stop it and run `cellwalld epoch raise --to {}`",
            .ours.epoch.saturating_add(1))]
    Differs {
        /// What may not follow.
        offered: Publication,
        /// What was in force.
        ours: Publication,
    },
}

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut own = [0; 32];
        for (to, from) in own.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()) {
            *to = *from;
        }
        Self(own)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let refused = || NotADigest(text.chars().take(80).collect());
        let digit = |byte: &u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(refused()) };
        if pairs.len() != 32 {
            return Err(refused());
        }
        let mut own = [0; 32];
        for (to, [high, low]) in own.iter_mut().zip(pairs) {
            let (Some(high), Some(low)) = (digit(high), digit(low)) else { return Err(refused()) };
            *to = high << 4 | low;
        }
        Ok(Self(own))
    }
}

impl Publication {
    /// Whether `offered` may be in force once this was: newer, or this again.
    ///
    /// # Errors
    ///
    /// [`NotNewer`] when it is older, or another under the same number.
    pub fn admit(&self, offered: &Self) -> Result<(), NotNewer> {
        let order = |one: &Self| (one.epoch, one.version);
        if order(offered) < order(self) {
            return Err(NotNewer::Older { offered: *offered, ours: *self });
        }
        if order(offered) == order(self) && offered.digest != self.digest {
            return Err(NotNewer::Differs { offered: *offered, ours: *self });
        }
        Ok(())
    }
}

impl fmt::Display for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} version {}", self.epoch, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::{Digest, NotADigest, NotNewer, Publication};
    use crate::PolicyVersion;

    fn publication(epoch: u64, version: u64, content: &str) -> Publication {
        let digest = Digest::of(content.as_bytes());
        Publication { epoch, version: PolicyVersion(version), digest }
    }

    #[test]
    fn what_follows_is_newer_or_the_same_again() {
        // POL-02
        let ours = publication(2, 7, "a");
        for follows in [(2, 7, "a"), (2, 8, "b"), (3, 1, "c"), (3, 7, "b")] {
            let (epoch, version, content) = follows;
            assert_eq!(ours.admit(&publication(epoch, version, content)), Ok(()), "{follows:?}");
        }
        for (epoch, version, content) in [(2, 6, "a"), (1, 7, "a"), (1, 99, "b"), (0, 0, "")] {
            let offered = publication(epoch, version, content);
            assert_eq!(ours.admit(&offered), Err(NotNewer::Older { offered, ours }));
        }
        let offered = publication(2, 7, "b");
        assert_eq!(ours.admit(&offered), Err(NotNewer::Differs { offered, ours }));
    }

    #[test]
    fn a_refusal_names_both_and_what_to_do() {
        let ours = publication(2, 7, "a");
        let older = ours.admit(&publication(1, 9, "b")).unwrap_err().to_string();
        assert_eq!(
            older,
            "epoch 1 version 9 is older than epoch 2 version 7; if the control plane was \
             restored, stop it and run `cellwalld epoch raise --to 3`"
        );
        let differs = ours.admit(&publication(2, 7, "b")).unwrap_err().to_string();
        assert!(differs.contains("restored without a new epoch"), "{differs}");
        assert!(differs.ends_with("`cellwalld epoch raise --to 3`"), "{differs}");
    }

    #[test]
    fn a_digest_has_one_spelling() {
        // FIPS 180-4, the digest of "abc".
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let digest = Digest::of(b"abc");
        assert_eq!((digest.to_string(), abc.parse()), (abc.to_owned(), Ok(digest)));
        let upper = abc.to_uppercase();
        let long = format!("{abc}00");
        let (odd, short) = (abc.trim_start_matches('b'), abc.trim_start_matches("ba"));
        for other in ["", odd, short, &upper, &long, &abc.replace('b', "g")] {
            let refused = NotADigest(other.to_owned());
            assert_eq!(other.parse::<Digest>(), Err(refused), "{other}");
        }
    }
}
