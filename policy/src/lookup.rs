//! Tables that are read for each call.
//!
//! What is in them comes from a policy, and their seed from the process: whoever calls can look a name
//! up but puts none in. So they need no hash that withstands an attacker, which costs four times as
//! much.

use std::collections::HashMap;

/// A table that is read for each call.
pub(crate) type Lookup<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// How many texts are compared one after the other: to hash one costs as much as that.
const FEW: usize = 4;

/// The same by text. Most hold one or two: the literals behind a segment, the methods of a path.
#[derive(Debug)]
pub(crate) enum Texts<V> {
    Few(Vec<Entry<V>>),
    Many(Lookup<Box<[u8]>, V>),
}

#[derive(Debug)]
pub(crate) struct Entry<V> {
    text: Box<[u8]>,
    value: V,
}

impl<V> Default for Texts<V> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<V> Texts<V> {
    /// The value of a text.
    pub(crate) fn get(&self, text: &[u8]) -> Option<&V> {
        match self {
            Self::Few(few) => {
                few.iter().find(|known| *known.text == *text).map(|known| &known.value)
            }
            Self::Many(many) => many.get(text),
        }
    }

    /// Gives a text its value, instead of one that it may have.
    pub(crate) fn insert(&mut self, text: &[u8], value: V) {
        match self {
            Self::Few(few) => match few.iter_mut().find(|known| *known.text == *text) {
                Some(known) => known.value = value,
                None => few.push(Entry { text: text.into(), value }),
            },
            Self::Many(many) => drop(many.insert(text.into(), value)),
        }
        if let Self::Few(few) = self
            && few.len() > FEW
        {
            let all = few.drain(..).map(|Entry { text, value }| (text, value));
            *self = Self::Many(all.collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::{collection::vec, prelude::*};

    use super::Texts;

    proptest! {
        #[test]
        fn a_table_by_text_says_what_a_map_says(
            put in vec(("[ab]{0,3}", any::<u8>()), 0..12),
            asked in vec("[abc]{0,3}", 8),
        ) {
            let (mut texts, mut map) = (Texts::default(), HashMap::new());
            for (text, value) in &put {
                texts.insert(text.as_bytes(), *value);
                map.insert(text, *value);
            }
            for text in put.iter().map(|(text, _)| text).chain(&asked) {
                prop_assert_eq!(texts.get(text.as_bytes()), map.get(text));
            }
        }
    }
}
