//! What cellwalld counts: names and help in one place, values where they arise.

use anyhow::Context as _;
use metrics::{describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Signing takes tens of microseconds, its audit record a write to the disk.
const SIGN_SECONDS: [f64; 10] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5];
/// From apply to the last ack: over the network, to many.
const CONVERGENCE_SECONDS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Counters: name and help.
const COUNTERS: [(&str, &str); 8] = [
    ("cellwall_ca_svids_issued_total", "Certificates asked of the authority, by result."),
    ("cellwall_attestation_failures_total", "Callers of the Workload API that are nobody."),
    ("cellwall_workload_connections_refused_total", "Connections over one user's limit."),
    ("cellwall_changes_total", "Policies proposed, by result."),
    ("cellwall_audit_append_failures_total", "Audit records that could not be written."),
    ("cellwall_ledger_batches_total", "Batches of decisions from sidecars, by result."),
    ("cellwall_ledger_forgotten_total", "Decisions and edges that were too old or too many."),
    ("cellwall_tls_handshakes_total", "Handshakes of sidecars, by result and reason."),
];

/// Gauges: name and help.
const GAUGES: [(&str, &str); 10] = [
    ("cellwall_build_info", "Always 1; the release is in the label."),
    ("cellwall_workload_connections", "Open connections of the Workload API."),
    ("cellwall_control_proxies", "Connected sidecars, by whether they enforce what was sent."),
    ("cellwall_policy_epoch", "What orders versions over restores; an operator raises it."),
    ("cellwall_policy_version", "The policy version in force; 0 if none was applied."),
    ("cellwall_ca_expiration_timestamp_seconds", "When the authority ends."),
    ("cellwall_identities", "Registered identities, by environment."),
    ("cellwall_identities_late", "Identities in use past their renewal, by environment."),
    ("cellwall_audit_sequence", "The last record of the audit log at the last look."),
    ("cellwall_audit_verified_timestamp_seconds", "When the audit log was last verified whole."),
];

/// Installs the recorder, once in a process.
///
/// # Errors
///
/// When a recorder is installed already.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let suffix = |name: &str| Matcher::Full(name.to_owned());
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(suffix("cellwall_ca_sign_duration_seconds"), &SIGN_SECONDS)
        .context("histogram")?
        .set_buckets_for_metric(
            suffix("cellwall_control_convergence_seconds"),
            &CONVERGENCE_SECONDS,
        )
        .context("histogram")?
        .install_recorder()
        .context("metrics")?;
    for (name, help) in COUNTERS {
        describe_counter!(name, help);
    }
    for (name, help) in GAUGES {
        describe_gauge!(name, help);
    }
    describe_histogram!(
        "cellwall_ca_sign_duration_seconds",
        "From request to certificate, audit record included, by result."
    );
    describe_histogram!(
        "cellwall_control_convergence_seconds",
        "From apply to the last ack of a policy version."
    );
    gauge!("cellwall_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}
