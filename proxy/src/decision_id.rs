//! The name of one decision: short, unguessable, in the order of time.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use rand::Rng as _;

/// `d_` and 26 characters of Crockford's base 32: 48 bits of milliseconds, 80 random bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DecisionId(u128);

/// Crockford's alphabet: no I, L, O, U, so that an id can be read out on the phone.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl DecisionId {
    /// Names a decision taken now.
    #[expect(clippy::new_without_default, reason = "each is different, so none is the default")]
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let random = rand::rng().next_u64() as u128 | (u128::from(rand::rng().next_u32()) << 64);
        Self((now.as_millis() << 80) | (random & ((1 << 80) - 1)))
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("d_")?;
        for place in (0..26).rev() {
            let digit = usize::try_from((self.0 >> (place * 5)) & 31).unwrap_or_default();
            let character = ALPHABET.get(digit).copied().unwrap_or(b'0');
            write!(f, "{}", char::from(character))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::DecisionId;

    #[test]
    fn an_id_is_28_characters_in_the_order_of_time() {
        let (first, second) = (DecisionId(1 << 80).to_string(), DecisionId(2 << 80).to_string());
        assert_eq!(first, "d_00000000010000000000000000");
        assert!(first < second);
        assert_ne!(DecisionId::new().to_string(), DecisionId::new().to_string());
    }
}
