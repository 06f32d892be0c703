//! The places in the fleet, found by whose they are: nobody looks through those of all others.

use std::collections::{BTreeMap, BTreeSet};

use spiffe::SpiffeId;

/// Streams of one identity at once; more are refused, so that one workload cannot take all.
const STREAMS_PER_ID: usize = 1024;

/// What is known of each place, by its number.
#[derive(Debug)]
pub(super) struct Roll<T> {
    next: u64,
    rows: BTreeMap<u64, (SpiffeId, T)>,
    /// The numbers of each identity's places. An identity without any is not in it.
    own: BTreeMap<SpiffeId, BTreeSet<u64>>,
}

impl<T> Default for Roll<T> {
    fn default() -> Self {
        Self { next: 0, rows: BTreeMap::new(), own: BTreeMap::new() }
    }
}

impl<T> Roll<T> {
    /// All, in the order they came.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.rows.values().map(|(_, row)| row)
    }

    /// Those of this identity, in the order they came.
    pub(super) fn of(&self, id: &SpiffeId) -> impl Iterator<Item = &T> {
        let own = self.own.get(id).into_iter().flatten();
        own.filter_map(|place| self.rows.get(place)).map(|(_, row)| row)
    }

    /// What is known of one.
    pub(super) fn row(&mut self, place: u64) -> Option<&mut T> {
        self.rows.get_mut(&place).map(|(_, row)| row)
    }

    /// A new place, unless this identity has too many.
    pub(super) fn add(&mut self, id: &SpiffeId, row: T) -> Option<u64> {
        let own = self.own.entry(id.clone()).or_default();
        if own.len() >= STREAMS_PER_ID {
            return None;
        }
        self.next += 1;
        own.insert(self.next);
        self.rows.insert(self.next, (id.clone(), row));
        Some(self.next)
    }

    /// Gives a place back.
    pub(super) fn remove(&mut self, place: u64) -> Option<T> {
        let (id, row) = self.rows.remove(&place)?;
        if let Some(own) = self.own.get_mut(&id) {
            own.remove(&place);
            if own.is_empty() {
                self.own.remove(&id);
            }
        }
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> SpiffeId {
        SpiffeId::new(format!("spiffe://mesh.example/prod/{name}")).unwrap()
    }

    #[test]
    fn an_identity_has_its_own_places_until_they_are_given_back() {
        let mut roll = Roll::default();
        let [one, two, three] =
            [("a", "1"), ("b", "2"), ("a", "3")].map(|(name, row)| roll.add(&id(name), row));
        assert_eq!((one, two, three), (Some(1), Some(2), Some(3)));
        let of = |roll: &Roll<&'static str>, name| roll.of(&id(name)).copied().collect::<Vec<_>>();
        assert_eq!(
            [of(&roll, "a"), of(&roll, "b"), of(&roll, "c")],
            [vec!["1", "3"], vec!["2"], vec![]]
        );

        *roll.row(3).unwrap() = "4";
        assert_eq!(roll.all().copied().collect::<Vec<_>>(), ["1", "2", "4"]);
        assert_eq!(roll.remove(1), Some("1"));
        assert_eq!((roll.remove(1), of(&roll, "a")), (None, vec!["4"]));
        assert_eq!((roll.remove(3), of(&roll, "a")), (Some("4"), vec![]));
        assert_eq!(roll.own.into_keys().collect::<Vec<_>>(), [id("b")]);
    }

    #[test]
    fn one_identity_cannot_take_all_places_and_has_those_again_that_it_gave_back() {
        let mut roll = Roll::default();
        for place in 1..=1024 {
            assert_eq!(roll.add(&id("a"), ()), Some(place));
        }
        assert_eq!((roll.add(&id("a"), ()), roll.add(&id("b"), ())), (None, Some(1025)));
        roll.remove(5);
        assert_eq!(roll.add(&id("a"), ()), Some(1026));
    }
}
