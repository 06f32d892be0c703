//! Generates the Rust code of the protobuf files, which is checked in.

use std::{error::Error, path::Path};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let api = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no parent folder")?;
    let out = api.join("src/generated");
    std::fs::create_dir_all(&out)?;
    let proto = api.join("proto");
    let traces = "opentelemetry/proto/collector/trace/v1/trace_service.proto";
    let files = ["workload.proto", "cellwall/v1/distribution.proto", traces];
    let descriptors = protox::compile(files, [&proto])?;
    // Reflection lists the Workload API and nothing else (WEP-13).
    let workload = protox::compile(["workload.proto"], [&proto])?;
    std::fs::write(out.join("workload.bin"), workload.encode_to_vec())?;
    tonic_prost_build::configure()
        .out_dir(&out)
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)?;
    std::fs::rename(out.join("_.rs"), out.join("workload.rs"))?;
    std::fs::rename(out.join("cellwall.v1.rs"), out.join("distribution.rs"))?;
    for package in ["collector.trace", "trace", "resource", "common"] {
        let name = package.replace('.', "_");
        let made = out.join(format!("opentelemetry.proto.{package}.v1.rs"));
        std::fs::rename(made, out.join(format!("otlp_{name}.rs")))?;
    }
    Ok(())
}
