//! Things that are alike, together.

/// Groups by a key that is only equal or not, in the order of their first members.
#[derive(Debug)]
pub(super) struct Alike<K, V>(pub(super) Vec<Group<K, V>>);

/// What has one key.
#[derive(Debug)]
pub(super) struct Group<K, V> {
    pub(super) key: K,
    pub(super) members: Vec<V>,
}

impl<K, V> Default for Alike<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq, V> Alike<K, V> {
    pub(super) fn add(&mut self, key: K, member: V) {
        match self.0.iter_mut().find(|group| group.key == key) {
            Some(group) => group.members.push(member),
            None => self.0.push(Group { key, members: vec![member] }),
        }
    }
}
