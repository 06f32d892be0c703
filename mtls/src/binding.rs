//! What only the two ends of one session know, and how one of them proves on a new session that it
//! is still an end of an older one.
//!
//! TLS 1.3 cannot authenticate a session again. So each session leaves its two ends a name and a
//! key, both from the TLS exporter ([RFC 8446 §7.5]). A later session, with a fresh handshake and so
//! with the certificates of that moment, names the older one and shows that it holds its key. The
//! proof covers the channel binding of the session that it is shown on ([RFC 9266]): shown on
//! another session, it is worth nothing.
//!
//! [RFC 8446 §7.5]: https://www.rfc-editor.org/rfc/rfc8446#section-7.5
//! [RFC 9266]: https://www.rfc-editor.org/rfc/rfc9266

use std::fmt;

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

/// RFC 5705 §4: a label that nobody registered begins so.
const NAME: &[u8] = b"EXPERIMENTAL-cellwall-connection-name";
const KEY: &[u8] = b"EXPERIMENTAL-cellwall-connection-key";

/// RFC 9266 §4.2.
const CHANNEL: &[u8] = b"EXPORTER-Channel-Binding";

/// The length of a proof: HMAC-SHA256.
pub const PROOF_LEN: usize = 32;

/// Which session is meant. Says nothing about its key.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ConnectionName(pub [u8; 16]);

/// Which end of a session proves something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The one that connected.
    Client,
    /// The one that accepted.
    Server,
}

/// What only the two ends of one session know of it.
pub struct Binding {
    name: ConnectionName,
    /// As short as it is: few sessions ever prove something, and all of them are open.
    key: Box<Zeroizing<[u8; 32]>>,
    channel: [u8; 32],
}

impl Binding {
    /// Takes the values from a session by `export(output, label)`.
    pub(crate) fn export(
        export: impl Fn(&mut [u8], &[u8]) -> Result<(), rustls::Error>,
    ) -> Result<Self, rustls::Error> {
        let (mut name, mut channel) = ([0; 16], [0; 32]);
        let mut key = Box::new(Zeroizing::new([0; 32]));
        export(&mut name, NAME)?;
        export(&mut **key, KEY)?;
        export(&mut channel, CHANNEL)?;
        Ok(Self { name: ConnectionName(name), key, channel })
    }

    /// The name of this session.
    pub fn name(&self) -> ConnectionName {
        self.name
    }

    /// Proves, as `end` of this session, that the same party is at that end of `fresh`.
    pub fn prove(&self, end: End, fresh: &Self) -> [u8; PROOF_LEN] {
        let mut proof = [0; PROOF_LEN];
        proof.copy_from_slice(hmac::sign(&self.key(), &statement(end, fresh)).as_ref());
        proof
    }

    /// Whether `proof`, shown on `fresh`, is one of `end` of this session. Takes as long for every
    /// wrong proof (SEC-06).
    pub fn is_proved(&self, end: End, fresh: &Self, proof: &[u8; PROOF_LEN]) -> bool {
        hmac::verify(&self.key(), &statement(end, fresh), proof).is_ok()
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.key.as_slice())
    }
}

/// What is signed: never the same for two ends or for two sessions.
fn statement(end: End, fresh: &Binding) -> [u8; 33] {
    let mut statement = [0; 33];
    let (side, channel) = statement.split_at_mut(1);
    side.fill(match end {
        End::Client => b'c',
        End::Server => b's',
    });
    channel.copy_from_slice(&fresh.channel);
    statement
}

/// Without the key.
impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding").field("name", &self.name).finish_non_exhaustive()
    }
}
