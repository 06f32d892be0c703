//! The fuzz targets. What they assert about the language and about a request's head lives with the tests,
//! which replay `fuzz/corpus` without a fuzzer; what is sent to a sidecar, they send to the running one.

#[path = "../../proxy/tests/replayed/judge.rs"]
mod judge;
mod scripted;
mod sidecar;

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

/// Reads bytes as the head of a request.
pub fn request_head(data: &[u8]) {
    cellwall_proxy::request_head(data);
}

/// Sends bytes to a sidecar over HTTP/1.
pub fn http1_front(data: &[u8]) {
    sidecar::http1(data);
}

/// Sends bytes to a sidecar as the frames of HTTP/2.
pub fn http2_frames(data: &[u8]) {
    sidecar::http2(data);
}
