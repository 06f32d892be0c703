//! The policy documents: parse, validate, test, compile, explain.
//!
//! People write `cellwall.yaml` and the files it includes. [`load`] reads them whole, reports every
//! mistake with its line and a caret, and gives a [`PolicySet`]: it compiles what each callee
//! enforces, runs the tests that stand in the documents, and explains decisions. The control plane
//! and the command line use it; a proxy never does.

mod check;
mod codes;
mod compile;
mod condition;
mod due;
mod explain;
mod finding;
mod format;
mod instant;
mod keys;
mod model;
mod place;
mod question;
mod reach;
mod read;
mod render;
mod schema;
mod set;
mod sources;
mod suggest;
mod syntax;
mod trial;
mod yaml;

pub use cellwall_policy::Verdict;
pub use check::{Checked, check, load};
pub use codes::{CODE_PAGES, CodePage, code_page};
pub use compile::CompileError;
pub use explain::{
    Clauses, DecidedCall, ExplainError, ExplainedBoundary, ExplainedSide, ExplainedStatement,
    Explanation, Fix, PastCall,
};
pub use finding::{Finding, Findings, Related, Severity};
pub use format::{FormatError, format};
pub use instant::parse_instant;
pub use model::{Entry, PolicySet, Summary};
pub use reach::{
    Ask, Callers, Cedar, CedarAction, Change, Difference, Edge, Edges, Governed, Judge, ModeChange,
    Needed, Outcome, Passage, Places, Recorded, Review, Reviewed, Statements, TooManyEnvironments,
    TooManyKinds, Turn,
};
pub use render::Paint;
pub use schema::schema;
pub use sources::{Sources, SourcesError};
pub use trial::{TestReport, TestResult};
