//! Messages between machines: the SPIFFE Workload API and the distribution of policy. No behaviour.
//!
//! The code in `generated/` is made from `proto/` by `cargo run --manifest-path
//! api/codegen/Cargo.toml` and checked in, so that no build needs a protobuf compiler.

/// The SPIFFE Workload API, the standard's own file (`SPIFFE_Workload_API.md`, Appendix A).
pub mod workload {
    include!("generated/workload.rs");

    /// The descriptor of the Workload API alone, for gRPC reflection (WEP-13).
    pub const DESCRIPTOR: &[u8] = include_bytes!("generated/workload.bin");

    /// The metadata key that every call carries (`SPIFFE_Workload_Endpoint.md` §3).
    pub const HEADER: &str = "workload.spiffe.io";
}

/// Policy to the sidecars, and where each workload is served.
pub mod distribution {
    include!("generated/distribution.rs");
}
