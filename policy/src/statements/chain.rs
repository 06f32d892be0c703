//! Lists of statement numbers that many callers share.

use std::collections::HashMap;

/// A list's number.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Chain(u32);

/// Every list that occurs, once. The first is empty.
#[derive(Debug)]
pub(super) struct Chains(Vec<Box<[u32]>>);

/// How many statements of a list are looked at for one that covers a new one. To leave a covered one
/// out saves room and decides nothing; to look at all of them would cost their square.
const MAX_LOOKED_AT: usize = 64;

/// Makes lists, one statement after the other. A list is its last statement and the list before it,
/// so that what only led to another list takes one step of it.
#[derive(Debug)]
pub(super) struct ChainBuilder {
    steps: Vec<Step>,
    longer: HashMap<(Chain, u32), Chain>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Step {
    statement: u32,
    before: Chain,
}

impl Chains {
    /// The statements of a list, in their order.
    pub(super) fn get(&self, chain: Chain) -> &[u32] {
        usize::try_from(chain.0).ok().and_then(|at| self.0.get(at)).map_or(&[], |list| list)
    }

    /// Adds a list. `None` when there are more than can be counted.
    pub(super) fn push(&mut self, list: Box<[u32]>) -> Option<Chain> {
        let number = u32::try_from(self.0.len()).ok()?;
        self.0.push(list);
        Some(Chain(number))
    }
}

impl ChainBuilder {
    pub(super) fn new() -> Self {
        Self { steps: vec![Step::default()], longer: HashMap::new() }
    }

    /// The list with one statement more, unless one of its last ones `covers` it. `None` when there are
    /// more lists than can be counted.
    pub(super) fn extend(
        &mut self,
        chain: Chain,
        statement: u32,
        covers: impl Fn(u32) -> bool,
    ) -> Option<Chain> {
        if let Some(known) = self.longer.get(&(chain, statement)) {
            return Some(*known);
        }
        // The same statement can only be the last one.
        let is_covered =
            self.walk(chain).take(MAX_LOOKED_AT).any(|known| known == statement || covers(known));
        let longer = if is_covered {
            chain
        } else {
            let number = Chain(u32::try_from(self.steps.len()).ok()?);
            self.steps.push(Step { statement, before: chain });
            number
        };
        self.longer.insert((chain, statement), longer);
        Some(longer)
    }

    /// The statements of a list, the last one first.
    fn walk(&self, chain: Chain) -> impl Iterator<Item = u32> {
        let step = |chain: Chain| {
            let at = usize::try_from(chain.0).ok().filter(|at| *at > 0)?;
            self.steps.get(at)
        };
        std::iter::successors(step(chain), move |last| step(last.before)).map(|it| it.statement)
    }

    /// The lists that are in use, which get new numbers.
    pub(super) fn finish<'a>(self, used: impl Iterator<Item = &'a mut Chain>) -> Chains {
        let mut lists = Chains::default();
        let mut numbers = HashMap::from([(Chain::default(), Chain::default())]);
        for chain in used {
            let next = Chain(u32::try_from(lists.0.len()).unwrap_or(u32::MAX));
            let number = *numbers.entry(*chain).or_insert_with(|| {
                let mut list: Box<[u32]> = self.walk(*chain).collect();
                list.reverse();
                lists.0.push(list);
                next
            });
            *chain = number;
        }
        lists
    }
}

impl Default for Chains {
    /// The empty list alone.
    fn default() -> Self {
        Self(vec![Box::default()])
    }
}
