//! Where output goes: data to stdout, hints and errors to stderr, and a closed pipe is no error.

use std::io::{self, ErrorKind, Write};

use anyhow::Context;
use cellwall_policy_language::Paint;
use serde::Serialize;

use crate::{
    args::{Format, Global},
    paint::{Colour, Painter},
};

/// How this run prints.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    quiet: bool,
    draws: bool,
    painter: Painter,
    error_painter: Painter,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            format: global.output,
            quiet: global.quiet,
            draws: Global::draws(),
            painter: Painter { paints: global.paints(&io::stdout()) },
            error_painter: Painter { paints: global.paints(&io::stderr()) },
        }
    }

    /// How data is printed.
    pub(crate) const fn format(&self) -> Format {
        self.format
    }

    /// Whether nothing but data and errors is wanted.
    pub(crate) const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether data is for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether more than ASCII can be shown.
    pub(crate) const fn draws(&self) -> bool {
        self.draws
    }

    /// Paints what goes to stdout.
    pub(crate) const fn painter(&self) -> Painter {
        self.painter
    }

    /// How findings are rendered.
    pub(crate) const fn paint(&self) -> Paint {
        if self.painter.paints { Paint::Ansi } else { Paint::Plain }
    }

    /// How findings are rendered where stdout carries something else.
    pub(crate) const fn error_paint(&self) -> Paint {
        if self.error_painter.paints { Paint::Ansi } else { Paint::Plain }
    }

    /// Prints findings where stdout carries something else.
    pub(crate) fn findings(&self, text: &str) {
        if !text.is_empty() {
            self.stderr(text);
        }
    }

    /// Prints data.
    pub(crate) fn data(&self, text: &str) -> anyhow::Result<()> {
        quietly(write(&mut io::stdout().lock(), text)).context("cannot write to stdout")
    }

    /// Prints a document.
    pub(crate) fn json(&self, document: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(document).context("cannot write JSON")?;
        self.data(&text)
    }

    /// Prints what may help next, unless it is unwanted.
    pub(crate) fn hint(&self, text: &str) {
        if !self.quiet {
            self.stderr(&self.error_painter.paint(Colour::Dim, text));
        }
    }

    /// Prints why it could not be done, with all causes.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        self.complain(&format!("{error:#}"));
    }

    /// Prints that something is wrong.
    pub(crate) fn complain(&self, text: &str) {
        let head = self.error_painter.paint(Colour::Red, "error");
        self.stderr(&format!("{head}: {text}"));
    }

    /// Nobody is left to tell when stderr is gone.
    fn stderr(&self, text: &str) {
        let _ = write(&mut io::stderr().lock(), text);
    }
}

/// Writes a text and ends its last line.
fn write(stream: &mut impl Write, text: &str) -> io::Result<()> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    stream.write_all(text.as_bytes())?;
    stream.write_all(end.as_bytes())?;
    stream.flush()
}

/// `cellwall ... | head` ends when head has seen enough.
fn quietly(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// `46,012,814`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
