//! The fuzz targets. What they assert lives with the tests of the language, which replay `fuzz/corpus`
//! without a fuzzer.

#[path = "../../policy-language/tests/tools/corpora/bodies/mod.rs"]
mod bodies;

/// Reads bytes as a policy of one file.
pub fn policy_documents(data: &[u8]) {
    bodies::policy_documents(data);
}

/// Reads bytes as path templates and a request's path.
pub fn path_template(data: &[u8]) {
    bodies::path_template(data);
}

/// Reads bytes as the condition of a rule.
pub fn condition(data: &[u8]) {
    bodies::condition(data);
}

/// Formats bytes.
pub fn fmt(data: &[u8]) {
    bodies::fmt(data);
}
