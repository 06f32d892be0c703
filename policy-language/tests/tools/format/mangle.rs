//! Documents as hasty people leave them: the same, but for white space, comments and order.

use std::fmt::Write;

/// Choices, from random bytes; all zero when they run out.
pub(super) struct Choices {
    bytes: std::vec::IntoIter<u8>,
    comments: usize,
}

impl Choices {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into_iter(), comments: 0 }
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::from(self.bytes.next().unwrap_or_default()) % end
    }

    /// True once in `times`.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 1
    }

    fn comment(&mut self) -> String {
        self.comments += 1;
        let odd = ["", "# ", "\t'", "\"{[", ": - ", "&x *y !z |"][self.below(6)];
        format!("#{} {odd} new", self.comments)
    }
}

/// Shuffles the keys of the entries of lists whose entries begin at `indent`.
pub(super) fn shuffle(text: &str, indent: &str, choices: &mut Choices) -> String {
    let (dash, key) = (format!("{indent}- "), format!("{indent}  "));
    let mut out = String::new();
    let mut item: Vec<String> = Vec::new();
    for line in text.lines().chain([""]) {
        if let Some(rest) = line.strip_prefix(&dash) {
            flush(&mut out, &mut item, indent, choices);
            item.push(format!("{key}{rest}\n"));
        } else if let (true, Some(rest)) = (!item.is_empty(), line.strip_prefix(&key)) {
            // A deeper line belongs to the key above it, a comment to the key below.
            let above_is_comment = item.last().is_some_and(|it| it.trim_start().starts_with('#'));
            if rest.starts_with([' ', '-']) || above_is_comment {
                let last = item.last_mut().unwrap();
                let _ = writeln!(last, "{line}");
            } else {
                item.push(format!("{line}\n"));
            }
        } else {
            flush(&mut out, &mut item, indent, choices);
            let _ = writeln!(out, "{line}");
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn flush(out: &mut String, item: &mut Vec<String>, indent: &str, choices: &mut Choices) {
    for at in (1..item.len()).rev() {
        item.swap(at, choices.below(at + 1));
    }
    let text: String = item.drain(..).collect();
    let Some(rest) = text.strip_prefix(&format!("{indent}  ")) else { return out.push_str(&text) };
    // A comment cannot stand in the dash's line before a key.
    let separator = if rest.starts_with('#') { format!("\n{indent}  ") } else { " ".to_owned() };
    let _ = write!(out, "{indent}-{separator}{rest}");
}

/// Other white space, more comments, other line ends.
pub(super) fn mangle(text: &str, choices: &mut Choices) -> String {
    let step = [2, 2, 3, 4, 5][choices.below(5)];
    let mut out = String::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        while choices.once_in(9) {
            if choices.once_in(3) {
                out.push('\n');
            } else {
                let _ = writeln!(out, "{}{}", " ".repeat(choices.below(9)), choices.comment());
            }
        }
        let mut rest = line.trim_start().to_owned();
        if let Some(item) = rest.strip_prefix("- ").map(str::to_owned) {
            rest = format!("-{}{item}", " ".repeat(step - 1));
            if choices.once_in(12) {
                let comment = if choices.once_in(2) { choices.comment() } else { String::new() };
                rest = format!("-  {comment}\n{}{item}", " ".repeat(indent / 2 * step + step));
            }
        }
        if choices.once_in(6) {
            rest = rest.replacen(": ", [":   ", ":\t", " : "][choices.below(3)], 1);
        }
        if choices.once_in(4) {
            rest = loosen(&rest, choices, indent / 2 * step + 2 * step);
        }
        let _ = write!(out, "{}{rest}", " ".repeat(indent / 2 * step));
        if choices.once_in(10) {
            out.push_str(["  ", "\t", " \t "][choices.below(3)]);
        }
        if !line.contains('#') && !line.is_empty() && choices.once_in(10) {
            let _ = write!(out, "{}{}", " ".repeat(1 + choices.below(6)), choices.comment());
        }
        out.push('\n');
    }
    match choices.below(6) {
        1 => out.replace('\n', "\r\n"),
        2 => format!("\u{feff}{out}"),
        3 => out.trim_end_matches('\n').to_owned(),
        4 => format!("\n\n{out}\n\n"),
        _ => out,
    }
}

/// Brackets with more white space inside, or over several lines.
fn loosen(line: &str, choices: &mut Choices, indent: usize) -> String {
    let is_flow = |value: &str| value.trim_start().starts_with(['[', '{']);
    let Some((head, value)) = line.split_once(':').filter(|(_, value)| is_flow(value)) else {
        return line.to_owned();
    };
    let (value, comment) = value.split_once(" #").unwrap_or((value, ""));
    if value.contains('"') {
        return line.to_owned();
    }
    let broken = format!(",\n{}", " ".repeat(indent));
    let comma = [",", "  ,   ", ", ", broken.as_str()][choices.below(4)];
    let mut value = value.replace(", ", comma);
    if choices.once_in(3) {
        value = value.replace('[', "[ ").replace('}', " }");
    }
    if choices.once_in(4) && value.trim_end().ends_with(']') {
        value = format!("{}\n{}]", value.trim_end().trim_end_matches(']'), " ".repeat(indent));
    }
    let comment = if comment.is_empty() { String::new() } else { format!(" #{comment}") };
    format!("{head}:{value}{comment}")
}
