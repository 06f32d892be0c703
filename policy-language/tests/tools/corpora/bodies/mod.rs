//! What each fuzz target asserts about an input. `fuzz/src/lib.rs` is built from this file too.

mod conditions;
mod documents;
mod files;
mod paths;

pub(crate) use conditions::condition;
pub(crate) use documents::policy_documents;
pub(crate) use files::fmt;
pub(crate) use paths::path_template;
