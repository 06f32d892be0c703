//! What a simulated fleet brought to light.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{
    machine::{Cpu, Machine},
    process::{self, Usage},
};

/// The form of this document.
pub const SCHEMA: u32 = 1;

/// How large a fleet, and what it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// Sidecars connected to the control plane; without any, rotation alone is looked at.
    pub proxies: usize,
    /// Streams of the Workload API, an identity each.
    pub agents: usize,
    /// Workloads that these are of.
    pub workloads: usize,
    /// Rules of the policy, all workloads together.
    pub rules: usize,
    /// Workloads that each sidecar wants to know the addresses of.
    pub destinations: usize,
    /// How often a policy is changed.
    pub pushes: usize,
    /// How long SVIDs live while their rotation is looked at, in seconds; 0: it is not.
    pub ttl_seconds: u64,
}

/// Everything that came of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    /// [`SCHEMA`].
    pub schema: u32,
    /// When it ended, in seconds since 1970.
    pub at: u64,
    /// On what.
    pub machine: Machine,
    /// What `cellwalld` says of its version.
    pub version: String,
    /// How large.
    pub size: Size,
    /// How many users the agents' processes were.
    pub users: usize,
    /// Sidecars and agents at once; none if there were no sidecars.
    pub connected: Option<Connected>,
    /// SVIDs that are short-lived; none if they were not looked at.
    pub rotated: Option<Rotated>,
    /// The most of the machine's time that was stolen, and that others used, in percent.
    pub steal_percent: f64,
    /// Likewise.
    pub foreign_percent: f64,
}

/// SVIDs, a connect storm, changes of policy, a workload that is revoked, memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connected {
    /// All agents ask for their first SVID at once.
    pub issuance: Wave,
    /// All sidecars connect at once: until each has acknowledged its policy.
    pub storm: Wave,
    /// Attempts of sidecars to connect that failed, or were cut, and were made again.
    pub connects_failed: u64,
    /// Each change of policy: until the last sidecar has acknowledged it.
    pub pushes: Vec<Wave>,
    /// A workload is taken out of the policy: until the last of its sidecars is turned away.
    pub cut: Wave,
    /// The same: until the last stream of the Workload API of that workload has ended.
    pub withdrawn: Wave,
    /// The same: until the last of the others has acknowledged the policy without it.
    pub told: Wave,
    /// Resident memory of `cellwalld`.
    pub memory: Memory,
}

/// All SVIDs renewed once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rotated {
    /// Times count from the first renewal.
    pub wave: Wave,
    /// The longest that one agent waited from one SVID to the next, in seconds.
    pub longest_between_seconds: f64,
}

/// Something that many wait for at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Wave {
    /// How many.
    pub count: usize,
    /// From the begin to the last of them.
    pub seconds: f64,
    /// The median of them.
    pub p50_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// CPU of `cellwalld` meanwhile.
    pub control_cpu_seconds: f64,
    /// The same for each of them, in microseconds.
    pub control_cpu_us_each: f64,
    /// CPU of those that are simulated.
    pub load_cpu_seconds: f64,
    /// Of the machine's time: taken by its hypervisor, and by others on it.
    pub steal_percent: f64,
    /// Likewise.
    pub foreign_percent: f64,
}

/// Memory of `cellwalld`, KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// With a policy and nobody connected.
    pub alone_kib: u64,
    /// With all agents.
    pub agents_kib: u64,
    /// With all agents and sidecars.
    pub all_kib: u64,
    /// What one agent adds.
    pub per_agent_kib: f64,
    /// What one sidecar adds.
    pub per_proxy_kib: f64,
}

/// CPU of everybody at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) at: Instant,
    control: Usage,
    load: f64,
    machine: Cpu,
}

impl Moment {
    /// Now; of `cellwalld` by its number.
    pub(super) fn now(control: u32) -> Self {
        Self {
            at: Instant::now(),
            control: process::alone(control),
            load: process::usage(&[std::process::id()]).cpu_seconds(),
            machine: Cpu::now(),
        }
    }

    /// Resident memory of `cellwalld`.
    pub(super) const fn rss_kib(&self) -> u64 {
        self.control.rss_kib
    }
}

impl Wave {
    /// What was waited for from `from` on, between two moments.
    pub(super) fn new(from: Instant, ends: &[Instant], before: &Moment, after: &Moment) -> Self {
        let mut waits = ends.iter().map(|end| *end - from).collect::<Vec<_>>();
        waits.sort_unstable();
        let at = |share: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share of a count is one"
            )]
            let index = (share * real(waits.len())).ceil() as usize;
            waits.get(index.saturating_sub(1)).copied().unwrap_or_default()
        };
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        let control = after.control.cpu_seconds() - before.control.cpu_seconds();
        // This process is one of its own family; `cellwalld` is its child, and counted apart.
        let load = (after.load - before.load - control).max(0.0);
        let machine = after.machine.since(before.machine);
        // Ticks of 10 ms.
        #[expect(clippy::cast_precision_loss, reason = "counts of some minutes")]
        let [all, busy, steal] =
            [machine.all, machine.busy, machine.steal].map(|ticks| ticks as f64 / 100.0);
        let percent = |part: f64| if all > 0.0 { 100.0 * part / all } else { 0.0 };
        Self {
            count: waits.len(),
            seconds: waits.last().copied().unwrap_or_default().as_secs_f64(),
            p50_ms: milliseconds(at(0.5)),
            p99_ms: milliseconds(at(0.99)),
            control_cpu_seconds: control,
            control_cpu_us_each: control / real(waits.len().max(1)) * 1e6,
            load_cpu_seconds: load,
            steal_percent: percent(steal),
            foreign_percent: percent((busy - control - load).max(0.0)),
        }
    }

    /// What was waited for from `from` on, where CPU is told with something else.
    pub(super) fn times(from: Instant, ends: &[Instant], moment: &Moment) -> Self {
        Self::new(from, ends, moment, moment)
    }

    /// How many a second.
    pub fn per_second(&self) -> f64 {
        if self.seconds > 0.0 { real(self.count) / self.seconds } else { 0.0 }
    }
}

/// A count as a number that can be divided.
#[expect(clippy::cast_precision_loss, reason = "counts of thousands")]
pub(super) const fn real(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_ends_with_its_last_and_its_cpu_is_shared_by_all() {
        let moment = |control: f64, load: f64| Moment {
            at: Instant::now(),
            control: Usage { user_seconds: control, ..Usage::default() },
            load,
            machine: Cpu::default(),
        };
        let (before, after) = (moment(1.0, 1.0), moment(3.0, 4.0));
        let from = Instant::now();
        let ends = (1..=100).map(|n| from + Duration::from_millis(101 - n)).collect::<Vec<_>>();

        let wave = Wave::new(from, &ends, &before, &after);

        assert_eq!((wave.count, wave.seconds, wave.p50_ms, wave.p99_ms), (100, 0.1, 50.0, 99.0));
        assert!((wave.control_cpu_us_each - 20_000.0).abs() < 1e-6, "{wave:?}");
        assert!((wave.load_cpu_seconds - 1.0).abs() < 1e-9, "{wave:?}");
        assert!((wave.per_second() - 1000.0).abs() < 1e-6);
        assert_eq!(Wave::new(from, &[], &before, &before), Wave::default());
    }
}
