//! cellwall-proxy: the sidecar.

fn main() {}
