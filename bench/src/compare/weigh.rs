//! What a measurement cost: CPU and memory of everybody, before and after.

use std::time::{Instant, SystemTime};

use super::{
    rows::{CPU, CPU_PER_GIB, PROGRAM, START},
    trial::Figures,
};
use crate::{
    Report,
    machine::Cpu,
    peer::Running,
    process::{self, Usage},
};

pub(super) const MIB: f64 = 1024.0;
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
const MICROSECONDS: f64 = 1e6;

/// CPU of everybody at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    at: Instant,
    machine: Cpu,
    sides: [Usage; 2],
    load: f64,
}

impl Moment {
    /// Now; `own` are the load and the backend.
    pub(super) fn now(running: &Running, own: [u32; 2]) -> Self {
        let [clients, servers] = &running.pids;
        Self {
            at: Instant::now(),
            machine: Cpu::now(),
            sides: [process::usage(clients), process::usage(servers)],
            load: own.map(process::alone).iter().map(Usage::cpu_seconds).sum(),
        }
    }
}

/// What passed between two moments.
pub(super) fn between((before, after): (Moment, Moment), figures: &mut Figures) {
    let elapsed = (after.at - before.at).as_secs_f64();
    let [client, server] = [0, 1].map(|side| {
        let cpu = |moment: &Moment| moment.sides.get(side).map_or(0.0, Usage::cpu_seconds);
        cpu(&after) - cpu(&before)
    });
    let kernel = |moment: &Moment| moment.sides.iter().map(|side| side.system_seconds).sum::<f64>();
    let (proxies, load) = (client + server, after.load - before.load);
    let machine = after.machine.since(before.machine);
    // Ticks of 10 ms.
    let [all, busy, steal] = [machine.all, machine.busy, machine.steal].map(|t| real(t) / 100.0);
    let percent = |part: f64| if all > 0.0 { 100.0 * part / all } else { 0.0 };
    figures.set("seconds", elapsed);
    figures.set("client_cpu_seconds", client);
    figures.set("server_cpu_seconds", server);
    figures.set("kernel_cpu_seconds", kernel(&after) - kernel(&before));
    figures.set("proxies_busy", proxies / elapsed);
    figures.set("load_busy", load / elapsed);
    figures.set("steal_percent", percent(steal));
    figures.set("foreign_percent", percent((busy - proxies - load).max(0.0)));
}

/// CPU and rate for a call, or for a GiB.
pub(super) fn per_unit(report: &Report, running: &Running, figures: &mut Figures) {
    let cpu = |name: &str| figures.by_name.get(name).copied().unwrap_or_default();
    let (client, server) = (cpu("client_cpu_seconds"), cpu("server_cpu_seconds"));
    let has_proxies = !running.pids.concat().is_empty();
    if let Some(bytes) = report.bytes.map(real).filter(|bytes| *bytes > 0.0) {
        figures.set("gb_per_second", bytes / report.seconds / 1e9);
        if has_proxies {
            figures.set(CPU_PER_GIB, (client + server) / (bytes / GIB));
        }
        return;
    }
    let calls = real(report.ok);
    figures.set("calls_per_second", calls / report.seconds);
    if has_proxies {
        figures.set(CPU, (client + server) / calls * MICROSECONDS);
        figures.set("client_cpu_us_per_call", client / calls * MICROSECONDS);
        figures.set("server_cpu_us_per_call", server / calls * MICROSECONDS);
    }
}

pub(super) fn started(running: &Running, figures: &mut Figures) {
    let took = SystemTime::now().duration_since(running.began).unwrap_or_default();
    let [clients, servers] = &running.pids;
    if let (Some(client), Some(_)) = (clients.first(), servers.first()) {
        figures.set(START, took.as_secs_f64() * 1000.0);
        let program = process::program_bytes(*client).map(|bytes| real(bytes) / 1e6);
        figures.by_name.extend(program.map(|size| (PROGRAM.to_owned(), size)));
    }
}

/// Resident memory of each side, KiB.
pub(super) fn memory(running: &Running) -> [u64; 2] {
    let [clients, servers] = &running.pids;
    [process::usage(clients).rss_kib, process::usage(servers).rss_kib]
}

/// A count as a number that can be divided.
#[expect(clippy::cast_precision_loss, reason = "counts of some minutes")]
pub(super) const fn real(count: u64) -> f64 {
    count as f64
}
