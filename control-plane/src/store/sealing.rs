//! Secrets at rest: sealed with a key that is not in the database.

use std::{
    fmt, fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// AES-256-GCM with a random nonce. Few secrets, so that one key serves for far longer than
/// nonces stay unique.
pub struct SealingKey(RandomizedNonceKey);

/// Why there is no sealing key.
#[derive(Debug, thiserror::Error)]
pub enum SealingKeyError {
    /// The file cannot be read or written.
    #[error("sealing key {}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not 64 hexadecimal digits.
    #[error("sealing key {}: expected 64 hexadecimal digits", .0.display())]
    Form(PathBuf),
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Library,
}

/// What was sealed cannot be opened: another key, another purpose, or changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("cannot be opened with this sealing key: it is another's, or the database was changed")]
pub struct Unsealable;

impl SealingKey {
    /// Makes a key and writes it to `path`, 0600, as 64 hexadecimal digits. Never replaces one.
    ///
    /// # Errors
    ///
    /// [`SealingKeyError`] when the file exists or cannot be written.
    pub fn create(path: &Path) -> Result<Self, SealingKeyError> {
        let file = |source| SealingKeyError::File { path: path.to_owned(), source };
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        aws_lc_rs::rand::fill(key.as_mut()).map_err(|_| SealingKeyError::Library)?;
        let mut options = fs::OpenOptions::new();
        let mut out = options.write(true).create_new(true).mode(0o600).open(path).map_err(file)?;
        let text = Zeroizing::new(hex(key.as_ref()) + "\n");
        out.write_all(text.as_bytes()).and_then(|()| out.sync_all()).map_err(file)?;
        Self::new(key.as_ref())
    }

    /// Reads the key at `path`.
    ///
    /// # Errors
    ///
    /// [`SealingKeyError`] when the file cannot be read or does not hold a key.
    pub fn load(path: &Path) -> Result<Self, SealingKeyError> {
        let file = |source| SealingKeyError::File { path: path.to_owned(), source };
        let text = Zeroizing::new(fs::read_to_string(path).map_err(file)?);
        let key = unhex(text.trim_end()).ok_or_else(|| SealingKeyError::Form(path.to_owned()))?;
        Self::new(key.as_ref())
    }

    fn new(key: &[u8]) -> Result<Self, SealingKeyError> {
        RandomizedNonceKey::new(&AES_256_GCM, key).map(Self).map_err(|_| SealingKeyError::Library)
    }

    /// Seals `secret` for one purpose, and no other.
    ///
    /// # Errors
    ///
    /// [`SealingKeyError::Library`] when the cryptographic library fails.
    pub fn seal(&self, purpose: &str, secret: &[u8]) -> Result<Vec<u8>, SealingKeyError> {
        let mut sealed = Zeroizing::new(secret.to_vec());
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(purpose), &mut *sealed)
            .map_err(|_| SealingKeyError::Library)?;
        Ok([nonce.as_ref().as_slice(), sealed.as_slice()].concat())
    }

    /// Opens what was sealed for this purpose.
    ///
    /// # Errors
    ///
    /// [`Unsealable`] when the key, the purpose or the bytes are not those of the sealing.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
        if sealed.len() < NONCE_BYTES + TAG_BYTES {
            return Err(Unsealable);
        }
        let (nonce, sealed) = sealed.split_at(NONCE_BYTES);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unsealable)?;
        let mut secret = Zeroizing::new(sealed.to_vec());
        let opened = self.0.open_in_place(nonce, Aad::from(purpose), &mut secret);
        let length = opened.map_err(|_| Unsealable)?.len();
        secret.truncate(length);
        Ok(secret)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey")
    }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Never an error: a String takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    if text.len() != KEY_BYTES * 2 || !text.is_ascii() {
        return None;
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = digits.iter().try_fold(0_u8, |value, digit| {
            let digit = char::from(*digit).to_digit(16)?;
            Some(value << 4 | u8::try_from(digit).ok()?)
        })?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::{SealingKey, SealingKeyError, Unsealable};

    #[test]
    fn a_secret_opens_for_its_purpose_with_its_key_unchanged_and_not_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let key = SealingKey::create(&dir.path().join("a")).unwrap();
        let other = SealingKey::create(&dir.path().join("b")).unwrap();
        let sealed = key.seal("ca-key", b"secret").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(key.open("ca-key", &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(key.open("policy-key", &sealed), Err(Unsealable));
        assert_eq!(other.open("ca-key", &sealed), Err(Unsealable));
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(key.open("ca-key", &changed), Err(Unsealable), "byte {index}");
        }
        assert_eq!(key.open("ca-key", &sealed[..20]), Err(Unsealable));
    }

    #[test]
    fn a_key_is_written_once_for_its_owner_only_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sealing.key");
        let sealed = SealingKey::create(&path).unwrap().seal("x", b"y").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = SealingKey::load(&path).unwrap();
        assert_eq!(read.open("x", &sealed).unwrap().as_slice(), b"y");
        assert!(matches!(SealingKey::create(&path), Err(SealingKeyError::File { .. })));
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sealing.key");
        for text in ["", "00", &"g".repeat(64), &"0".repeat(66), &"ä".repeat(32)] {
            fs::write(&path, text).unwrap();
            let refused = SealingKey::load(&path);
            assert!(matches!(refused, Err(SealingKeyError::Form(_))), "{text:?}");
        }
    }
}
