//! What processes use: CPU and memory, of all their threads and of the children they have.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};

/// In how many ticks of a second the kernel tells times: `USER_HZ`, 100 on every architecture that
/// we build for (proc_pid_stat(5)).
const TICKS_PER_SECOND: u64 = 100;

/// What some processes have used together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU in user mode since they began, ended children included, in seconds.
    pub user_seconds: f64,
    /// CPU in the kernel, likewise.
    pub system_seconds: f64,
    /// Resident memory now, KiB; what processes share counts for each.
    pub rss_kib: u64,
    /// Resident memory now, KiB; what processes share counts once.
    pub pss_kib: u64,
    /// How many processes these were.
    pub processes: usize,
}

impl Usage {
    /// CPU in both modes, in seconds.
    pub const fn cpu_seconds(&self) -> f64 {
        self.user_seconds + self.system_seconds
    }
}

/// One line of `/proc/PID/stat`, as far as it is of interest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stat {
    parent: u32,
    user: u64,
    system: u64,
}

/// What these processes and their descendants use. One that has ended uses nothing: its CPU is in
/// its parent's, if it was waited for.
pub fn usage(roots: &[u32]) -> Usage {
    sum(family(roots))
}

/// These processes and their descendants, by number.
pub fn family_of(roots: &[u32]) -> Vec<u32> {
    family(roots).into_keys().collect()
}

/// What one process uses without its descendants; those that it waited for count.
pub fn alone(id: u32) -> Usage {
    sum(all().into_iter().filter(|(other, _)| *other == id))
}

fn sum(processes: impl IntoIterator<Item = (u32, Stat)>) -> Usage {
    let mut usage = Usage::default();
    let (mut user, mut system) = (0, 0);
    for (id, stat) in processes {
        user += stat.user;
        system += stat.system;
        let folder = Path::new("/proc").join(id.to_string());
        let (rss, pss) = memory(&folder);
        usage.rss_kib += rss;
        usage.pss_kib += pss;
        usage.processes += 1;
    }
    usage.user_seconds = seconds(user);
    usage.system_seconds = seconds(system);
    usage
}

/// How large the program of a process is, in bytes; none if it has ended or is not ours to ask.
pub fn program_bytes(id: u32) -> Option<u64> {
    fs::metadata(format!("/proc/{id}/exe")).ok().map(|program| program.len())
}

/// All processes of the machine.
fn all() -> BTreeMap<u32, Stat> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One may end while we look.
        let Ok(text) = fs::read_to_string(entry.path().join("stat")) else { continue };
        all.extend(parse(&text).map(|stat| (id, stat)));
    }
    all
}

/// These processes and all that descend from them.
fn family(roots: &[u32]) -> BTreeMap<u32, Stat> {
    let mut all = all();
    let mut found: BTreeMap<u32, Stat> = BTreeMap::new();
    let mut wanted = roots.to_vec();
    while let Some(id) = wanted.pop() {
        if let Some(stat) = all.remove(&id) {
            found.insert(id, stat);
            wanted.extend(all.iter().filter(|(_, stat)| stat.parent == id).map(|(child, _)| child));
        }
    }
    found
}

/// Fields are counted from after the name, which may hold anything (proc_pid_stat(5)).
fn parse(line: &str) -> Option<Stat> {
    let (_, rest) = line.rsplit_once(')')?;
    let fields = rest.split_whitespace().collect::<Vec<_>>();
    // The name is field 2, so that the state, field 3, is the first here.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(field(4)?).ok()?,
        user: field(14)? + field(16)?,
        system: field(15)? + field(17)?,
    })
}

/// Rss and Pss in KiB. Where the kernel does not tell the second, it is as the first.
fn memory(folder: &Path) -> (u64, u64) {
    let kib = |file: &str, name: &str| {
        let text = fs::read_to_string(folder.join(file)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let rss = kib("smaps_rollup", "Rss:").or_else(|| kib("status", "VmRSS:")).unwrap_or_default();
    (rss, kib("smaps_rollup", "Pss:").unwrap_or(rss))
}

fn seconds(ticks: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "ticks of processes that live for minutes")]
    let ticks = ticks as f64;
    #[expect(clippy::cast_precision_loss, reason = "a hundred")]
    let second = TICKS_PER_SECOND as f64;
    ticks / second
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_moves_no_field() {
        let line = "42 (a) b (c)) S 7 42 42 0 -1 4194560 1 2 3 4 50 60 5 6 20 0 3 0 1 2 3";
        assert_eq!(parse(line), Some(Stat { parent: 7, user: 55, system: 66 }));
        assert_eq!(parse("42 (a"), None);
    }

    #[test]
    fn the_cpu_of_a_child_counts_for_whoever_started_it() {
        // A shell, and a child of it that works until it is read no more.
        let mut shell = Command::new("sh")
            .args(["-c", "while :; do :; done & read line; kill $!"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs(8);
        let mut seen = Usage::default();
        while Instant::now() < end && (seen.processes < 2 || seen.user_seconds < 0.05) {
            std::thread::yield_now();
            seen = usage(&[shell.id()]);
        }
        drop(shell.stdin.take());
        shell.wait().unwrap();

        assert_eq!(seen.processes, 2);
        assert!(seen.cpu_seconds() >= 0.05, "{seen:?}");
        assert!(seen.rss_kib >= seen.pss_kib && seen.pss_kib > 0, "{seen:?}");
        assert_eq!(usage(&[shell.id()]), Usage::default());
    }

    #[test]
    fn our_own_program_has_a_size() {
        assert!(program_bytes(std::process::id()).is_some_and(|bytes| bytes > 100_000));
        assert_eq!(program_bytes(0), None);
    }
}
