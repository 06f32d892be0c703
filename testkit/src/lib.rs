//! For tests only: a CA, hostile certificates, a scripted Workload API, workloads, a mesh of processes, the origin witness.
//!
//! * Certificates: [`ca`] for right ones, [`x509`] to bend them, [`hostile`] for the corpus.
//! * Names: [`near_miss`] for those that almost are an allowed one.
//! * The other end: [`tls`] for handshakes, [`client`] for HTTP, [`scrape`] for metrics,
//!   [`secrets`] for what must show nowhere.
//! * What a sidecar talks to, scripted: [`workload_api`], [`distribution`], [`workload`],
//!   [`strict`] (a workload that repairs nothing), [`collector`].
//! * Real programs: [`process`], [`sidecar`] (one, or a pair), [`mesh`] (all of it).
//! * The judge: [`witness`].
//!
//! The kit is an independent witness: it uses neither the proxy nor the control plane, neither
//! `mtls` nor `policy` nor `policy-language`. What it cannot set up, it panics about.

pub mod ca;
pub mod client;
pub mod collector;
pub mod der;
pub mod distribution;
#[expect(clippy::indexing_slicing, reason = "cuts certificates that it has made itself")]
pub mod hostile;
pub mod mesh;
pub mod near_miss;
pub mod process;
pub mod scrape;
pub mod secrets;
pub mod sidecar;
pub mod strict;
mod tasks;
#[expect(clippy::expect_used, reason = "a test without its key has nothing to go on with")]
pub mod tls;
pub mod witness;
pub mod workload;
pub mod workload_api;
#[expect(clippy::expect_used, reason = "a test without its key has nothing to go on with")]
pub mod x509;
