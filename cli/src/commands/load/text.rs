//! Loads as tables.

use std::path::Path;

use super::result::{Latency, Load, Report};
use crate::{output::grouped, table::table};

const HEAD: [&str; 9] =
    ["", "P50>", "P90>", "P99>", "P99.9>", "MAX>", "ERRORS>", "CPU/PROXY>", "RSS>"];

/// One load: without proxies, with them, and what they add.
pub(super) fn one(load: &Load) -> String {
    let mut rows = Vec::new();
    if let Some(direct) = &load.direct {
        rows.push(row("direct", direct));
    }
    let mut via = row("via proxies", &load.via);
    if let Some(cost) = &load.proxies {
        via.truncate(7);
        via.extend([format!("{:.2} core", cost.cores), format!("{} MiB", cost.rss_kib / 1024)]);
    }
    rows.push(via);
    if let Some(direct) = &load.direct {
        rows.push(difference("added", direct, &load.via));
    }
    format!("{}\n{}", headline(load), table(&HEAD, rows))
}

/// Two loads, and what has changed between them.
pub(super) fn two((before, a): (&Path, &Load), (after, b): (&Path, &Load)) -> String {
    let mut rows = vec![row("before", &a.via), row("after", &b.via)];
    rows.push(difference("change", &a.via, &b.via));
    let mut text = format!("before: {}  {}\n", before.display(), headline(a));
    text.push_str(&format!("after:  {}  {}\n", after.display(), headline(b)));
    if is_other(a, b) {
        text.push_str("These were different loads: what has changed is not the proxies alone.\n");
    }
    text.push_str(&table(&HEAD, rows));
    text
}

/// Whether other calls were sent, or at another rate.
pub(super) fn is_other(a: &Load, b: &Load) -> bool {
    let what = |load: &Load| (load.call.clone(), load.rate, load.from.clone(), load.to.clone());
    what(a) != what(b)
}

fn headline(load: &Load) -> String {
    let calls = grouped(load.via.sent);
    let reach = if load.loopback { "loopback only" } else { "beyond loopback" };
    let mut text = format!(
        "{}/s open loop, {}, {calls} calls, corrected for coordinated omission, {reach}",
        load.rate, load.duration
    );
    if let (Some(from), Some(to)) = (&load.from, &load.to) {
        text.push_str(&format!("; {from} > {to}"));
    }
    if let Some(version) = load.policy_version {
        text.push_str(&format!(", policy v{version}"));
    }
    text
}

fn row(name: &str, report: &Report) -> Vec<String> {
    let mut row = vec![name.to_owned()];
    // Without an answer there is no latency.
    let latency = report.latency_us.columns();
    row.extend(latency.map(|us| if report.ok > 0 { milliseconds(us) } else { "-".to_owned() }));
    row.push(grouped(report.failed()));
    row.extend(["-", "-"].map(ToOwned::to_owned));
    row
}

fn difference(name: &str, before: &Report, after: &Report) -> Vec<String> {
    let [a, b] = [before, after].map(|report| report.latency_us);
    let is_known = before.ok > 0 && after.ok > 0;
    let mut row = vec![name.to_owned()];
    row.extend(changes(&a, &b).map(|change| match change {
        change if is_known && change < 0 => format!("-{}", milliseconds(change.unsigned_abs())),
        change if is_known => format!("+{}", milliseconds(change.unsigned_abs())),
        _ => "-".to_owned(),
    }));
    row.extend(["", "", ""].map(ToOwned::to_owned));
    row
}

/// By how many microseconds each column has grown.
pub(super) fn changes(before: &Latency, after: &Latency) -> [i64; 5] {
    let (mut all, before) = ([0; 5], before.columns());
    for ((change, before), after) in all.iter_mut().zip(before).zip(after.columns()) {
        *change = after.cast_signed().saturating_sub(before.cast_signed());
    }
    all
}

fn milliseconds(us: u64) -> String {
    match us {
        0..10_000 => format!("{}.{:02}ms", us / 1000, us % 1000 / 10),
        10_000..100_000 => format!("{}.{}ms", us / 1000, us % 1000 / 100),
        _ => format!("{}ms", us / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_and_counts_are_said_as_people_read_them() {
        for (us, text) in [
            (0, "0.00ms"),
            (415, "0.41ms"),
            (9_999, "9.99ms"),
            (11_260, "11.2ms"),
            (123_456, "123ms"),
        ] {
            assert_eq!(milliseconds(us), text);
        }
        assert_eq!([0, 999, 120_000].map(grouped), ["0", "999", "120,000"]);
    }
}
