//! A workload for tests and the demo.

fn main() {}
