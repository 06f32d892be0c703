//! Calls that are made twice: only those that the policy declares, once, within the caller's time and
//! the destination's budget, and never in a way that makes an unknown fate look like a known one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cellwall_policy::IdempotentBy;
use http::{HeaderMap, HeaderName, Method, Request, Response, Uri, Version, header};

use super::{
    body::Body,
    budget::Budget,
    fate::{Fate, SendError},
    headers,
    kept::Keeper,
    patience::patience,
    received::Received,
};
use crate::{
    CloseReason,
    authority::Authority,
    flow::{Outcome, Progress},
    metrics::{self, Retry},
    pauses::Pauses,
};

/// The key of a request that its callee looks up before it acts.
const KEY: &str = "idempotency-key";

/// Whoever asks by one of these is told no by what it did itself the first time.
const CONDITIONS: [HeaderName; 4] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// What came of one attempt: an answer, with the authority of its connection, or none.
pub(crate) struct Sent(pub(crate) Result<(Response<Received>, Authority), SendError>);

/// What came of a call, in as many attempts as it took.
pub(crate) struct Told {
    pub(crate) sent: Sent,
    /// Nobody knows what became of the first of two, so what is said of one is not true of both.
    pub(crate) is_of_one: bool,
}

/// The body of a call that may be made twice, and by what.
#[derive(Debug)]
pub(crate) struct Repeatable {
    pub(super) body: Keeper,
    pub(super) by: IdempotentBy,
}

/// A call on its way that may be made twice.
#[derive(Debug)]
pub(crate) struct Repeat {
    by: IdempotentBy,
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    body: Keeper,
    progress: Arc<Progress>,
    started: Instant,
}

/// A second attempt, and the time that is left to its caller.
#[derive(Debug)]
pub(crate) struct Again {
    request: Box<Request<Body>>,
    left: Duration,
}

/// Whether a request shows that it is what the policy declares.
pub(crate) fn is_shown(by: IdempotentBy, headers: &HeaderMap) -> bool {
    match by {
        IdempotentBy::Method => CONDITIONS.iter().all(|name| !headers.contains_key(name)),
        IdempotentBy::Key => {
            let mut keys = headers.get_all(KEY).iter().map(|key| key.as_bytes().trim_ascii());
            // RFC 9110 §5.3: two lines may have been joined by a comma on their way to us.
            let is_one = |key: &[u8]| !unquoted(key).is_empty() && !key.contains(&b',');
            keys.next().is_some_and(is_one) && keys.next().is_none()
        }
    }
}

impl Repeat {
    /// Of the first attempt as it is sent, if it still shows what the policy asks for.
    pub(crate) fn of(
        Repeatable { body, by }: Repeatable,
        request: &Request<Body>,
        progress: Arc<Progress>,
        budget: &Budget,
    ) -> Option<Self> {
        if !is_shown(by, request.headers()) {
            return None;
        }
        budget.call();
        Some(Self {
            by,
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: request.headers().clone(),
            body,
            progress,
            started: Instant::now(),
        })
    }

    /// By what the policy declared the call when it was made.
    pub(crate) fn by(&self) -> IdempotentBy {
        self.by
    }

    /// Itself, after a moment, where a second attempt may do better than the first.
    pub(crate) async fn after(self, first: &Sent) -> Option<Self> {
        if !first.is_worth_another() {
            return None;
        }
        // Whoever shared the connection that broke comes back as well.
        tokio::time::sleep(Pauses::default().next()).await;
        Some(self)
    }

    /// The same request once more; `None` where the first attempt stands. From here on it counts.
    pub(crate) fn again(self, budget: &Budget, to: &Arc<str>) -> Option<Again> {
        let left = left(&self.headers, self.started.elapsed())?;
        let not_kept = || metrics::retry(to, Retry::NotKept);
        if self.body.is_lost() {
            not_kept();
            return None;
        }
        if !budget.take() {
            metrics::retry(to, Retry::OverBudget);
            return None;
        }
        // The first attempt may still be reading.
        let Some(body) = self.body.again() else {
            not_kept();
            return None;
        };
        let mut request = Box::new(Request::new(Body::kept(body, self.progress)));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers;
        Some(Again { request, left })
    }
}

impl Again {
    /// Sends it, and waits for the head of its answer no longer than the caller would.
    pub(crate) async fn by<F>(self, send: impl FnOnce(Box<Request<Body>>) -> F) -> Sent
    where
        F: Future<Output = Result<(Response<Received>, Authority), SendError>>,
    {
        let late = SendError::unknown(CloseReason::UpstreamTimeout);
        let sent = tokio::time::timeout(self.left, send(self.request));
        Sent(sent.await.unwrap_or(Err(late)))
    }
}

impl Sent {
    /// What is told of a call that was made once.
    pub(crate) fn alone(self) -> Told {
        Told { sent: self, is_of_one: false }
    }

    /// What is told of both attempts together, and counts it: an answer is an answer, but one that
    /// was not done does not undo one of which nobody knows.
    pub(crate) fn and(self, second: Self, to: &Arc<str>) -> Told {
        let fate = second.fate();
        metrics::retry(to, if fate.is_none() { Retry::Answered } else { Retry::Failed });
        let is_of_one = self.fate() == Some(Fate::Unknown);
        let hides = is_of_one && fate == Some(Fate::NotDone);
        Told { sent: if hides { self } else { second }, is_of_one }
    }

