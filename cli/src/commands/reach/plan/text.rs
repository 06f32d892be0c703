//! A plan for people at a terminal.

use cellwall_policy_language::{Change, ModeChange, Turn};

use super::{Planned, remark, standing};
use crate::{
    commands::{
        policy::{plural, result_lines},
        reach::{
            grouped,
            replay::Call,
            sections::{crossing, sections},
        },
    },
    output::Output,
    paint::{Colour, Painter},
};

/// The widest column of names.
const WIDTH: usize = 32;

/// Only what is said of edges.
pub(super) fn edges(planned: &Planned, output: &Output) -> String {
    let mut text = format!("Comparing {} with {}\n", planned.new, planned.old);
    reachability(planned, output.painter(), &mut text);
    text.push_str(&format!("\n{}", planned.summary()));
    text
}

/// The plan in lines.
pub(super) fn text(planned: &Planned, output: &Output) -> String {
    let painter = output.painter();
    let mut text = format!("Comparing {} with {}\n", planned.new, planned.old);
    reachability(planned, painter, &mut text);
    if let Some(replay) = &planned.replay {
        let head =
            format!("Observed traffic that would change   ({} calls)", grouped(replay.calls));
        text.push_str(&format!("\n{}\n", painter.paint(Colour::Bold, head)));
        calls(painter.paint(Colour::Red, "!! WOULD BE DENIED"), &replay.denied, painter, &mut text);
        calls(
            painter.paint(Colour::Green, "+ would be allowed"),
            &replay.allowed,
            painter,
            &mut text,
        );
        calls(
            painter.paint(Colour::Yellow, "~ audit changes"),
            &replay.audited,
            painter,
            &mut text,
        );
        if replay.is_same() {
            text.push_str("  none\n");
        }
        let unsure = replay.unsure();
        if !unsure.is_empty() {
            text.push_str(&format!("\n{}\n", painter.paint(Colour::Bold, "Could not decide")));
        }
        for line in unsure {
            text.push_str(&format!("  {} {line}\n", painter.paint(Colour::Yellow, '?')));
        }
    }
    text.push('\n');
    for result in planned.difference.tests.results.iter().filter(|result| !result.passed) {
        text.push_str(&format!("{}\n{}", result.file, result_lines(result, painter)));
    }
    for line in standing(planned) {
        text.push_str(&line);
        text.push('\n');
    }
    text.push_str(&format!("Plan: {}.", painter.paint(Colour::Bold, planned.summary())));
    let denied = planned.replay.as_ref().map_or(0, |replay| replay.denied_calls());
    if denied > 0 {
        let denied = format!("{} observed calls would be DENIED.", grouped(denied));
        text.push_str(&format!(" {}", painter.paint(Colour::Red, denied)));
    }
    let blocks = planned.blocks();
    if !blocks.is_empty() {
        text.push_str(&format!(
            "\n{}: {}.",
            painter.paint(Colour::Red, "Blocked"),
            blocks.join(", ")
        ));
    }
    text
}

fn reachability(planned: &Planned, painter: Painter, text: &mut String) {
    let difference = &planned.difference;
    let places = difference.changes.iter().map(|change| &change.places);
    let mut modes = difference.modes.as_slice();
    for section in sections(&difference.environments, places) {
        let head = painter.paint(Colour::Bold, "Reachability");
        let place =
            if section.head.is_empty() { String::new() } else { format!("   ({})", section.head) };
        text.push_str(&format!("\n{head}{place}\n"));
        let changes: Vec<&Change> =
            section.rows.iter().filter_map(|at| difference.changes.get(*at)).collect();
        if changes.is_empty() && modes.is_empty() {
            text.push_str("  no change in who may call whom\n");
        }
        let width = |part: &dyn Fn(&Change) -> usize| {
            changes.iter().map(|change| part(change)).max().unwrap_or_default().min(WIDTH)
        };
        let from = width(&|change| change.caller.to_string().len());
        let to = width(&|change| change.callee.len());
        let call = width(&|change| change.call.len()).max(WIDTH);
        let mut sorted = changes.clone();
        sorted.sort_by_key(|change| change.turn);
        let (edges, softened): (Vec<&Change>, Vec<&Change>) =
            sorted.into_iter().partition(|change| change.turn != Turn::Mode);
        let mut line = |change: &Change, indent: &str| {
            let mut note = remark(change);
            if !change.places.across.is_empty() {
                note = format!("{note}   {}", crossing(&change.places));
            }
            if planned.is_unused(change) {
                note.push_str("   unused");
            }
            let sign = painter.paint(colour(change.turn), change.turn.sign());
            let caller = change.caller.to_string();
            text.push_str(&format!(
                "  {indent}{sign} {caller:<from$} -> {:<to$}  {:<call$}  {note}\n",
                change.callee, change.call
            ));
        };
        for change in edges {
            line(change, "");
        }
        let mut softened = softened.into_iter().peekable();
        if softened.peek().is_none() && modes.is_empty() {
            continue;
        }
        for change in softened {
            line(change, "");
        }
        for mode in modes {
            text.push_str(&mode_line(mode, painter));
        }
        modes = &[];
    }
}

fn mode_line(mode: &ModeChange, painter: Painter) -> String {
    let sign = painter.paint(Colour::Yellow, '~');
    let ModeChange { segment, was, now, callers } = mode;
    format!(
        "  {sign} segment {segment}   {was} -> {now}   {} affected\n",
        plural(*callers, "caller")
    )
}

const fn colour(turn: Turn) -> Colour {
    match turn {
        Turn::Opened => Colour::Green,
        Turn::Closed => Colour::Red,
        Turn::Changed | Turn::Mode => Colour::Yellow,
    }
}

fn calls(head: String, calls: &[Call], painter: Painter, text: &mut String) {
    if calls.is_empty() {
        return;
    }
    let shown = |part: fn(&Call) -> &str| {
        calls.iter().map(|call| part(call).len()).max().unwrap_or_default()
    };
    let (from, to) = (shown(|call| &call.caller), shown(|call| &call.callee));
    let what = shown(|call| &call.call).max(WIDTH);
    let indent = from + to + what + 8;
    text.push_str(&format!(
        "  {head}\n  {:indent$}{:>12}  {:<20}  now -> then\n",
        "", "calls", "last seen"
    ));
    for call in calls {
        let count = painter.paint(Colour::Bold, format!("{:>12}", grouped(call.count)));
        let (was, now) = (&call.was, &call.now);
        text.push_str(&format!(
            "     {:<from$} -> {:<to$} {:<what$}{count}  {:<20}  {was} -> {now}\n",
            call.caller, call.callee, call.call, call.last
        ));
    }
}
