//! Who can reach whom: found by asking the engine about everything that documents can tell apart.

mod alike;
mod bounded;
mod calls;
mod cedar;
mod change;
mod classes;
mod edges;
mod encoded;
mod environments;
mod governance;
mod idempotent;
mod labels;
mod moments;
mod never;
mod replay;
mod requests;
mod review;
mod statements;
mod survey;
mod templates;
mod values;

pub(crate) use bounded::bounded;
pub use cedar::{Cedar, CedarAction};
pub use change::{Change, Difference, ModeChange, Turn};
pub use edges::{Callers, Edge, Edges, Passage, Places};
pub(crate) use environments::Environments;
pub use environments::TooManyEnvironments;
pub use governance::{Governed, Needed, Statements};
pub(crate) use never::enforced;
pub use replay::{Ask, Judge, Outcome, Recorded};
pub use review::{Review, Reviewed};
pub use templates::TooManyKinds;
pub(crate) use values::Compared;

#[cfg(test)]
mod tests;
