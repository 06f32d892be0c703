//! The random documents that the engine is compared on.

#[path = "../language/oracle/naive.rs"]
mod naive;
#[path = "../language/oracle/random.rs"]
mod random;

use proptest::strategy::Strategy;

/// A document. Some have mistakes of logic.
pub(crate) fn document() -> impl Strategy<Value = String> {
    random::document()
}
