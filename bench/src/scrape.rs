//! What a sidecar counts of itself: its metrics, as text over HTTP/1.1.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{Loopback, network::Network, peer::Running};

/// How long the answer may take.
const ANSWERS: Duration = Duration::from_secs(5);

/// Leaves and trust that were taken, and policies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Taken {
    pub(crate) certificates: f64,
    pub(crate) policies: f64,
}

impl Taken {
    /// What the callee's sidecar has taken since its start; nothing if there is none that says it.
    pub(crate) async fn of(running: &Running) -> Option<Self> {
        let [_, callee] = running.admin?;
        let asked = metrics(&running.network, callee);
        let text = tokio::time::timeout(ANSWERS, asked).await.ok()??;
        Some(Self {
            certificates: sum(&text, "cellwall_svid_rotations_total{", "accepted"),
            policies: sum(&text, "cellwall_policy_updates_total{", "ack"),
        })
    }
}

async fn metrics(network: &Network, admin: Loopback) -> Option<String> {
    // A sidecar tells it to its own side alone (OBS-09).
    let stream = network.connect_callee(admin).ok()?;
    stream.set_nonblocking(true).ok()?;
    let mut stream = TcpStream::from_std(stream).ok()?;
    let host = admin.address();
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    text.starts_with("HTTP/1.1 200 ").then_some(text)
}

/// The samples of a counter that have this result.
fn sum(text: &str, begins: &str, result: &str) -> f64 {
    let label = format!("result=\"{result}\"");
    let samples = text.lines().filter_map(|line| line.strip_prefix(begins)?.rsplit_once("} "));
    let samples = samples.filter(|(labels, _)| labels.split(',').any(|one| one == label));
    samples.filter_map(|(_, value)| value.trim().parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_summed_and_what_was_refused_is_not() {
        let text = "# HELP cellwall_svid_rotations_total New.\n\
            cellwall_svid_rotations_total{result=\"accepted\",reason=\"svid\"} 7\r\n\
            cellwall_svid_rotations_total{reason=\"trust\",result=\"accepted\"} 2\n\
            cellwall_svid_rotations_total{result=\"refused\",reason=\"expired\"} 5\n\
            cellwall_other_total{result=\"accepted\"} 100\n";

        let count = sum(text, "cellwall_svid_rotations_total{", "accepted");

        assert!((count - 9.0).abs() < 1e-9, "{count}");
    }
}
