//! Who can reach whom: found by asking the engine about everything that documents can tell apart.

mod alike;
mod calls;
mod cedar;
mod change;
mod classes;
mod edges;
mod environments;
mod governance;
mod labels;
mod moments;
mod never;
mod replay;
mod review;
mod statements;
mod survey;
mod templates;

pub use cedar::{Cedar, CedarAction};
pub use change::{Change, Difference, ModeChange, Turn};
pub use edges::{Callers, Edge, Edges, Passage, Places};
pub use governance::{Governed, Needed, Statements};
pub(crate) use never::enforced;
pub use replay::{Ask, Judge, Outcome, Recorded};
pub use review::{Review, Reviewed};

#[cfg(test)]
mod tests;
