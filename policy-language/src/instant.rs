//! Points in time as documents and records write them: RFC 3339.

use std::time::SystemTime;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Reads a point in time: `2026-03-02T10:00:00Z`. `None` for what is none, and for one before 1970.
pub fn parse_instant(text: &str) -> Option<SystemTime> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let is_countable = time.unix_timestamp() >= 0;
    is_countable.then(|| SystemTime::from(time))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::parse_instant;

    #[test]
    fn an_instant_has_a_date_a_time_and_an_offset() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(parse_instant("1970-01-01T00:00:00Z"), at(0));
        assert_eq!(parse_instant("2026-03-02T11:00:00+01:00"), at(1_772_445_600));
        for text in ["", "2026-03-02", "2026-03-02T10:00:00", "1969-12-31T23:59:59Z", "noon"] {
            assert_eq!(parse_instant(text), None, "{text}");
        }
    }
}
