//! Tables without lines, and times as people say them.

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

/// Lays out rows under a head. Columns whose head ends in `>` are aligned to the right.
pub(crate) fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(head.iter().map(|name| name.trim_end_matches('>')));
    table.add_rows(rows);
    for (at, name) in head.iter().enumerate() {
        if let Some(column) = table.column_mut(at) {
            column.set_padding((0, 2));
            if name.ends_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// A time of the server.
pub(crate) fn instant(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// `41m`, in the largest unit that fits; negative as zero.
pub(crate) fn short(duration: Duration) -> String {
    let seconds = duration.whole_seconds().max(0);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_said_in_its_largest_unit() {
        for (seconds, text) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7199, "119m"),
            (7200, "2h"),
            (172_800, "2d"),
        ] {
            assert_eq!(short(Duration::seconds(seconds)), text);
        }
    }

    #[test]
    fn a_table_has_no_lines_and_no_trailing_spaces() {
        let rows =
            vec![vec!["a".to_owned(), "1".to_owned()], vec!["bcd".to_owned(), "22".to_owned()]];
        assert_eq!(table(&["NAME", "N>"], rows), "NAME   N\na      1\nbcd   22");
    }
}
