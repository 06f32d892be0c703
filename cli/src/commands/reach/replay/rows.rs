//! Edges of the ledger: as the document of `GET /v1/edges`, and as CSV.

use std::io::Read;

use anyhow::Context;
use serde::Deserialize;

use super::tally::{Fields, Tallies};

/// The document of `GET /v1/edges`.
#[derive(Deserialize)]
struct Document {
    edges: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    caller: Option<String>,
    callee: String,
    call: Option<String>,
    verdict: String,
    count: u64,
    last_at: Option<String>,
}

/// Which column of a CSV file is what.
#[derive(Debug)]
pub(super) struct Columns {
    caller: usize,
    callee: usize,
    call: usize,
    verdict: Option<usize>,
    count: Option<usize>,
    last: Option<usize>,
}

/// Reads a whole document.
pub(super) fn document(reader: impl Read, name: &str, tallies: &mut Tallies) -> anyhow::Result<()> {
    let document: Document = serde_json::from_reader(reader)
        .with_context(|| format!("{name} is not a document of `GET /v1/edges`"))?;
    for (number, row) in (1..).zip(document.edges) {
        let fields = Fields {
            caller: row.caller.as_deref().unwrap_or_default().as_bytes(),
            callee: row.callee.as_bytes(),
            verdict: row.verdict.as_bytes(),
            call: row.call.as_deref().unwrap_or_default().as_bytes(),
            at: row.last_at.as_deref().unwrap_or_default().as_bytes(),
            count: row.count,
            ..Fields::default()
        };
        if let Err(reason) = tallies.add(&fields) {
            tallies.refuse(&format!("{name}: edge {number}"), reason);
        }
    }
    Ok(())
}

impl Columns {
    /// By the names in the first line; `None` if it is no such line.
    pub(super) fn of(line: &[u8]) -> Option<Self> {
        let names: Vec<Vec<u8>> = cells(line).ok()?;
        let find = |wanted: &[&str]| {
            names.iter().position(|name| wanted.iter().any(|it| it.as_bytes() == name.trim_ascii()))
        };
        Some(Self {
            caller: find(&["caller"])?,
            callee: find(&["callee"])?,
            call: find(&["call"])?,
            verdict: find(&["verdict"]),
            count: find(&["count", "calls"]),
            last: find(&["last_at", "last"]),
        })
    }

    /// Counts the calls of a line.
    pub(super) fn count(&self, line: &[u8], tallies: &mut Tallies) -> Result<(), &'static str> {
        let cells = cells(line)?;
        let cell = |at: usize| cells.get(at).map(Vec::as_slice).ok_or("too few columns");
        let optional = |at: Option<usize>| at.map_or(Ok(&[][..]), cell);
        let count = match self.count {
            Some(at) => std::str::from_utf8(cell(at)?).ok().and_then(|it| it.trim().parse().ok()),
            None => Some(1),
        };
        tallies.add(&Fields {
            caller: cell(self.caller)?,
            callee: cell(self.callee)?,
            call: cell(self.call)?,
            verdict: optional(self.verdict)?,
            at: optional(self.last)?,
            count: count.ok_or("the count is not a number")?,
            ..Fields::default()
        })
    }
}

/// RFC 4180 §2, without line breaks inside of quotes.
fn cells(line: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut cells = Vec::new();
    let mut rest = line.iter().copied().peekable();
    loop {
        let mut cell = Vec::new();
        if rest.next_if_eq(&b'"').is_some() {
            loop {
                match rest.next() {
                    Some(b'"') if rest.next_if_eq(&b'"').is_some() => cell.push(b'"'),
                    Some(b'"') => break,
                    Some(byte) => cell.push(byte),
                    None => return Err("a quote is not closed"),
                }
            }
        } else {
            while let Some(byte) = rest.next_if(|byte| *byte != b',') {
                cell.push(byte);
            }
        }
        cells.push(cell);
        match rest.next() {
            None => return Ok(cells),
            Some(b',') => {}
            Some(_) => return Err("text after a closing quote"),
        }
    }
}
