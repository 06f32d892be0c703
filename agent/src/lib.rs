//! The Workload API on one node: attestation of local workloads and their SVIDs.
