//! Points in time, days and lengths of time.

use std::time::{Duration, UNIX_EPOCH};

use time::{Date, format_description::BorrowedFormatItem, macros::format_description};

use super::Reader;
use crate::{
    codes::Code,
    finding::Problem,
    instant::parse_instant,
    model::ReviewBy,
    place::Place,
    syntax::Text,
    yaml::{Node, Value},
};

const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
const DAY_SECONDS: u64 = 24 * 3600;

/// The shortest and the longest that a length of time may be, in seconds, and how to say so.
pub(super) struct Range {
    pub(super) least: u64,
    pub(super) most: u64,
    pub(super) text: &'static str,
}

impl Reader<'_> {
    /// A whole second, in UTC, in Unix seconds.
    pub(super) fn instant(&mut self, node: &Node) -> Option<(u64, Place)> {
        let text = self.text(node, "a point in time")?;
        // One form: local times and fractions are read differently by different people.
        let legal = text.value.ends_with('Z') && !text.value.contains(['.', ',']);
        let since = parse_instant(&text.value).and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        match since.filter(|_| legal) {
            Some(since) => Some((since.as_secs(), text.place)),
            None => {
                let message = format!("`{}` is not a point in time", text.value);
                let help = "write a whole second in UTC: `2026-03-02T10:00:00Z`";
                self.problems.push(Problem::error(Code::WrongType, text.place, message).help(help));
                None
            }
        }
    }

    /// A day that still counts.
    pub(super) fn review_by(&mut self, node: &Node) -> Option<ReviewBy> {
        let text = self.text(node, "a day")?;
        let day = Date::parse(&text.value, &DAY).ok();
        let begins = day.map(|day| day.midnight().assume_utc().unix_timestamp());
        match begins.and_then(|begins| u64::try_from(begins).ok()) {
            Some(begins) => Some(ReviewBy { ends: begins + DAY_SECONDS, place: text.place }),
            None => {
                let message = format!("`{}` is not a day", text.value);
                let help = "write the last day on which it counts: `2026-09-01`";
                self.problems.push(Problem::error(Code::WrongType, text.place, message).help(help));
                None
            }
        }
    }

    /// A length of time, in seconds.
    pub(super) fn duration(&mut self, node: &Node, range: &Range) -> Option<u64> {
        let text = match &node.value {
            Value::Number(number) => Text { value: number.to_string(), place: node.place },
            _ => self.text(node, "a length of time")?,
        };
        let length = humantime::parse_duration(&text.value).ok();
        let seconds = length.filter(|length| length.subsec_nanos() == 0).map(|it| it.as_secs());
        let Some(seconds) = seconds else {
            let message = format!("`{}` is not a length of time", text.value);
            let help = "write a number and its unit: `8h`, `90m`, `1h30m`, `3600s`";
            self.problems.push(Problem::error(Code::WrongType, text.place, message).help(help));
            return None;
        };
        if (range.least..=range.most).contains(&seconds) {
            return Some(seconds);
        }
        let shown = humantime::format_duration(Duration::from_secs(seconds));
        let message = format!("{shown} is not {}", range.text);
        self.problems.push(Problem::error(Code::WrongType, text.place, message));
        None
    }
}
