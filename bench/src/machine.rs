//! The machine: what it is, what others do on it meanwhile, and which core does what.

use std::{fs, thread};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

/// What a result was measured on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// How many cores.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// Memory, KiB.
    pub memory_kib: u64,
    /// How many files a process may have open.
    pub open_files: u64,
}

/// CPU of the whole machine since its start, in ticks of 10 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// All time of all cores.
    pub all: u64,
    /// Time in which a core did something for a process or the kernel.
    pub busy: u64,
    /// Time that the hypervisor gave to others while we wanted it.
    pub steal: u64,
}

/// Which core does what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pinning {
    /// These cores, by number.
    Cores {
        /// Of the load and the backend.
        load: usize,
        /// Of both proxies.
        proxies: usize,
    },
    /// None: why not.
    None(String),
}

impl Machine {
    /// Looks.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let model = cpu.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(": ")).map_or("", |(_, name)| name);
        let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let total = total.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        Self {
            cpu: model.to_owned(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_kib: total.unwrap_or_default(),
            open_files: open_files(),
        }
    }
}

/// Allows this process, and those that it starts, as many files as the machine lets it, and says
/// how many these are.
pub fn open_files() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 0 };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

impl Cpu {
    /// Now.
    pub fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        text.lines().next().and_then(Self::parse).unwrap_or_default()
    }

    /// The first line: user nice system idle iowait irq softirq steal (proc_stat(5)). Guests'
    /// times are in user's already.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.strip_prefix("cpu ")?.split_whitespace();
        let mut next = || fields.next()?.parse::<u64>().ok();
        let (user, nice, system) = (next()?, next()?, next()?);
        let (idle, waiting) = (next()?, next()?);
        let (interrupts, soft, steal) = (next()?, next()?, next()?);
        let busy = user + nice + system + interrupts + soft;
        Some(Self { all: busy + idle + waiting + steal, busy, steal })
    }

    /// What has passed since then.
    pub const fn since(self, then: Self) -> Self {
        Self {
            all: self.all.saturating_sub(then.all),
            busy: self.busy.saturating_sub(then.busy),
            steal: self.steal.saturating_sub(then.steal),
        }
    }
}

impl Pinning {
    /// Two cores of those that this process may use, its own first; it stays on that one, and so do
    /// those that it starts without [`Pinning::on_the_other`].
    pub fn begin() -> Self {
        let allowed = match sched_getaffinity(Pid::from_raw(0)) {
            Ok(allowed) => allowed,
            Err(error) => return Self::None(format!("affinity: {error}")),
        };
        let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core) == Ok(true));
        let (Some(load), Some(proxies)) = (cores.next(), cores.next()) else {
            return Self::None("one core".to_owned());
        };
        match stay_on(load) {
            Ok(()) => Self::Cores { load, proxies },
            Err(error) => Self::None(format!("affinity: {error}")),
        }
    }

    /// Starts something on the proxies' core: a process begins where the thread that starts it is.
    ///
    /// # Errors
    /// If the kernel does not move us.
    pub fn on_the_other<T>(&self, start: impl FnOnce() -> T) -> nix::Result<T> {
        let Self::Cores { load, proxies } = self else { return Ok(start()) };
        stay_on(*proxies)?;
        let started = start();
        stay_on(*load)?;
        Ok(started)
    }
}

fn stay_on(core: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn busy_and_stolen_time_are_told_apart_and_subtracted() {
        let then = Cpu::parse("cpu  10 1 5 100 4 1 2 3 0 0").unwrap();
        let now = Cpu::parse("cpu  20 1 6 150 4 1 2 7 0 0").unwrap();

        assert_eq!(then, Cpu { all: 126, busy: 19, steal: 3 });
        assert_eq!(now.since(then), Cpu { all: 65, busy: 11, steal: 4 });
        assert_eq!(Cpu::parse("cpu0 1 2 3 4 5 6 7 8"), None);
    }

    #[test]
    fn what_is_started_on_the_other_core_runs_there_and_we_stay_on_ours() {
        // A thread of its own: the affinity is the thread's.
        thread::spawn(|| {
            let pinning = Pinning::begin();
            let allowed = || {
                let mut child = Command::new("grep");
                child.args(["Cpus_allowed_list", "/proc/self/status"]);
                let text = String::from_utf8(child.output().unwrap().stdout).unwrap();
                text.split_whitespace().last().unwrap().to_owned()
            };
            let there = pinning.on_the_other(allowed).unwrap();
            let here = allowed();
            match pinning {
                Pinning::Cores { load, proxies } => {
                    assert_eq!((here, there), (load.to_string(), proxies.to_string()));
                }
                Pinning::None(why) => assert!(!why.is_empty()),
            }
        })
        .join()
        .unwrap();
    }
}
