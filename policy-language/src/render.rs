//! Findings as people read them: the line, a caret, and what to do.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::{Finding, Findings, Related, Severity, Sources};

/// The widest line of a rendered finding.
const WIDTH: usize = 140;

/// Whether the output may have colours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Paint {
    /// Text only.
    Plain,
    /// With ANSI colours.
    Ansi,
}

impl Findings {
    /// Renders each finding with its line of `sources`, a caret and its help.
    pub fn render(&self, sources: &Sources, paint: Paint) -> String {
        let renderer = match paint {
            Paint::Plain => Renderer::plain(),
            Paint::Ansi => Renderer::styled(),
        };
        let renderer = renderer.term_width(WIDTH);
        let mut text = String::new();
        for finding in &self.0 {
            text.push_str(&renderer.render(&[group(finding, sources)]));
            text.push_str("\n\n");
        }
        text
    }
}

fn group<'a>(finding: &'a Finding, sources: &'a Sources) -> Group<'a> {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(&finding.message).id(&finding.code);
    let source = text(sources, &finding.file);
    let label = (!finding.label.is_empty()).then_some(finding.label.as_str());
    let span = span(source, finding.line, finding.column..finding.end);
    let mut snippet = Snippet::source(source)
        .path(&finding.file)
        .annotation(AnnotationKind::Primary.span(span).label(label));
    let (here, elsewhere): (Vec<&Related>, Vec<&Related>) =
        finding.related.iter().partition(|related| related.file == finding.file);
    for related in here {
        snippet = snippet.annotation(context(source, related));
    }
    let mut group = title.element(snippet);
    for related in elsewhere {
        let source = text(sources, &related.file);
        let snippet = Snippet::source(source).path(&related.file);
        group = group.element(snippet.annotation(context(source, related)));
    }
    match &finding.help {
        Some(help) => group.element(Level::HELP.message(help)),
        None => group,
    }
}

fn context<'a>(source: &str, related: &'a Related) -> annotate_snippets::Annotation<'a> {
    let span = span(source, related.line, related.column..related.end);
    AnnotationKind::Context.span(span).label(related.label.as_str())
}

fn text<'a>(sources: &'a Sources, file: &str) -> &'a str {
    sources.files.get(file).map_or("", String::as_str)
}

/// The bytes of some columns of a line.
fn span(text: &str, line: usize, columns: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let start_of_line: usize =
        text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = text.get(start_of_line..).unwrap_or_default();
    let byte = |column: usize| {
        let wanted = column.saturating_sub(1);
        let end_of_line = rest.find('\n').unwrap_or(rest.len());
        let found = rest.char_indices().nth(wanted).map_or(rest.len(), |(at, _)| at);
        start_of_line + found.min(end_of_line)
    };
    byte(columns.start)..byte(columns.end)
}
