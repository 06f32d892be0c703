//! Policy files in one style. Works on the text: nothing is written that was not read, but white
//! space, and the order of keys inside of a mapping.

mod flows;
mod grow;
mod lines;
mod meaning;
mod print;
mod print_flows;
mod print_texts;
mod tokens;
mod tree;

use std::borrow::Cow;

use thiserror::Error;

use crate::{
    Findings, Sources,
    codes::Code,
    finding::{Problem, Problems},
    keys,
    place::{FileNumber, Files, Place},
    sources::MAX_FILE_BYTES,
    yaml,
};
use meaning::Meaning;

/// Why a text has no formatted form.
#[derive(Debug, Error)]
pub enum FormatError {
    /// It is not a YAML document, or not one that a policy may be.
    #[error("not a policy document: {0}")]
    Syntax(Findings),
    /// The formatted text would say something else: a mistake in the formatter.
    #[error("its formatted form would say something else; it is left as it is")]
    Unsure,
}

/// Formats the text of `file`: two spaces per level, one after a colon and after a comma, keys in the
/// order of the language, a blank line between sections. All comments stay, and groups of lines. What
/// has no form of its own here (tags, `? ` keys, a whole file in braces) is left as it is.
///
/// # Errors
///
/// [`FormatError`] when the text is not a document, or could not be formatted without changing what
/// it says.
pub fn format(file: &str, text: &str) -> Result<String, FormatError> {
    syntax(file, text)?;
    let text_itself = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Some(meant) = meaning(text_itself) else { return Ok(text.to_owned()) };
    let mut plain = plain(text_itself).into_iter();
    let source = plain.find(|source| meaning(source).as_ref() == Some(&meant));
    let document = source
        .as_deref()
        .and_then(|source| tokens::tokens(source).and_then(|tokens| grow::grow(source, tokens)));
    let (Some(source), Some(document)) = (source, document) else { return Ok(text.to_owned()) };
    let formatted = print::print(&source, &document, &keys::ROOT);
    if says(&formatted, &meant) { Ok(formatted) } else { Err(FormatError::Unsure) }
}

/// Whether a text says what was meant, and has its comments; the reader's word is the last.
fn says(text: &str, meant: &Meaning) -> bool {
    yaml::parse(FileNumber(0), text).is_ok() && meaning(text).as_ref() == Some(meant)
}

fn syntax(file: &str, text: &str) -> Result<(), FormatError> {
    let number = FileNumber(0);
    let problem = if text.len() > MAX_FILE_BYTES {
        let message = format!("longer than {MAX_FILE_BYTES} bytes");
        Problem::error(Code::TooMuch, Place::new(number, 0, 0), message)
    } else if let Err(error) = yaml::parse(number, text) {
        Problem::error(Code::Syntax, error.place, error.message).help(error.help)
    } else {
        return Ok(());
    };
    let sources =
        Sources { files: [(file.to_owned(), text.to_owned())].into(), root: file.to_owned() };
    let mut problems = Problems::default();
    problems.push(problem);
    Err(FormatError::Syntax(problems.into_findings(&Files::of(&sources))))
}

fn meaning(text: &str) -> Option<Meaning> {
    tokens::tokens(text).map(|tokens| Meaning::of(&tokens))
}

/// The text with line feeds only and its last line ended. Spaces in a last line that does not end may
/// be part of a text, or not: both ways.
fn plain(text: &str) -> Vec<Cow<'_, str>> {
    if !text.contains('\r') && text.ends_with('\n') {
        return vec![Cow::Borrowed(text)];
    }
    let mut plain = text.replace("\r\n", "\n").replace('\r', "\n");
    if plain.ends_with('\n') {
        return vec![Cow::Owned(plain)];
    }
    let without = plain.trim_end_matches([' ', '\t']).to_owned();
    plain.push('\n');
    if without.ends_with('\n') {
        return vec![Cow::Owned(without), Cow::Owned(plain)];
    }
    vec![Cow::Owned(plain)]
}

#[cfg(test)]
mod tests {
    use super::{meaning, says};

    #[test]
    fn a_text_that_says_something_else_is_not_written() {
        let text = "a: [b, {c: d, e: f}]  # g\nh: |\n  i\nj: \"1\"\n";
        let meant = meaning(text).unwrap();
        let says = |from: &str, to: &str| says(&text.replacen(from, to, 1), &meant);
        for (from, to) in
            [("", ""), ("c: d, e: f", "e: f, c: d"), ("a: ", "a:   "), ("  # g", " # g")]
        {
            assert!(text.contains(from) && says(from, to), "{from} {to}");
        }
        for (from, to) in [
            ("b, ", ""),
            ("[b, {c: d, e: f}]", "[{c: d, e: f}, b]"),
            ("c: d", "c: x"),
            ("  # g", ""),
            ("# g", "# x"),
            ("|\n  i", "|-\n  i"),
            ("\"1\"", "1"),
            ("j: \"1\"", "j:\n  - \"1\""),
            ("]", ""),
        ] {
            assert!(text.contains(from) && !says(from, to), "{from} {to}");
        }
    }
}
