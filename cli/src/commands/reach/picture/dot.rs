//! The picture in Graphviz's language.

use cellwall_policy_language::Turn;

use super::{Kind, Picture};

impl Picture {
    /// A graph that `dot` draws: segments are clusters.
    pub(in super::super) fn dot(&self) -> String {
        let mut text = String::from(
            "digraph policy {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n  \
             edge [fontname=\"sans-serif\", fontsize=10];\n",
        );
        for (at, (name, mode)) in self.segments.iter().enumerate() {
            let style = if mode == "audit" { "dashed" } else { "solid" };
            let label = quoted(&format!("{name} ({mode})"));
            text.push_str(&format!(
                "  subgraph cluster_{at} {{\n    label={label};\n    style={style};\n"
            ));
            for node in self.nodes.iter().filter(|node| node.segment == Some(at)) {
                text.push_str(&format!("    {};\n", quoted(&node.name)));
            }
            text.push_str("  }\n");
        }
        for node in self.nodes.iter().filter(|node| node.segment.is_none()) {
            text.push_str(&format!("  {};\n", quoted(&node.name)));
        }
        for arrow in &self.arrows {
            let (Some(from), Some(to)) = (self.nodes.get(arrow.from), self.nodes.get(arrow.to))
            else {
                continue;
            };
            let style = match arrow.kind {
                Kind::Allow => "",
                Kind::Audit => ", style=dashed",
                Kind::Turn(Turn::Opened) => ", color=\"#1a7f37\"",
                Kind::Turn(Turn::Closed) => ", color=\"#cf222e\", style=dashed",
                Kind::Turn(Turn::Changed | Turn::Mode) => ", color=\"#9a6700\", style=dotted",
            };
            let label = match arrow.kind {
                Kind::Turn(_) => arrow.calls.join("\n"),
                Kind::Allow | Kind::Audit => arrow.label(),
            };
            text.push_str(&format!(
                "  {} -> {} [label={}{style}];\n",
                quoted(&from.name),
                quoted(&to.name),
                quoted(&label)
            ));
        }
        text.push('}');
        text
    }
}

/// A quoted identifier: only quotes and backslashes mean something in it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
