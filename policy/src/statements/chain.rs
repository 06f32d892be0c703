//! Lists of statement numbers that many callers share.

use std::collections::HashMap;

/// A list's number.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Chain(u32);

/// Every list that occurs, once. The first is empty.
#[derive(Debug)]
pub(super) struct Chains(Vec<Box<[u32]>>);

/// Makes lists, one statement after the other.
#[derive(Debug)]
pub(super) struct ChainBuilder {
    lists: Vec<Box<[u32]>>,
    longer: HashMap<(Chain, u32), Chain>,
}

impl Chains {
    /// The statements of a list, in their order.
    pub(super) fn get(&self, chain: Chain) -> &[u32] {
        usize::try_from(chain.0).ok().and_then(|at| self.0.get(at)).map_or(&[], |list| list)
    }
}

impl ChainBuilder {
    pub(super) fn new() -> Self {
        Self { lists: vec![Box::default()], longer: HashMap::new() }
    }

    /// The list with one statement more, unless one that is in it `covers` it.
    pub(super) fn extend(
        &mut self,
        chain: Chain,
        statement: u32,
        covers: impl Fn(u32) -> bool,
    ) -> Option<Chain> {
        if let Some(known) = self.longer.get(&(chain, statement)) {
            return Some(*known);
        }
        let list = usize::try_from(chain.0).ok().and_then(|at| self.lists.get(at))?;
        let longer = if list.iter().any(|known| *known == statement || covers(*known)) {
            chain
        } else {
            let list = list.iter().copied().chain([statement]).collect();
            let number = Chain(u32::try_from(self.lists.len()).ok()?);
            self.lists.push(list);
            number
        };
        self.longer.insert((chain, statement), longer);
        Some(longer)
    }

    pub(super) fn finish(self) -> Chains {
        Chains(self.lists)
    }
}

impl Default for Chains {
    fn default() -> Self {
        ChainBuilder::new().finish()
    }
}
