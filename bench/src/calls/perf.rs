//! Counting with `perf stat`: in the kernel, exactly, without stopping anybody.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    future::Future,
    path::Path,
};

use super::{
    CallsError,
    side::Sides,
    tally::{Count, Tally},
};
use crate::{
    LoadError, Report,
    perf::{self, Perf},
};

/// Where the kernel lists its trace points.
const TRACING: &str = "/sys/kernel/tracing/events";

/// Those that are told by name. The kernel needs a tenth of a second to turn one on, so that it is
/// not all of them; what is called besides is `others`.
const NAMES: &[&str] = &[
    "read",
    "write",
    "readv",
    "writev",
    "recvfrom",
    "sendto",
    "recvmsg",
    "sendmsg",
    "epoll_wait",
    "epoll_pwait",
    "epoll_ctl",
    "poll",
    "ppoll",
    "futex",
    "accept4",
    "connect",
    "socket",
    "shutdown",
    "close",
    "setsockopt",
    "getsockopt",
    "getsockname",
    "getpeername",
    "fcntl",
    "ioctl",
    "timerfd_settime",
    "clock_gettime",
    "clock_nanosleep",
    "sched_yield",
    "mmap",
    "munmap",
    "madvise",
    "brk",
    "getrandom",
    "splice",
    "getpid",
    "io_uring_enter",
];

/// All system calls together.
const ALL: &str = "raw_syscalls:sys_exit";
const SWITCHES: &str = "context-switches";

/// `perf stat`, attached to both sides and not counting yet.
#[derive(Debug)]
pub(super) struct Counting(Perf);

/// What it says of itself, if it can be used here.
pub(super) async fn version() -> Result<String, String> {
    if !Path::new(TRACING).join("raw_syscalls/sys_exit").is_dir() {
        return Err(format!("the kernel shows no trace points at {TRACING}"));
    }
    perf::version().await
}

impl Counting {
    pub(super) fn attach(sides: &Sides) -> Result<Self, CallsError> {
        let perf = Perf::start("stat", |command, folder| {
            command.args(["--per-thread", "-x", ";", "-o"]).arg(folder.join(COUNTS));
            command.args(["-e", ALL, "-e", SWITCHES]);
            // First how often each ended, then how often with an error: the same trace point, so
            // that it is turned on once.
            for name in NAMES.iter().filter(|name| exists(name)) {
                let event = format!("syscalls:sys_exit_{name}");
                command.args(["-e", &event, "-e", &event, "--filter", "ret < 0"]);
            }
            let all = sides.processes().concat().iter().map(u32::to_string).collect::<Vec<_>>();
            command.arg("-p").arg(all.join(","));
        });
        perf.map(Self).map_err(CallsError::system("start perf"))
    }

    /// Counts while the load goes on, and not before it or after it.
    pub(super) async fn count(
        self,
        sides: &Sides,
        load: impl Future<Output = Result<Report, LoadError>>,
    ) -> Result<(Report, [Tally; 2]), CallsError> {
        let Self(mut perf) = self;
        perf.tell("enable").await.map_err(CallsError::system("tell perf to begin"))?;
        let report = load.await?;
        perf.tell("disable").await.map_err(CallsError::system("tell perf to end"))?;
        let folder = perf.end().await.map_err(CallsError::system("wait for perf"))?;
        let counts = fs::read_to_string(folder.path().join(COUNTS));
        let counts = counts.map_err(CallsError::system("what perf has counted"))?;
        Ok((report, tallies(&counts, |thread| sides.side(thread))))
    }
}

/// The file in which perf writes what it has counted.
const COUNTS: &str = "counts";

fn exists(name: &str) -> bool {
    Path::new(TRACING).join(format!("syscalls/sys_exit_{name}")).is_dir()
}

/// Lines of `THREAD-ID;COUNT;UNIT;EVENT;..`: for each trace point those of all, then of the failed.
fn tallies(text: &str, side: impl Fn(u32) -> Option<usize>) -> [Tally; 2] {
    let mut tallies = <[Tally; 2]>::default();
    let mut seen = BTreeSet::new();
    // What is not told by name: all of a thread, less those that are.
    let mut others: BTreeMap<(usize, String), u64> = BTreeMap::new();
    for line in text.lines() {
        let fields = line.split(';').collect::<Vec<_>>();
        let [thread, count, _, event, ..] = fields.as_slice() else { continue };
        let Some((name, number)) = thread.rsplit_once('-') else { continue };
        // `<not counted>`: the thread did nothing.
        let count = count.parse::<u64>().unwrap_or_default();
        let Some(side) = number.parse().ok().and_then(&side) else { continue };
        let Some(tally) = tallies.get_mut(side) else { continue };
        let others = others.entry((side, name.to_owned())).or_default();
        let is_first = seen.insert((number, *event));
        match event.strip_prefix("syscalls:sys_exit_") {
            Some(call) if is_first => {
                *others = others.saturating_sub(count);
                tally.add_of(name, call, Count { calls: count, failed: 0 });
            }
            Some(call) => tally.add_of(name, call, Count { calls: 0, failed: count }),
            None if *event == ALL => *others += count,
            None if *event == SWITCHES => {
                tally.switches = Some(tally.switches.unwrap_or_default() + count);
            }
            None => {}
        }
    }
    for ((side, name), calls) in others {
        if let Some(tally) = tallies.get_mut(side) {
            tally.add_of(&name, "others", Count { calls, failed: 0 });
        }
    }
    tallies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_summed_by_side_and_what_has_no_name_is_told_too() {
        let text = "# started\n\n\
            w-or-k-11;10;;raw_syscalls:sys_exit;1;100.00;;\n\
            log-12;3;;raw_syscalls:sys_exit;1;100.00;;\n\
            nginx-21;7;;raw_syscalls:sys_exit;1;100.00;;\n\
            w-or-k-11;4;;context-switches;1;100.00;;\n\
            log-12;1;;context-switches;1;100.00;;\n\
            w-or-k-11;8;;syscalls:sys_exit_recvfrom;1;100.00;;\n\
            log-12;<not counted>;;syscalls:sys_exit_recvfrom;1;100.00;;\n\
            nginx-21;7;;syscalls:sys_exit_recvfrom;1;100.00;;\n\
            w-or-k-11;5;;syscalls:sys_exit_recvfrom;1;100.00;;\n\
            log-12;0;;syscalls:sys_exit_recvfrom;1;100.00;;\n\
            nginx-21;1;;syscalls:sys_exit_recvfrom;1;100.00;;\n\
            else-31;9;;syscalls:sys_exit_recvfrom;1;100.00;;\n";

        let [client, server] = tallies(text, |thread| match thread {
            11 | 12 => Some(0),
            21 => Some(1),
            _ => None,
        });

        let count = |calls, failed| Count { calls, failed };
        let named = |name: &str, count| (name.to_owned(), count);
        let by_name = [named("others", count(5, 0)), named("recvfrom", count(8, 5))];
        let log = [named("others", count(3, 0))];
        let worker = [named("others", count(2, 0)), named("recvfrom", count(8, 5))];
        let by_thread = [("log".to_owned(), log.into()), ("w-or-k".to_owned(), worker.into())];
        let expected =
            Tally { by_name: by_name.into(), by_thread: by_thread.into(), switches: Some(5) };
        assert_eq!(client, expected);
        assert_eq!(client.total(), count(13, 5));
        assert_eq!(server.by_name, [named("recvfrom", count(7, 1))].into());
    }
}
