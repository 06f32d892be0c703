//! The lines of the formatted text, with the comments beside them.

/// The fewest spaces before a comment beside something.
const GAP: usize = 2;

/// A comment beside something, and the column where its author put it.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) text: String,
    pub(super) column: usize,
}

#[derive(Debug)]
struct Line {
    text: String,
    beside: Option<Beside>,
}

/// Lines, the last of which may still grow.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: Vec<Line>,
    /// Whether blank lines here would become part of a text.
    sealed: bool,
}

impl Lines {
    /// Begins a line.
    pub(super) fn begin(&mut self, text: impl Into<String>) {
        self.sealed = false;
        self.lines.push(Line { text: text.into(), beside: None });
    }

    /// Adds a line of a text, as it is.
    pub(super) fn verbatim(&mut self, text: String) {
        self.lines.push(Line { text, beside: None });
    }

    /// No blank line may follow.
    pub(super) const fn seal(&mut self) {
        self.sealed = true;
    }

    /// Adds a blank line, unless there is one, or nothing above.
    pub(super) fn blank(&mut self) {
        if !self.sealed && self.lines.last().is_some_and(|line| !line.text.is_empty()) {
            self.lines.push(Line { text: String::new(), beside: None });
        }
    }

    /// Adds to the last line.
    pub(super) fn push(&mut self, text: &str) {
        if let Some(line) = self.lines.last_mut() {
            line.text.push_str(text);
        }
    }

    /// Puts a comment beside the last line.
    pub(super) fn beside(&mut self, beside: Beside) {
        if let Some(line) = self.lines.last_mut() {
            line.beside = Some(beside);
        }
    }

    /// The text. Comments stay in their columns; where the text of one line needs more room, those
    /// that stood below each other move together.
    pub(super) fn into_text(mut self) -> String {
        let column = |line: &Line| line.beside.as_ref().map(|beside| beside.column);
        for run in self.lines.chunk_by_mut(|one, next| column(one) == column(next)) {
            let room = |line: &Line| line.text.chars().count() + GAP;
            let widest = run.iter().map(room).max().unwrap_or_default();
            for line in run {
                let Some(beside) = line.beside.take() else { break };
                let column = beside.column.max(widest);
                let spaces = column - line.text.chars().count();
                line.text.push_str(&" ".repeat(spaces));
                line.text.push_str(&beside.text);
            }
        }
        let mut text = String::new();
        for line in self.lines {
            text.push_str(&line.text);
            text.push('\n');
        }
        text
    }
}
