//! A plan for a pull request.

use cellwall_policy_language::Change;

use super::{Planned, remark, standing};
use crate::commands::{
    policy::plural,
    reach::{
        grouped,
        replay::Call,
        sections::{crossing, sections},
    },
};

/// The plan as Markdown that GitHub and GitLab show.
pub(super) fn markdown(planned: &Planned) -> String {
    let difference = &planned.difference;
    let mut text = format!("### Policy plan: {}\n", planned.summary());
    let blocks = planned.blocks();
    if !blocks.is_empty() {
        text.push_str(&format!("\n**Blocked: {}.**\n", blocks.join(", ")));
    }
    reachability(planned, &mut text);
    if !difference.modes.is_empty() {
        text.push('\n');
    }
    for mode in &difference.modes {
        let callers = plural(mode.callers, "caller");
        let (segment, was, now) = (&mode.segment, &mode.was, &mode.now);
        text.push_str(&format!(
            "- `~` segment **{segment}**: {was} -> {now}, {callers} affected\n"
        ));
    }
    if let Some(replay) = &planned.replay {
        text.push_str(&format!("\n#### Observed traffic ({} calls)\n", grouped(replay.calls)));
        calls("Would be DENIED", &replay.denied, &mut text);
        calls("Would be allowed", &replay.allowed, &mut text);
        calls("Audit changes", &replay.audited, &mut text);
        if replay.is_same() {
            text.push_str("\nNone of it would change.\n");
        }
        let unsure = replay.unsure();
        if !unsure.is_empty() {
            text.push_str("\nCould not decide:\n\n");
        }
        for line in unsure {
            text.push_str(&format!("- {}\n", cell(&line)));
        }
    }
    text.push('\n');
    for line in standing(planned) {
        text.push_str(&format!("- {}\n", line.replace('|', "\\|")));
    }
    text
}

fn reachability(planned: &Planned, text: &mut String) {
    let difference = &planned.difference;
    let places = difference.changes.iter().map(|change| &change.places);
    for section in sections(&difference.environments, places) {
        let head = if section.head.is_empty() { "Reachability" } else { &section.head };
        text.push_str(&format!("\n#### {}\n\n", cell(head)));
        let mut changes: Vec<&Change> =
            section.rows.iter().filter_map(|at| difference.changes.get(*at)).collect();
        changes.sort_by_key(|change| change.turn);
        if changes.is_empty() {
            text.push_str("No change in who may call whom.\n");
            continue;
        }
        text.push_str("| | caller | callee | call | |\n|---|---|---|---|---|\n");
        for change in changes {
            let mut note = remark(change);
            if !change.places.across.is_empty() {
                note = format!("{note} ({})", crossing(&change.places));
            }
            if planned.is_unused(change) {
                note.push_str(", unused");
            }
            text.push_str(&format!(
                "| `{}` | {} | {} | {} | {} |\n",
                change.turn.sign(),
                cell(&change.caller.to_string()),
                cell(&change.callee),
                code(&change.call),
                cell(&note)
            ));
        }
    }
}

fn calls(head: &str, calls: &[Call], text: &mut String) {
    if calls.is_empty() {
        return;
    }
    text.push_str(&format!("\n**{head}**\n\n"));
    text.push_str("| caller | callee | call | calls | last seen | now -> then |\n");
    text.push_str("|---|---|---|---:|---|---|\n");
    for call in calls {
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} -> {} |\n",
            cell(&call.caller),
            cell(&call.callee),
            code(&call.call),
            grouped(call.count),
            call.last,
            call.was,
            call.now
        ));
    }
}

/// A text that ends no cell and means nothing to Markdown.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for character in text.chars() {
        if matches!(character, '|' | '*' | '_' | '`' | '<' | '[' | ']' | '\\') {
            cell.push('\\');
        }
        cell.push(if character.is_control() { ' ' } else { character });
    }
    cell
}

fn code(text: &str) -> String {
    let plain: String =
        text.chars().map(|it| if it.is_control() || it == '`' { ' ' } else { it }).collect();
    format!("`{}`", plain.replace('|', "\\|"))
}
