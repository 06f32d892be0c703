//! The policy documents: parse, validate, test, compile, explain.
