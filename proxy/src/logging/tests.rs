use std::{
    io,
    sync::{Arc, Mutex, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use cellwall_mtls::Refusal;
use clap::Parser as _;
use metrics_exporter_prometheus::PrometheusBuilder;
use tracing::Level;

use super::{AccessLog, FULL, HELD, KEPT, Lines, Written, targets};
use crate::{
    CloseReason, Direction, Flows, Kind, app,
    args::{Cli, Command},
    flow::Flow,
};

/// Collects what is written.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    /// How many lines it has.
    fn lines(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|byte| **byte == b'\n').count()
    }
}

/// A log of flows that is written to a sink.
struct Logged {
    flows: Flows,
    lines: Arc<Lines>,
    sink: Sink,
    writer: thread::JoinHandle<()>,
}

impl Logged {
    fn begun() -> Self {
        let sink = Sink::default();
        let (log, writer) = AccessLog::start(sink.clone()).unwrap();
        let lines = log.handle.lines.clone();
        Self { flows: Flows::new(log), lines, sink, writer }
    }

    fn open(&self) -> Flow {
        self.flows.open(Kind::Call, Direction::Inbound, "127.0.0.1:9".parse().unwrap())
    }

    /// Begins a flow and ends it.
    fn add(&self) {
        self.open().close(CloseReason::Done);
    }

    /// All that was written, when the writer has ended.
    fn ended(self) -> Sink {
        drop(self.flows);
        self.writer.join().unwrap();
        self.sink
    }
}

/// Writes one flow and returns its line, parsed.
fn line(edit: impl FnOnce(&mut Flow), close: CloseReason) -> serde_json::Value {
    let log = Logged::begun();
    let mut flow = log.open();
    edit(&mut flow);
    flow.progress.request.end(CloseReason::Done);
    flow.close(close);
    let written = log.ended();
    let bytes = written.0.lock().unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn a_line_is_one_json_object_whatever_the_caller_sends() {
    // OBS-01: quotes, line ends, escapes and length
    let rpc = format!("a\"}}\r\n\u{1b}[31m{}", "x".repeat(10_000));
    let line = line(|flow| flow.record.rpc = Some(rpc.as_str().into()), CloseReason::Done);
    let logged = line["rpc.method"].as_str().unwrap();
    assert_eq!(logged, rpc.get(..256).unwrap());
    assert_eq!(line["kind"], "call");
    assert_eq!(line["cellwall.reason"], "done");
}

#[test]
fn a_refused_handshake_says_why() {
    // OBS-07
    let line = line(|_| (), CloseReason::TlsRefused(Refusal::UnknownIssuer));
    assert_eq!(line["cellwall.reason"], "tls_refused");
    assert_eq!(line["cellwall.tls.reason"], "unknown_issuer");
    assert_eq!(line["level"], "warn");
}

/// Waits until it is so.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(8), "{what}");
        thread::yield_now();
    }
}

#[test]
fn a_line_is_written_although_no_other_follows_it() {
    let log = Logged::begun();
    for line in 1..=3 {
        // It wakes a writer that has nothing to do.
        wait_until("asleep", || log.lines.asleep.load(Ordering::SeqCst));
        assert_eq!(log.lines.waiting().capacity(), 0, "held at rest");
        log.add();
        wait_until("written", || log.sink.lines() == line);
    }
    log.ended();
}

#[test]
fn a_disk_that_hangs_holds_nobody_up_and_costs_the_lines_that_find_the_queue_full() {
    // OBS-03
    let log = Logged::begun();
    let hangs = log.sink.0.lock().unwrap();
    log.add();
    wait_until("taken", || log.lines.waiting().is_empty());
    let (mut held, mut left) = (0, 0);
    for _ in 0..HELD {
        log.add();
        let holds = log.lines.waiting().len();
        if holds == held {
            break;
        }
        (held, left) = (holds, left + 1);
    }
    assert!(held <= HELD && held > HELD - 4096, "{held}");
    drop(hangs);
    assert_eq!(log.ended().lines(), 1 + left);
}

#[test]
fn a_busy_log_is_written_before_it_holds_much_and_keeps_little() {
    let log = Logged::begun();
    let mut most = 0;
    for _ in 0..40_000 {
        log.add();
        most = most.max(log.lines.waiting().capacity());
        if log.lines.waiting().len() > KEPT {
            wait_until("written", || log.lines.waiting().len() < KEPT);
        }
    }
    assert!(most <= 4 * KEPT, "{most}");
    assert_eq!(log.ended().lines(), 40_000);
}

#[test]
fn the_writer_is_woken_once_for_each_time_that_much_waits() {
    let lines = Lines::default();
    let line = [b'x'; 1024];
    for _ in 0..3 {
        let woken: Vec<usize> = (1..=2 * FULL / 1024).filter(|_| lines.push(&line)).collect();
        assert_eq!(woken, [FULL / 1024]);
        lines.waiting().clear();
    }
}

