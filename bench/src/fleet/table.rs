//! A fleet in lines that can be read.

use std::fmt::{self, Write as _};

use super::{Connected, Fleet, Wave};
use crate::compare::figure;

/// The figures of one run.
pub fn table(fleet: &Fleet) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, fleet);
    text
}

fn write(text: &mut String, fleet: &Fleet) -> fmt::Result {
    let (size, machine) = (&fleet.size, &fleet.machine);
    writeln!(
        text,
        "{} sidecars and {} agents of {} workloads, {} rules; one cellwalld {}",
        size.proxies, size.agents, size.workloads, size.rules, fleet.version
    )?;
    writeln!(
        text,
        "{}, {} cores, Linux {}; {} open files; agents are {} users",
        machine.cpu, machine.cores, machine.kernel, machine.open_files, fleet.users
    )?;
    writeln!(
        text,
        "\n{:<40}{:>7}{:>11}{:>9}{:>9}{:>9}{:>12}{:>10}",
        "", "count", "seconds", "p50 ms", "p99 ms", "1/s", "CPU us each", "load CPU"
    )?;
    if let Some(connected) = &fleet.connected {
        write_connected(text, connected)?;
    }
    if let Some(rotated) = &fleet.rotated {
        line(text, "rotation wave, from the first renewal", &rotated.wave)?;
        let longest = figure(rotated.longest_between_seconds);
        let life = size.ttl_seconds;
        writeln!(text, "longest from one SVID to the next: {longest} s; they live {life} s")?;
    }
    writeln!(
        text,
        "of the machine: steal up to {:.1} %, others up to {:.1} %",
        fleet.steal_percent, fleet.foreign_percent
    )
}

fn write_connected(text: &mut String, connected: &Connected) -> fmt::Result {
    line(text, "first SVIDs, all at once", &connected.issuance)?;
    line(text, "connect storm, to the ack of the policy", &connected.storm)?;
    for (number, push) in connected.pushes.iter().enumerate() {
        line(text, &format!("policy change {}, to the last ack", number + 1), push)?;
    }
    line(text, "revocation: its sidecars turned away", &connected.cut)?;
    line(text, "revocation: its SVID streams ended", &connected.withdrawn)?;
    line(text, "revocation: the others told", &connected.told)?;
    writeln!(text, "attempts to connect that failed: {}", connected.connects_failed)?;
    let memory = &connected.memory;
    writeln!(
        text,
        "memory of cellwalld: {} MiB alone, {} KiB for each agent, {} KiB for each sidecar",
        figure(mib(memory.alone_kib)),
        figure(memory.per_agent_kib),
        figure(memory.per_proxy_kib)
    )
}

fn line(text: &mut String, what: &str, wave: &Wave) -> fmt::Result {
    let is_told = wave.control_cpu_seconds > 0.0;
    let [each, load] = [figure(wave.control_cpu_us_each), figure(wave.load_cpu_seconds)];
    writeln!(
        text,
        "{what:<40}{:>7}{:>11.3}{:>9}{:>9}{:>9}{:>12}{:>10}",
        wave.count,
        wave.seconds,
        figure(wave.p50_ms),
        figure(wave.p99_ms),
        figure(wave.per_second()),
        if is_told { each } else { "-".to_owned() },
        if is_told { format!("{load} s") } else { "-".to_owned() }
    )
}

#[expect(clippy::cast_precision_loss, reason = "memory of one process")]
const fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
