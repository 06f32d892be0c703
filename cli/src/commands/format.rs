//! `policy fmt`: the files in one style, in place; and `policy schema`.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use cellwall_policy_language::{Findings, FormatError, Sources, format, schema};
use serde_json::json;
use similar::TextDiff;

use super::hint_code;
use crate::{Outcome, output::Output, paint::Colour};

/// What stands for the standard streams.
const STREAM: &str = "-";

/// What `policy fmt` was asked to do.
pub(crate) struct Format<'a> {
    /// A folder with a cellwall.yaml, a file, or `-`.
    pub(crate) path: &'a Path,
    /// Only say what would change.
    pub(crate) check: bool,
}

/// A file, and what came of it.
struct Seen {
    name: String,
    path: PathBuf,
    text: String,
    result: Result<String, FormatError>,
}

impl Seen {
    fn new(name: String, path: PathBuf, text: String) -> Self {
        let result = format(&name, &text);
        Self { name, path, text, result }
    }

    /// The new text, where it is another.
    fn change(&self) -> Option<&str> {
        self.result.as_deref().ok().filter(|formatted| *formatted != self.text)
    }

    fn diff(&self) -> String {
        let Some(formatted) = self.change() else { return String::new() };
        let diff = TextDiff::from_lines(self.text.as_str(), formatted);
        let header = format!("{} (formatted)", self.name);
        diff.unified_diff().context_radius(1).header(&self.name, &header).to_string()
    }
}

/// `policy fmt`.
pub(crate) fn format_files(asked: &Format<'_>, output: &Output) -> anyhow::Result<Outcome> {
    let files = read(asked.path)?;
    let is_stream = asked.path == Path::new(STREAM);
    let mut sources = Sources::default();
    let mut findings = Findings::default();
    let mut unsure = Vec::new();
    for file in &files {
        match &file.result {
            Ok(_) => {}
            Err(FormatError::Syntax(found)) => {
                sources.files.insert(file.name.clone(), file.text.clone());
                findings.0.extend(found.0.iter().cloned());
            }
            Err(FormatError::Unsure) => unsure.push(&file.name),
        }
        match file.change() {
            Some(text) if !asked.check && !is_stream => replace(&file.path, text)?,
            Some(_) | None => {}
        }
    }
    if output.is_json() {
        print_json(&files, &findings, output)?;
    } else if is_stream && !asked.check {
        for formatted in files.iter().filter_map(|file| file.result.as_deref().ok()) {
            output.data(formatted)?;
        }
        output.findings(&findings.render(&sources, output.error_paint()));
    } else {
        let text = if asked.check { diffs(&files, output) } else { list(&files) };
        output.data(&format!("{}{text}", findings.render(&sources, output.paint())))?;
        hint_code(&findings, output);
    }
    for name in &unsure {
        output.complain(&format!("{name}: {}", FormatError::Unsure));
    }
    let would_change = asked.check && files.iter().any(|file| file.change().is_some());
    Ok(match (unsure.is_empty(), findings.0.is_empty() && !would_change) {
        (false, _) => Outcome::Failed,
        (true, false) => Outcome::Found,
        (true, true) => Outcome::Done,
    })
}

/// `policy schema`.
pub(crate) fn print_schema(output: &Output) -> anyhow::Result<Outcome> {
    output.data(&schema())?;
    Ok(Outcome::Done)
}

/// The files that are meant. Their names are as the shell knows them.
fn read(path: &Path) -> anyhow::Result<Vec<Seen>> {
    if path == Path::new(STREAM) {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("cannot read stdin")?;
        return Ok(vec![Seen::new("stdin".to_owned(), PathBuf::new(), text)]);
    }
    if !path.is_dir() {
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        return Ok(vec![Seen::new(path.display().to_string(), path.to_owned(), text)]);
    }
    let folder = super::policy::Folder::read(path)?;
    let files = folder.sources.files.iter();
    let seen =
        files.map(|(name, text)| Seen::new(folder.path(name), path.join(name), text.clone()));
    Ok(seen.collect())
}

/// Puts a text in the place of a file, or of what a link leads to: all of it, or nothing.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || {
        let real = path.canonicalize()?;
        let permissions = fs::metadata(&real)?.permissions();
        let name = real.file_name().unwrap_or_default().to_string_lossy();
        let fresh = real.with_file_name(format!(".{name}.{}.fmt", std::process::id()));
        let mut file = OpenOptions::new().write(true).create_new(true).open(&fresh)?;
        let written = file
            .set_permissions(permissions)
            .and_then(|()| file.write_all(text.as_bytes()))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&fresh, &real));
        if written.is_err() {
            // What stays behind is not worth another error.
            let _ = fs::remove_file(&fresh);
        }
        written
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn list(files: &[Seen]) -> String {
    let changed: Vec<_> = files.iter().filter(|file| file.change().is_some()).collect();
    let mut text = String::new();
    for file in &changed {
        text.push_str(&format!("formatted {}\n", file.name));
    }
    let whole = files.iter().filter(|file| file.result.is_ok()).count();
    text.push_str(&format!(
        "{} formatted, {} as before",
        count(changed.len()),
        whole - changed.len()
    ));
    text
}

fn diffs(files: &[Seen], output: &Output) -> String {
    let painter = output.painter();
    let mut text = String::new();
    for line in files.iter().map(Seen::diff).collect::<String>().lines() {
        let colour = match line.as_bytes() {
            [b'+', ..] => Some(Colour::Green),
            [b'-', ..] => Some(Colour::Red),
            [b'@', ..] => Some(Colour::Dim),
            _ => None,
        };
        match colour {
            Some(colour) => text.push_str(&painter.paint(colour, line)),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    let changed = files.iter().filter(|file| file.change().is_some()).count();
    text.push_str(&format!("{} would change.", count(changed)));
    if changed > 0 {
        text.push_str(" Run `cellwall policy fmt` to write it.");
    }
    text
}

fn count(files: usize) -> String {
    format!("{files} file{}", if files == 1 { "" } else { "s" })
}

fn print_json(files: &[Seen], findings: &Findings, output: &Output) -> anyhow::Result<()> {
    let files: Vec<_> = files
        .iter()
        .map(|file| {
            let error = matches!(file.result, Err(FormatError::Unsure));
            json!({
                "file": file.name,
                "changes": file.change().is_some(),
                "diff": file.diff(),
                "error": error.then(|| FormatError::Unsure.to_string()),
            })
        })
        .collect();
    output.json(&json!({"schema_version": 1, "files": files, "findings": findings}))
}