#[test]
fn what_waits_takes_no_more_memory_than_it_may_and_what_finds_no_room_is_counted() {
    // OBS-03; nobody writes
    const LINE: usize = 3000;
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        let lines = Lines::default();
        let (mut most, mut grown) = (0, 0);
        for _ in 0..HELD / LINE + 2 {
            lines.push(&[b'x'; LINE]);
            let has = lines.waiting().capacity();
            grown += usize::from(has != most);
            most = most.max(has);
        }
        assert_eq!(lines.waiting().len(), HELD / LINE * LINE);
        lines.push(&[b'x'; HELD % LINE]); // the room that is left
        assert_eq!((lines.waiting().len(), most), (HELD, HELD));
        assert!(grown < 16, "{grown}");
        lines.push(b"\n");
    });
    let text = recorder.handle().render();
    let dropped = text.lines().filter(|line| line.starts_with("cellwall_log_dropped_total"));
    assert_eq!(dropped.collect::<Vec<_>>(), ["cellwall_log_dropped_total 3"]);
}

/// Leaves a line while much is written, and closes the log while that is. Notes what memory is there for
/// the next ones each time.
struct Looking<'a> {
    lines: &'a Lines,
    has: Vec<usize>,
}

impl io::Write for Looking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.has.push(self.lines.waiting().capacity());
        if self.has.len() == 1 {
            self.lines.push(b"\n");
        } else {
            self.lines.closed.store(true, Ordering::SeqCst);
        }
        thread::current().unpark(); // no pause
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn little_is_kept_of_the_memory_of_many_lines_that_were_written() {
    let lines = Lines::default();
    let line = [&[b'x'; 1023], &b"\n"[..]].concat();
    while lines.waiting().len() < HELD {
        lines.push(&line);
    }
    let mut looking = Looking { lines: &lines, has: Vec::new() };
    lines.write_all(&mut looking);
    assert_eq!(looking.has, [0, KEPT]);
}

/// Takes as many bytes as it says, then fails once.
struct Full {
    takes: usize,
    has: Vec<u8>,
}

impl io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.takes == 0 {
            self.takes = usize::MAX;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = bytes.len().min(self.takes);
        self.takes -= taken;
        self.has.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_was_full_in_the_middle_of_a_line_spoils_that_line_alone() {
    // OBS-01
    for takes in 0..=8 {
        let mut written = Written::to(Full { takes, has: Vec::new() });
        written.write(b"one\ntwo\n");
        written.write(b"new\n");
        let text = String::from_utf8(written.out.has).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        if takes == 8 {
            assert_eq!(lines, ["one", "two"], "it was full for the new one");
            continue;
        }
        assert_eq!(lines.pop(), Some("new"), "{takes}: {text:?}");
        assert_eq!(lines.len(), takes.div_ceil(4), "{takes}: {text:?}");
    }
}

#[test]
fn a_filter_says_the_same_however_it_is_spaced() {
    let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
    // How many of them are logged of this proxy, of h2, and of others.
    for (filter, expected) in [
        ("info", [3, 3, 3]),
        ("INFO", [3, 3, 3]),
        ("off", [0, 0, 0]),
        ("", [1, 1, 1]),
        ("info,h2=debug", [3, 4, 3]),
        ("info, h2=debug ", [3, 4, 3]),
        ("info,", [3, 3, 3]),
        ("h2=off,,info", [3, 0, 3]),
        ("cellwall_proxy=trace", [5, 0, 0]),
        ("cellwall_proxy", [5, 0, 0]),
        ("cellwall_proxy::http=warn,error", [2, 1, 1]),
    ] {
        let targets = targets(filter).unwrap();
        let of = |target| levels.iter().filter(|level| targets.would_enable(target, level)).count();
        assert_eq!(["cellwall_proxy::http", "h2::frame", "x"].map(of), expected, "{filter:?}");
    }
}

#[test]
fn what_is_no_filter_is_refused_by_the_name_of_its_flag() {
    for filter in
        ["h2=loud", "h2=", "=debug", "=", "inf o", "info;h2=debug", "[span]=info", "a=b=c"]
    {
        let args = ["cellwall-proxy", "run", "--inbound=0.0.0.0:0=x", "--policy-key=/none"];
        let args = args.into_iter().chain(["--workload-api=unix:///none", "--log", filter]);
        let Command::Run(args) = Cli::try_parse_from(args).unwrap().command;
        let error = format!("{:#}", app::run(args).unwrap_err());
        assert!(error.starts_with("--log: "), "{filter:?}: {error}");
    }
}
