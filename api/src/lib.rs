//! Messages between machines: the SPIFFE Workload API, the distribution of policy, and traces by OTLP.
//! No behaviour.
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

/// Traces by OTLP, OpenTelemetry's own files (opentelemetry-proto 1.x, Apache-2.0). They refer to each
/// other by their packages, so these stay as they are.
pub mod otlp {
    /// The service of a collector.
    pub mod collector {
        /// That of traces.
        pub mod trace {
            /// Version 1.
            pub mod v1 {
                include!("generated/otlp_collector_trace.rs");
            }
        }
    }
    /// Spans.
    pub mod trace {
        /// Version 1.
        pub mod v1 {
            include!("generated/otlp_trace.rs");
        }
    }
    /// Where spans come from.
    pub mod resource {
        /// Version 1.
        pub mod v1 {
            include!("generated/otlp_resource.rs");
        }
    }
    /// Attributes.
    pub mod common {
        /// Version 1.
        pub mod v1 {
            include!("generated/otlp_common.rs");
        }
    }
}
