//! For tests only: a CA, hostile certificates, a scripted Workload API, workloads, a mesh of processes, the origin witness.
