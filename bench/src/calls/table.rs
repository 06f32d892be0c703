//! What was counted, as text.

use std::{
    collections::BTreeSet,
    fmt::{Result, Write as _},
};

use super::{Count, Counted, SHAPES, Sample, Tally};

/// Tables of plain text: for each shape the system calls of a call, by name, side and contender.
pub fn table(counted: &Counted) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, counted);
    text
}

fn write(text: &mut String, counted: &Counted) -> Result {
    let machine = &counted.machine;
    writeln!(text, "{}, Linux {}, loopback; {}", machine.cpu, machine.kernel, counted.counter)?;
    writeln!(text, "system calls for one call; in brackets those that returned an error")?;
    for (name, why) in &counted.absent {
        writeln!(text, "{name} did not take part: {why}")?;
    }
    for shape in SHAPES {
        let of = counted.samples.iter().filter(|sample| sample.shape == shape.name);
        let (good, bad) = of.partition::<Vec<_>, _>(|sample| sample.error.is_none());
        if !good.is_empty() || !bad.is_empty() {
            writeln!(text, "\n{}: {}", shape.name, shape.title)?;
        }
        if !good.is_empty() {
            write_shape(text, &good)?;
        }
        for sample in bad {
            let error = sample.error.as_deref().unwrap_or_default();
            writeln!(text, "  {}: {error}", sample.contender)?;
        }
    }
    Ok(())
}

/// One side of one contender.
struct Column<'a> {
    head: String,
    sample: &'a Sample,
    tally: &'a Tally,
}

impl Column<'_> {
    fn of<'a>(sample: &'a Sample) -> impl Iterator<Item = Column<'a>> {
        let sides = ["client", "server"].into_iter().zip(&sample.sides);
        sides.map(move |(side, tally)| Column {
            head: format!("{} {side}", sample.contender),
            sample,
            tally,
        })
    }

    /// So many of something for each call.
    fn each(&self, count: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts of some seconds")]
        let (count, calls) = (count as f64, self.sample.calls.max(1) as f64);
        count / calls
    }

    fn cell(&self, count: Count) -> String {
        match count {
            Count { calls: 0, .. } => "-".to_owned(),
            Count { calls, failed: 0 } => format!("{:.3}        ", self.each(calls)),
            Count { calls, failed } => {
                format!("{:.3} ({:.3})", self.each(calls), self.each(failed))
            }
        }
    }
}

fn write_shape(text: &mut String, samples: &[&Sample]) -> Result {
    let columns = samples.iter().flat_map(|sample| Column::of(sample)).collect::<Vec<_>>();
    let names = columns.iter().flat_map(|column| column.tally.by_name.keys());
    let names = names.collect::<BTreeSet<_>>();
    let mut line = |name: &str, cell: &dyn Fn(&Column<'_>) -> String| {
        write!(text, "  {name:<16}")?;
        columns.iter().try_for_each(|column| write!(text, " {:>20}", cell(column)))?;
        writeln!(text)
    };
    line("", &|column| column.head.clone())?;
    for name in names {
        line(name, &|column| {
            column.cell(column.tally.by_name.get(name).copied().unwrap_or_default())
        })?;
    }
    line("total", &|column| column.cell(column.tally.total()))?;
    line("context switches", &|column| {
        let switches = column.tally.switches;
        switches.map_or_else(|| "?".to_owned(), |calls| column.cell(Count { calls, failed: 0 }))
    })?;
    for sample in samples {
        let Sample { contender, version, calls, failed, seconds, .. } = sample;
        writeln!(
            text,
            "  {contender}: {calls} calls in {seconds:.1} s, {failed} failed; {version}"
        )?;
        for column in Column::of(sample).filter(|column| column.tally.by_thread.len() > 1) {
            write_threads(text, &column)?;
        }
    }
    Ok(())
}

/// Below this much of a call something is not told of a thread.
const LITTLE: f64 = 0.01;

fn write_threads(text: &mut String, column: &Column<'_>) -> Result {
    for (thread, calls) in &column.tally.by_thread {
        let all = column.each(calls.values().map(|count| count.calls).sum());
        let calls = calls.iter().map(|(name, count)| (name, column.each(count.calls)));
        let calls = calls.filter(|(_, each)| *each >= LITTLE);
        let calls = calls.map(|(name, each)| format!("{name} {each:.3}")).collect::<Vec<_>>();
        writeln!(text, "    {} {thread}: {all:.3} ({})", column.head, calls.join(", "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Machine, Pinning};

    #[test]
    fn counts_are_told_for_each_call_and_side() {
        let mut client = Tally::default();
        client.add("recvfrom", Count { calls: 20, failed: 5 });
        client.add("sendto", Count { calls: 10, failed: 0 });
        client.switches = Some(15);
        let sample = |contender: &str, error: Option<&str>| Sample {
            shape: "tcp".to_owned(),
            contender: contender.to_owned(),
            version: "1".to_owned(),
            error: error.map(str::to_owned),
            calls: 10,
            failed: 0,
            seconds: 1.0,
            sides: [client.clone(), Tally::default()],
        };
        let text = table(&Counted {
            schema: super::super::SCHEMA,
            machine: Machine::here(),
            pinning: Pinning::None(String::new()),
            counter: "perf".to_owned(),
            absent: [("stunnel".to_owned(), "no stunnel".to_owned())].into(),
            samples: vec![sample("ours", None), sample("nginx", Some("it fell"))],
        });

        let lines =
            text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        let expected = [
            "system calls for one call; in brackets those that returned an error",
            "stunnel did not take part: no stunnel",
            "",
            "tcp: TCP, a message and its echo, 1 connection",
            "ours client ours server",
            "recvfrom 2.000 (0.500) -",
            "sendto 1.000 -",
            "total 3.000 (0.500) -",
            "context switches 1.500 ?",
            "ours: 10 calls in 1.0 s, 0 failed; 1",
            "nginx: it fell",
        ];
        assert_eq!(lines.collect::<Vec<_>>(), expected);
    }
}
