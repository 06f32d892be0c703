//! Figures and texts, byte for byte.

use std::{
    cell::Cell,
    time::{Duration, UNIX_EPOCH},
};

use time::OffsetDateTime;

thread_local! {
    /// The last second that was written, since 1970 and as text: thousands of lines begin in the same.
    static SECOND: Cell<(u64, [u8; 19])> = const { Cell::new((0, *b"1970-01-01T00:00:00")) };
}

/// A second since 1970 as RFC 3339 has it, in UTC.
pub(super) fn second(second: u64) -> [u8; 19] {
    let (last, text) = SECOND.get();
    if last == second {
        return text;
    }
    let text = written_out(second);
    SECOND.set((second, text));
    text
}

/// There are none beyond the year 9999.
#[cold]
fn written_out(second: u64) -> [u8; 19] {
    let moment = OffsetDateTime::from(UNIX_EPOCH + Duration::from_secs(second));
    let ((hours, minutes, seconds), date) = (moment.to_hms(), moment.date());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let text = format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}");
    text.as_bytes().try_into().unwrap_or([b'9'; 19])
}

/// Whether JSON escapes nothing of `text`. Without an early end: so many bytes are looked at at once,
/// the last ones of them twice.
pub(super) fn is_plain(text: &[u8]) -> bool {
    let is_escaped = |byte: u8| (byte < b' ') | (byte == b'"') | (byte == b'\\');
    let none = |bytes: &[u8]| !bytes.iter().fold(false, |found, byte| found | is_escaped(*byte));
    match text.last_chunk::<16>() {
        Some(last) => text.as_chunks::<16>().0.iter().all(|chunk| none(chunk)) && none(last),
        None => none(text),
    }
}

/// With zeros in front. Two by two: half the divisions.
pub(super) fn fill(text: &mut [u8; 9], mut number: u32) {
    for pair in text.rchunks_mut(2) {
        let two = number % 100;
        number /= 100;
        if let Some((ones, tens)) = pair.split_last_mut() {
            *ones = digit(two % 10);
            if let Some(tens) = tens.first_mut() {
                *tens = digit(two / 10);
            }
        }
    }
}

/// Of a number below ten.
pub(super) const fn digit(number: u32) -> u8 {
    b'0' + (number % 10) as u8
}
