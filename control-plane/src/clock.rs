//! Time as people and scripts read it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// RFC 3339 in UTC, to the second: `2026-03-02T10:14:07Z`.
pub fn rfc3339(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at).replace_nanosecond(0);
    // Never an error: years have four digits for a long time yet.
    at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

/// The same to the millisecond, from milliseconds since 1970: `2026-03-02T10:14:07.218Z`.
pub fn rfc3339_milliseconds(milliseconds: u64) -> String {
    let at = OffsetDateTime::from(UNIX_EPOCH + Duration::from_millis(milliseconds));
    at.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{rfc3339, rfc3339_milliseconds};

    #[test]
    fn times_are_utc_to_the_second() {
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_millis(1_999)), "1970-01-01T00:00:01Z");
        assert_eq!(rfc3339_milliseconds(1_999), "1970-01-01T00:00:01.999Z");
    }
}
