//! Stacks as a flame graph: what calls is below what it calls, as wide as it was seen often.

use std::fmt::Write as _;

use super::stacks::{Frame, Stacks};
use crate::page::escaped;

/// Places, in units of the drawing.
const WIDTH: f64 = 1200.0;
const STEP: f64 = 16.0;
const HEAD: f64 = 28.0;
/// How wide a letter is, about.
const LETTER: f64 = 6.2;
/// Narrower frames are left out: nobody sees them.
const NARROW: f64 = 0.4;

/// One drawing, which needs nothing from elsewhere. A frame's name and share show where the mouse
/// rests on it.
pub(super) fn svg(stacks: &Stacks, title: &str) -> String {
    let depth = depth(&stacks.root);
    let height = HEAD + STEP * f64::from(depth) + 8.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\">\
         <style>text {{ font: 11px monospace; fill: #1c2430 }} rect {{ stroke: #fff; \
         stroke-width: .4 }} .u {{ fill: #f2a65a }} .k {{ fill: #8fb3e0 }}</style>\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\
         <text x=\"4\" y=\"16\">{}: {} samples, {} of them in the kernel</text>",
        escaped(title),
        stacks.root.samples,
        stacks.in_kernel
    );
    let all = real(stacks.root.samples).max(1.0);
    let mut left = 0.0;
    for (name, frame) in &stacks.root.calls {
        let graph = Graph { all, bottom: height - 8.0 - STEP };
        graph.draw(&mut svg, (name, frame), left, 0);
        left += WIDTH * real(frame.samples) / all;
    }
    svg.push_str("</svg>\n");
    svg
}

struct Graph {
    all: f64,
    bottom: f64,
}

impl Graph {
    fn draw(&self, svg: &mut String, (name, frame): (&str, &Frame), left: f64, level: u32) {
        let width = WIDTH * real(frame.samples) / self.all;
        if width < NARROW {
            return;
        }
        let top = self.bottom - STEP * f64::from(level);
        let class = if frame.is_kernel { "k" } else { "u" };
        let percent = 100.0 * real(frame.samples) / self.all;
        // Writing to a string does not fail.
        let _ = write!(
            svg,
            "<g><title>{}: {percent:.2} %</title><rect class=\"{class}\" x=\"{left:.1}\" \
             y=\"{top:.1}\" width=\"{width:.1}\" height=\"{STEP}\"/>",
            escaped(name)
        );
        let label = shortened(name, width);
        if !label.is_empty() {
            let (x, y) = (left + 2.0, top + STEP - 4.0);
            let label = escaped(&label);
            let _ = write!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\">{label}</text>");
        }
        svg.push_str("</g>");
        let mut left = left;
        for (name, frame) in &frame.calls {
            self.draw(svg, (name, frame), left, level + 1);
            left += WIDTH * real(frame.samples) / self.all;
        }
    }
}

/// As much of a name as has room; nothing if that says nothing.
fn shortened(name: &str, width: f64) -> String {
    let room = std::iter::successors(Some(LETTER), |used| Some(used + LETTER));
    let room = room.take_while(|used| *used < width - 4.0).take(name.len()).count();
    match room {
        0..3 => String::new(),
        _ if name.chars().count() <= room => name.to_owned(),
        _ => name.chars().take(room - 2).chain("..".chars()).collect(),
    }
}

fn depth(frame: &Frame) -> u32 {
    frame.calls.values().map(|frame| depth(frame) + 1).max().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "samples of some minutes")]
const fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_as_wide_as_it_was_seen_often_and_names_are_not_markup() {
        let sample = |frames: &str| format!("7\n{frames}\n\n");
        let text = [
            sample("ffffffff81000130 sys_send\n10 <A as B>::poll"),
            sample("20 read\n10 <A as B>::poll"),
            sample("20 read\n10 <A as B>::poll"),
            sample("30 other"),
        ]
        .concat();

        let svg = svg(&Stacks::of(&text, &[7]), "ours & theirs");

        assert!(svg.contains("ours &amp; theirs: 4 samples, 1 of them in the kernel"), "{svg}");
        assert!(svg.contains("<title>&lt;A as B&gt;::poll: 75.00 %</title>"), "{svg}");
        assert!(svg.contains("class=\"k\" x=\"600.0\" y=\"28.0\" width=\"300.0\""), "{svg}");
        for forbidden in ["<script", "href", "url(", "@import"] {
            assert!(!svg.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn a_name_is_cut_to_its_room() {
        assert_eq!(shortened("function", 100.0), "function");
        assert_eq!(shortened("function", 40.0), "fun..");
        assert_eq!(shortened("function", 12.0), "");
    }
}
