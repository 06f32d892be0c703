//! Texts of one line or several, to lines.

use std::ops::Range;

use super::{
    print::{Moved, Printer, STEP},
    tree::Text,
};

impl Printer<'_> {
    /// A plain or quoted text. Its further lines stand at `column`; white space around the ends of
    /// lines means nothing there.
    pub(super) fn scalar(&mut self, place: &Range<usize>, column: usize) {
        let text = self.slice(place).to_owned();
        let quoted = text.starts_with('"');
        for (number, line) in text.split('\n').enumerate() {
            let mut kept = line.trim_end_matches([' ', '\t']);
            let escapes = kept.chars().rev().take_while(|char| *char == '\\').count();
            if quoted && escapes % 2 == 1 {
                // An escaped space ends the line.
                kept = line.get(..=kept.len()).unwrap_or(kept);
            }
            if number == 0 {
                self.lines.push(kept);
                continue;
            }
            let kept = kept.trim_start_matches([' ', '\t']);
            let indent = if kept.is_empty() { 0 } else { column };
            self.lines.verbatim(format!("{}{kept}", " ".repeat(indent)));
        }
    }

    /// The lines of a text after `|` or `>`, moved as a whole.
    pub(super) fn text(&mut self, text: &Text, moved: Moved) {
        let header = self.slice(&text.header);
        let keeps = header.contains('+');
        let explicit = header.chars().find_map(|char| char.to_digit(10));
        let explicit = explicit.and_then(|digit| usize::try_from(digit).ok());
        let all = self.slice(&text.lines);
        let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
        let first = all.lines().find(|line| !line.trim_matches(' ').is_empty());
        let (old, new) = match (explicit, first) {
            (Some(digit), _) => (moved.from + digit, moved.to + digit),
            (None, Some(first)) => (indent(first), moved.to + STEP),
            (None, None) => (usize::MAX, 0),
        };
        let mut lines: Vec<String> = Vec::new();
        for line in all.lines() {
            let rest = line.get(old.min(line.len())..).unwrap_or_default();
            let indent = if rest.is_empty() { 0 } else { new };
            lines.push(format!("{}{rest}", " ".repeat(indent)));
        }
        if !keeps {
            let filled = lines.iter().rposition(|line| !line.is_empty());
            lines.truncate(filled.map_or(0, |last| last + 1));
        }
        for line in lines {
            self.lines.verbatim(line);
        }
        if keeps {
            self.lines.seal();
        }
    }
}
