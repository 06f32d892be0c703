//! cargo demo, cargo check-all, cargo evidence, cargo interop.

fn main() {}