    /// What became of it; `None`: the callee answered.
    fn fate(&self) -> Option<Fate> {
        match &self.0 {
            Ok((response, _)) => match headers::outcome(response.headers())? {
                Outcome::NotDone => Some(Fate::NotDone),
                Outcome::Unknown | Outcome::Done => Some(Fate::Unknown),
            },
            Err(error) => Some(error.fate),
        }
    }

    /// Whether a second attempt may do better: the connection failed, ours or the callee's
    /// sidecar's. Not where somebody said no, where an authority ended, or where the time is over.
    fn is_worth_another(&self) -> bool {
        match &self.0 {
            // No workload can say this (`headers::from_workload`).
            Ok((response, _)) => {
                headers::outcome(response.headers()).is_some() && is_failure(response)
            }
            Err(error) => matches!(
                error.reason,
                CloseReason::UpstreamFailed
                    | CloseReason::ConnectFailed
                    | CloseReason::AnswerAmbiguous
            ),
        }
    }
}

/// A key without the quotes of a string (RFC 8941 §3.3.3).
fn unquoted(key: &[u8]) -> &[u8] {
    let inner = key.strip_prefix(b"\"").and_then(|key| key.strip_suffix(b"\""));
    inner.unwrap_or(key).trim_ascii()
}

/// What is left of the time that a caller has for the head of its answer; `None` when it is over.
fn left(headers: &HeaderMap, passed: Duration) -> Option<Duration> {
    patience(headers).unwrap_or(Duration::MAX).checked_sub(passed).filter(|left| !left.is_zero())
}

/// 502, 503 and 504; UNKNOWN, DEADLINE_EXCEEDED and UNAVAILABLE: what `Reply::unanswered` tells.
fn is_failure(response: &Response<Received>) -> bool {
    match headers::grpc_status(response.headers()) {
        Some(status) => matches!(status, 2 | 4 | 14),
        None => matches!(response.status().as_u16(), 502..=504),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cellwall_mtls::Refusal;
    use http::{HeaderMap, HeaderValue};

    use super::{CloseReason, IdempotentBy, SendError, Sent, is_shown, left};

    #[test]
    fn only_a_connection_that_failed_is_worth_another_attempt() {
        use CloseReason as Why;
        for (reason, expected) in [
            (Why::UpstreamFailed, true),
            (Why::ConnectFailed, true),
            (Why::AnswerAmbiguous, true),
            (Why::UpstreamTimeout, false),
            (Why::RequestAmbiguous, false),
            (Why::RequestTooLong, false),
            (Why::PolicyDenied, false),
            (Why::PolicyRevoked, false),
            (Why::SvidExpired, false),
            (Why::SvidWithdrawn, false),
            (Why::TrustWithdrawn(Refusal::Expired), false),
            (Why::TlsRefused(Refusal::UnexpectedPeer), false),
            (Why::NoPolicy, false),
            (Why::NoRoute, false),
            (Why::NoEndpoint, false),
            (Why::Drained, false),
        ] {
            for error in [SendError::unknown(reason), SendError::not_done(reason)] {
                assert_eq!(Sent(Err(error)).is_worth_another(), expected, "{error:?}");
            }
        }
    }

    #[test]
    fn a_key_shows_a_call_that_is_declared_by_one_if_there_is_one_key_and_it_has_a_text() {
        for (keys, expected) in [
            (&["k-1"][..], true),
            (&["\"k-1\""], true),
            (&["\""], true),
            (&[], false),
            (&[""], false),
            (&["\"\""], false),
            (&["\" \""], false),
            (&["k-1, k-2"], false),
            (&["k-1", "k-1"], false),
            (&["k-1", ""], false),
        ] {
            let mut headers = HeaderMap::new();
            for key in keys {
                headers.append("idempotency-key", HeaderValue::from_static(key));
            }
            assert_eq!(is_shown(IdempotentBy::Key, &headers), expected, "{keys:?}");
            assert!(is_shown(IdempotentBy::Method, &headers));
        }
        for condition in ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"] {
            let mut headers = HeaderMap::new();
            headers.insert(condition, HeaderValue::from_static("x"));
            assert!(!is_shown(IdempotentBy::Method, &headers), "{condition}");
        }
    }

    #[test]
    fn the_time_of_both_attempts_together_is_the_callers() {
        let second = Duration::from_secs(1);
        let mut grpc = HeaderMap::new();
        grpc.insert("content-type", HeaderValue::from_static("application/grpc"));
        assert_eq!(left(&grpc, second * 3600), Some(Duration::MAX - second * 3600));
        grpc.insert("grpc-timeout", HeaderValue::from_static("3S"));
        assert_eq!(left(&grpc, second), Some(second * 2));
        assert_eq!(left(&grpc, second * 3), None);
        assert_eq!(left(&grpc, second * 4), None);
        assert_eq!(left(&HeaderMap::new(), second * 299), Some(second));
        assert_eq!(left(&HeaderMap::new(), second * 301), None);
    }
}
