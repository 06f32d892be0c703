//! Reads files of recorded calls, line by line, and knows each line's form by its keys.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use anyhow::Context;
use memchr::memchr2;

use super::{
    progress::Progress,
    rows::{self, Columns},
    tally::{Fields, Tallies},
};

/// The longest line.
const MAX_LINE: usize = 1024 * 1024;
/// How much of a file tells what it is.
const HEAD: usize = 512;
/// After how many lines progress is told.
const STEP: u64 = 0x2000;

/// Reads a file.
pub(super) fn read(
    path: &Path,
    tallies: &mut Tallies,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let head = reader.fill_buf().with_context(|| format!("cannot read {name}"))?;
    let head: Vec<u8> =
        head.iter().take(HEAD).copied().filter(|it| !it.is_ascii_whitespace()).collect();
    if memchr::memmem::find(&head, b"\"edges\":[").is_some() && head.starts_with(b"{") {
        return rows::document(reader, &name, tallies);
    }
    let mut columns = None;
    let mut line = Vec::new();
    let mut number = 0u64;
    while next(&mut reader, &mut line).with_context(|| format!("cannot read {name}"))? {
        number += 1;
        progress.advance(line.len());
        if number.is_multiple_of(STEP) {
            progress.tell(|| tallies.calls());
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if number == 1 && !text.starts_with(b"{") {
            columns = Columns::of(text);
            if columns.is_some() {
                continue;
            }
        }
        let counted = match &columns {
            _ if line.len() > MAX_LINE => Err("longer than a line may be"),
            Some(columns) => columns.count(text, tallies),
            None => count(text, tallies),
        };
        if let Err(reason) = counted {
            tallies.refuse(&format!("{name}:{number}"), reason);
        }
    }
    Ok(())
}

/// The next line with its end; of one that is too long only the beginning.
fn next(reader: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    let most = u64::try_from(MAX_LINE).unwrap_or(u64::MAX).saturating_add(1);
    reader.by_ref().take(most).read_until(b'\n', line)?;
    if line.len() > MAX_LINE && line.last() != Some(&b'\n') {
        reader.skip_until(b'\n')?;
    }
    Ok(!line.is_empty())
}

/// Counts the call of a line: one of an access log, or an edge of a ledger.
fn count(text: &[u8], tallies: &mut Tallies) -> Result<(), &'static str> {
    let mut line = Line::default();
    match scan(text, |key, value| line.take(key, value)) {
        Ok(()) => line.count(tallies),
        // Escapes and nesting are rare: the whole parser reads them.
        Err(Odd::Escaped) => {
            let value: serde_json::Value =
                serde_json::from_slice(text).map_err(|_| "not a JSON object")?;
            let object = value.as_object().ok_or("not a JSON object")?;
            let mut line = Line::default();
            for (key, value) in object {
                match value {
                    serde_json::Value::String(text) => line.take(key.as_bytes(), text.as_bytes()),
                    serde_json::Value::Number(number) => {
                        line.number(key.as_bytes(), number.as_u64());
                    }
                    _ => {}
                }
            }
            line.count(tallies)
        }
        Err(Odd::Broken) => Err("not a JSON object"),
    }
}

/// What a line says, as far as it matters.
#[derive(Debug, Default)]
struct Line<'a> {
    fields: Fields<'a>,
    outbound: bool,
    count: Option<u64>,
}

impl<'a> Line<'a> {
    fn take(&mut self, key: &[u8], value: &'a [u8]) {
        let place = match key {
            b"cellwall.caller.id" | b"caller" => &mut self.fields.caller,
            b"cellwall.callee.id" | b"callee" => &mut self.fields.callee,
            b"cellwall.verdict" | b"verdict" => &mut self.fields.verdict,
            b"http.request.method" => &mut self.fields.method,
            b"http.route" => &mut self.fields.route,
            b"rpc.method" => &mut self.fields.rpc,
            b"ts" | b"last_at" | b"last" => &mut self.fields.at,
            b"call" => &mut self.fields.call,
            b"cellwall.direction" => {
                self.outbound = value == b"outbound";
                return;
            }
            b"count" => {
                self.number(key, std::str::from_utf8(value).ok().and_then(|it| it.parse().ok()));
                return;
            }
            _ => return,
        };
        *place = value;
    }

    fn number(&mut self, key: &[u8], value: Option<u64>) {
        if key == b"count" {
            self.count = value;
        }
    }

    fn count(mut self, tallies: &mut Tallies) -> Result<(), &'static str> {
        // The callee's sidecar decides; a connection that was refused before was not decided on.
        if self.outbound || self.fields.verdict.is_empty() {
            tallies.other += 1;
            return Ok(());
        }
        self.fields.count = self.count.unwrap_or(1);
        tallies.add(&self.fields)
    }
}

/// Why a line is not scanned to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Odd {
    /// It has an escape, or a list or object inside.
    Escaped,
    /// It is no JSON object.
    Broken,
}

/// Shows each key of a flat JSON object with its text or number. `null` is not shown.
fn scan<'a>(text: &'a [u8], mut show: impl FnMut(&'a [u8], &'a [u8])) -> Result<(), Odd> {
    let mut rest = skip(text).strip_prefix(b"{").ok_or(Odd::Broken)?;
    loop {
        rest = skip(rest);
        let Quoted { inside: key, after } = quoted(rest)?;
        rest = skip(skip(after).strip_prefix(b":").ok_or(Odd::Broken)?);
        match rest.first() {
            Some(b'"') => {
                let Quoted { inside: value, after } = quoted(rest)?;
                show(key, value);
                rest = after;
            }
            Some(b'{' | b'[') => return Err(Odd::Escaped),
            Some(_) => {
                let end = memchr2(b',', b'}', rest).ok_or(Odd::Broken)?;
                let (value, after) = rest.split_at_checked(end).ok_or(Odd::Broken)?;
                let value = value.trim_ascii();
                match value {
                    b"null" | b"true" | b"false" => {}
                    // Whatever else stands bare is a number.
                    [b'-' | b'0'..=b'9', ..] => show(key, value),
                    _ => return Err(Odd::Broken),
                }
                rest = after;
            }
            None => return Err(Odd::Broken),
        }
        rest = skip(rest);
        match rest.split_first() {
            Some((b',', after)) => rest = after,
            Some((b'}', after)) if skip(after).is_empty() => return Ok(()),
            _ => return Err(Odd::Broken),
        }
    }
}

fn skip(text: &[u8]) -> &[u8] {
    match text.first() {
        Some(b' ' | b'\t') => text.trim_ascii_start(),
        _ => text,
    }
}

/// A text in quotes.
struct Quoted<'a> {
    inside: &'a [u8],
    after: &'a [u8],
}

/// The inside of a text without escapes, and what follows it.
fn quoted(text: &[u8]) -> Result<Quoted<'_>, Odd> {
    let inner = text.strip_prefix(b"\"").ok_or(Odd::Broken)?;
    let end = memchr2(b'"', b'\\', inner).ok_or(Odd::Broken)?;
    let (value, after) = inner.split_at_checked(end).ok_or(Odd::Broken)?;
    match after.split_first() {
        Some((b'"', after)) => Ok(Quoted { inside: value, after }),
        _ => Err(Odd::Escaped),
    }
}

#[cfg(test)]
mod tests;
