//! cellwall: what operators type.

fn main() {}
