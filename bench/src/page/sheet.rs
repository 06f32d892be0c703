//! Drawings beside each other as one file that stands alone: its own background, no script, nothing
//! from elsewhere.

use std::fmt::{self, Write as _};

use super::{
    escaped,
    plot::{Drawing, STYLE, wide},
};

/// A file to be.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    pub(super) title: String,
    /// Each with its heading.
    pub(super) drawings: Vec<(String, Drawing)>,
    /// What is said below them, a paragraph each.
    pub(super) notes: Vec<String>,
}

/// Places, in units of the drawing.
const WIDTH: f64 = 456.0;
const MARGIN: f64 = 18.0;
const GAP: f64 = 24.0;
const TITLE: f64 = 34.0;
const HEADING: f64 = 22.0;
const LINE: f64 = 15.0;

/// How wide each of so many drawings is: two are beside each other.
pub(super) const fn width(count: usize) -> f64 {
    if count == 1 { 2.0 * WIDTH + GAP } else { WIDTH }
}

impl Sheet {
    pub(super) fn svg(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let width = 2.0 * MARGIN + width(1);
        let pairs = self.drawings.chunks(2);
        let tall = |pair: &[(String, Drawing)]| {
            pair.iter().map(|(_, drawing)| drawing.height).fold(0.0, f64::max) + HEADING + GAP
        };
        let notes = self.notes.iter().flat_map(|note| lines(note, width));
        let notes = notes.collect::<Vec<_>>();
        let below = MARGIN + TITLE + pairs.clone().map(tall).sum::<f64>();
        let count = u32::try_from(notes.len()).unwrap_or(u32::MAX);
        let height = below + f64::from(count) * LINE + MARGIN / 2.0;
        let title = escaped(&self.title);
        write!(
            text,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" role=\"img\"><title>{title}</title>\n\
             <style>\n{STYLE}</style>\n<rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"#ffffff\" \
             stroke=\"#d3dae3\"/>\n\
             <text x=\"{MARGIN}\" y=\"{}\" style=\"font-size: 17px; \
             font-weight: 600\">{title}</text>\n",
            MARGIN + 14.0
        )?;
        let mut top = MARGIN + TITLE;
        for pair in pairs {
            for ((heading, drawing), left) in pair.iter().zip([MARGIN, MARGIN + WIDTH + GAP]) {
                writeln!(
                    text,
                    "<g transform=\"translate({left} {top})\">\
                     <text y=\"11\" style=\"font-weight: 600\">{}</text>\
                     <g transform=\"translate(0 {HEADING})\">{}</g></g>",
                    escaped(heading),
                    drawing.text
                )?;
            }
            top += tall(pair);
        }
        for (note, line) in notes.iter().zip(1_u32..) {
            let y = below + f64::from(line) * LINE - LINE / 2.0;
            let note = escaped(note);
            writeln!(text, "<text class=\"tick\" x=\"{MARGIN}\" y=\"{y}\">{note}</text>")?;
        }
        writeln!(text, "</svg>")
    }
}

/// A paragraph in lines that are no wider.
fn lines(note: &str, width: f64) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for word in note.split_whitespace() {
        match all.last_mut() {
            Some(line) if wide(line) + wide(word) < width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => all.push(word.to_owned()),
        }
    }
    all
}
