//! The picture, drawn: one SVG document without anything from elsewhere.

use std::{collections::BTreeMap, fmt::Write};

use rust_sugiyama::{configure::Config, from_vertices_and_edges};

use super::{Arrow, Kind, Node, Picture};

/// A colour of a segment's workloads: fill and line.
const COLOURS: [(&str, &str); 8] = [
    ("#dbeafe", "#1d4ed8"),
    ("#dcfce7", "#15803d"),
    ("#fee2e2", "#b91c1c"),
    ("#fef3c7", "#b45309"),
    ("#ede9fe", "#6d28d9"),
    ("#cffafe", "#0e7490"),
    ("#fce7f3", "#be185d"),
    ("#e5e7eb", "#374151"),
];
/// Heights and distances, in pixels.
const NODE_HEIGHT: f64 = 36.0;
const LAYER: f64 = 120.0;
const GAP: f64 = 36.0;
const MARGIN: f64 = 24.0;
/// About how wide a letter is.
const LETTER: f64 = 7.6;

/// Where a node stands: its middle, and its width.
#[derive(Clone, Copy, Debug)]
struct Box2 {
    x: f64,
    y: f64,
    width: f64,
}

impl Picture {
    /// The document.
    pub(in super::super) fn svg(&self) -> String {
        let boxes = self.placed();
        let right = boxes.iter().map(|it| it.x + it.width / 2.0).fold(320.0, f64::max) + MARGIN;
        let bottom = boxes.iter().map(|it| it.y + NODE_HEIGHT).fold(0.0, f64::max) + MARGIN;
        let height = bottom + self.legend_height();
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{right:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {right:.0} {height:.0}\" font-family=\"system-ui, sans-serif\" \
             font-size=\"13\">\n<title>Who may call whom</title>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{MARKERS}"
        );
        let mut labels = String::new();
        let mut lanes: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for arrow in &self.arrows {
            let lane = lanes.entry((arrow.from, arrow.to)).or_default();
            self.draw(arrow, *lane, &boxes, (&mut text, &mut labels));
            *lane += 1;
        }
        for (node, place) in self.nodes.iter().zip(&boxes) {
            text.push_str(&drawn(node, *place));
        }
        text.push_str(&labels);
        self.legend(bottom, &mut text);
        text.push_str("</svg>");
        text
    }

    /// The places of all nodes: layers from callers down to callees.
    fn placed(&self) -> Vec<Box2> {
        let width = |node: &Node| {
            f64::from(u32::try_from(node.name.chars().count()).unwrap_or(64)) * LETTER + 28.0
        };
        let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let vertices: Vec<_> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(at, node)| (number(at), (width(node) + GAP, NODE_HEIGHT)))
            .collect();
        let mut pairs: Vec<(u32, u32)> = self
            .arrows
            .iter()
            .filter(|arrow| arrow.from != arrow.to)
            .map(|arrow| (number(arrow.from), number(arrow.to)))
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        let config = Config { vertex_spacing: GAP, ..Config::default() };
        let mut boxes: Vec<Box2> =
            self.nodes.iter().map(|node| Box2 { x: 0.0, y: 0.0, width: width(node) }).collect();
        let mut left = MARGIN;
        for (nodes, ..) in from_vertices_and_edges(&vertices, &pairs, &config) {
            let mut layers: BTreeMap<i64, Vec<_>> = BTreeMap::new();
            for (at, (x, y)) in nodes {
                #[expect(clippy::cast_possible_truncation, reason = "a layer's height, in pixels")]
                layers.entry(y.round() as i64).or_default().push((x, at));
            }
            left = settle(layers.into_values(), left, &mut boxes) + 2.0 * GAP;
        }
        boxes
    }

    fn draw(
        &self,
        arrow: &Arrow,
        lane: usize,
        boxes: &[Box2],
        (text, labels): (&mut String, &mut String),
    ) {
        let (Some(from), Some(to)) = (boxes.get(arrow.from), boxes.get(arrow.to)) else { return };
        let (colour, dash, marker) = match arrow.kind {
            Kind::Audit => ("#b45309", " stroke-dasharray=\"6 4\"", "audit"),
            Kind::Allow | Kind::Turn(_) => ("#475569", "", "allow"),
        };
        let shift = f64::from(u32::try_from(lane).unwrap_or_default()) * 18.0;
        let (path, (x, y)) = curve(*from, *to, shift);
        let title = escaped(&arrow.calls.join("\n"));
        let _ = writeln!(
            text,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"{dash} \
             marker-end=\"url(#{marker})\"><title>{title}</title></path>"
        );
        let label = match arrow.calls.len() {
            1 => "1 call".to_owned(),
            many => format!("{many} calls"),
        };
        let _ = writeln!(
            labels,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" font-size=\"11\" \
             fill=\"{colour}\" stroke=\"#ffffff\" stroke-width=\"4\" paint-order=\"stroke\">\
             {label}<title>{title}</title></text>"
        );
    }

    fn legend_height(&self) -> f64 {
        f64::from(u32::try_from(self.segments.len()).unwrap_or_default()) * 20.0 + 44.0
    }

    fn legend(&self, top: f64, text: &mut String) {
        let mut y = top;
        for (at, (name, mode)) in self.segments.iter().enumerate() {
            let (fill, line) = colour(at);
            let name = escaped(&format!("segment {name} ({mode})"));
            let _ = writeln!(
                text,
                "<rect x=\"{MARGIN}\" y=\"{y:.0}\" width=\"14\" height=\"14\" rx=\"3\" \
                 fill=\"{fill}\" stroke=\"{line}\"/><text x=\"{:.0}\" y=\"{:.0}\">{name}</text>",
                MARGIN + 22.0,
                y + 12.0
            );
            y += 20.0;
        }
        let _ = writeln!(
            text,
            "<path d=\"M{MARGIN} {0:.0}h34\" stroke=\"#b45309\" stroke-width=\"1.5\" \
             stroke-dasharray=\"6 4\"/><text x=\"{1:.0}\" y=\"{2:.0}\">passes in audit</text>",
            y + 8.0,
            MARGIN + 42.0,
            y + 12.0
        );
    }
}

