//! How long a caller waits for an answer.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, header};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long the head of an answer may take. Streams may go on for as long as they like.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(300);

/// How long the head of the answer to a request may take; `None`: as long as it likes. A gRPC caller
/// says how long it waits for all of a call, or waits without end: a server that streams may have
/// nothing to say for hours.
pub(super) fn patience(headers: &HeaderMap) -> Option<Duration> {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
    if !kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
        return Some(RESPONSE_DEADLINE);
    }
    headers.get("grpc-timeout").and_then(|text| grpc_timeout(text.to_str().ok()?))
}

/// A timer for calls that follow each other. It is neither set nor taken back with each: it stays where it
/// is, and is moved when it comes too early for the call that waits.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready when `deadline` is over.
    pub(super) fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if deadline <= timer.deadline() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// Nobody waits for long: it knows the last task that did, and keeps its memory.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

/// gRPC over HTTP/2, "Requests": at most eight digits and a unit.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let legal = (1..=8).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| legal)?;
    Some(match unit {
        "H" => Duration::from_secs(number.checked_mul(3600)?),
        "M" => Duration::from_secs(number.checked_mul(60)?),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll, time::Duration};

    use http::HeaderMap;
    use tokio::time::Instant;

    use super::{RESPONSE_DEADLINE, Timer, patience};

    #[tokio::test]
    async fn a_timer_comes_at_the_deadline_of_the_call_that_waits() {
        let millisecond = Duration::from_millis(1);
        // Before it, behind it, and the same again.
        for (before, deadline) in [(10_u32, 60_u32), (60_000, 30), (20, 20)] {
            let (mut timer, begun) = (Timer::default(), Instant::now());
            let (before, deadline) = (begun + before * millisecond, begun + deadline * millisecond);
            poll_fn(|cx| Poll::Ready(timer.poll(before, cx).is_ready())).await;
            poll_fn(|cx| timer.poll(deadline, cx)).await;
            assert!(Instant::now() >= deadline);
            assert!(begun.elapsed() < Duration::from_secs(8));
        }
    }

    fn check(kind: &str, timeout: Option<&str>, expected: Option<Duration>) {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", kind.parse().unwrap());
        if let Some(text) = timeout {
            headers.insert("grpc-timeout", text.parse().unwrap());
        }
        assert_eq!(patience(&headers), expected, "{kind} {timeout:?}");
    }

    #[test]
    fn a_grpc_call_takes_as_long_as_its_caller_says() {
        let (hour, most) = (Duration::from_secs(3600), Duration::from_secs(99_999_999 * 3600));
        for (text, expected) in [
            ("1H", hour),
            ("60M", hour),
            ("3600S", hour),
            ("3600000m", hour),
            ("0S", Duration::ZERO),
            ("100m", Duration::from_millis(100)),
            ("250u", Duration::from_micros(250)),
            ("99999999n", Duration::from_nanos(99_999_999)),
            ("99999999H", most),
        ] {
            check("application/grpc", Some(text), Some(expected));
            check("application/grpc+proto", Some(text), Some(expected));
        }
    }

    #[test]
    fn what_is_no_timeout_is_none_and_http_has_its_own() {
        for text in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", "1 S", "123456789S", "1SS"] {
            check("application/grpc", Some(text), None);
        }
        check("application/grpc", None, None);
        check("application/json", Some("1S"), Some(RESPONSE_DEADLINE));
        assert_eq!(patience(&HeaderMap::new()), Some(RESPONSE_DEADLINE));
    }
}