const MARKERS: &str = "<defs><marker id=\"allow\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" \
    markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" \
    fill=\"#475569\"/></marker><marker id=\"audit\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" \
    markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" \
    fill=\"#b45309\"/></marker></defs>\n";

/// Puts the layers of one part beside what is drawn already, and gives where it ends. No two nodes
/// share a place, whatever the layout says.
fn settle(layers: impl Iterator<Item = Vec<(f64, usize)>>, left: f64, boxes: &mut [Box2]) -> f64 {
    let mut layers: Vec<_> = layers.collect();
    let least = layers.iter().flatten().map(|(x, _)| *x).fold(f64::INFINITY, f64::min);
    let mut right = left;
    let mut y = MARGIN + NODE_HEIGHT / 2.0;
    for layer in &mut layers {
        layer.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut free = left;
        for (x, at) in layer.iter() {
            let Some(place) = boxes.get_mut(*at) else { continue };
            let wanted = left + (x - least) + GAP;
            place.x = wanted.max(free + place.width / 2.0);
            place.y = y;
            free = place.x + place.width / 2.0 + GAP;
            right = right.max(free - GAP);
        }
        y += LAYER;
    }
    right
}

/// A line from one box to another, and where its label stands.
fn curve(from: Box2, to: Box2, shift: f64) -> (String, (f64, f64)) {
    let half = NODE_HEIGHT / 2.0;
    if from.y < to.y {
        let (y1, y2) = (from.y + half, to.y - half);
        let bend = (y2 - y1) / 2.0;
        let (x1, x2) = (from.x + shift, to.x + shift);
        let path = format!(
            "M{x1:.1} {y1:.1}C{x1:.1} {:.1} {x2:.1} {:.1} {x2:.1} {y2:.1}",
            y1 + bend,
            y2 - bend
        );
        return (path, (x1 + (x2 - x1) * 0.65, y1 + (y2 - y1) * 0.62 + shift / 2.0));
    }
    // Back, or to itself: around the right side.
    let (x1, x2) = (from.x + from.width / 2.0, to.x + to.width / 2.0);
    let (y1, y2) = (from.y + half / 2.0, to.y - half / 2.0);
    let out = x1.max(x2) + 40.0 + shift;
    let path = format!("M{x1:.1} {y1:.1}C{out:.1} {y1:.1} {out:.1} {y2:.1} {x2:.1} {y2:.1}");
    (path, (out - 8.0, f64::midpoint(y1, y2)))
}

fn drawn(node: &Node, place: Box2) -> String {
    let (fill, line) = node.segment.map_or(("#ffffff", "#94a3b8"), colour);
    let dash = if node.segment.is_none() { " stroke-dasharray=\"3 3\"" } else { "" };
    let (left, top) = (place.x - place.width / 2.0, place.y - NODE_HEIGHT / 2.0);
    let (width, y, x) = (place.width, place.y + 4.5, place.x);
    let name = escaped(&node.name);
    format!(
        "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{NODE_HEIGHT}\" \
         rx=\"8\" fill=\"{fill}\" stroke=\"{line}\"{dash}/><text x=\"{x:.1}\" y=\"{y:.1}\" \
         text-anchor=\"middle\" fill=\"#0f172a\">{name}</text>\n"
    )
}

fn colour(segment: usize) -> (&'static str, &'static str) {
    COLOURS.get(segment % COLOURS.len()).copied().unwrap_or(("#ffffff", "#94a3b8"))
}

/// XML 1.0 §2.4: no character of a name means anything.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push('\n'),
            other if other.is_control() => escaped.push('?'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn no_character_of_a_name_means_anything_to_xml() {
        assert_eq!(escaped("a<b>&\"c\"'\u{1b}"), "a&lt;b&gt;&amp;&quot;c&quot;&#39;?");
    }
}
