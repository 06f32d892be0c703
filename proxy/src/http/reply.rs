//! What we answer ourselves: little to the caller, and in the caller's own protocol.

use cellwall_policy::Protocol;
use http::{HeaderValue, Response, StatusCode, header};

use super::{
    body::Body,
    fate::{Fate, SendError},
    headers::OUTCOME,
};
use crate::{CloseReason, decision_id::DecisionId};

/// An answer of ours, for a listener of one protocol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply(pub(crate) Protocol);

/// gRPC status codes (gRPC core, `statuscodes.md`).
const UNKNOWN: u16 = 2;
const INVALID_ARGUMENT: u16 = 3;
const DEADLINE_EXCEEDED: u16 = 4;
const PERMISSION_DENIED: u16 = 7;
const RESOURCE_EXHAUSTED: u16 = 8;
const UNAVAILABLE: u16 = 14;

impl Reply {
    /// To a caller that the policy does not let in. Names no rule (TLS-08 in spirit).
    pub(crate) fn denied(self, id: DecisionId) -> Response<Body> {
        let problem = format!(r#"{{"title":"denied by policy","status":403,"decision":"{id}"}}"#);
        let mut response =
            self.answer(StatusCode::FORBIDDEN, PERMISSION_DENIED, "denied by policy", problem);
        if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
            response.headers_mut().insert("cellwall-decision", id);
        }
        response
    }

    /// To a request that we do not read in one way only.
    pub(crate) fn ambiguous(self, reason: CloseReason) -> Response<Body> {
        let title = if reason == CloseReason::PathAmbiguous { "path" } else { "request" };
        let title = format!("ambiguous {title}");
        let problem =
            format!(r#"{{"title":"{title}","status":400,"reason":"{}"}}"#, reason.as_str());
        let mut response = self.answer(StatusCode::BAD_REQUEST, INVALID_ARGUMENT, &title, problem);
        // HTTP-01: where framing is in doubt, so is what follows.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }

    /// To a request whose head no other sidecar would take.
    fn too_long(self) -> Response<Body> {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE; // RFC 6585 §5
        let problem = r#"{"title":"head too long","status":431,"reason":"request_too_long"}"#;
        self.answer(status, RESOURCE_EXHAUSTED, "head too long", problem.to_owned())
    }

    /// To a caller whose callee did not answer. Clients send again what is told 503 or UNAVAILABLE,
    /// so only a call that was not done is: 504 after a deadline and 502 otherwise mean that nobody
    /// knows.
    pub(crate) fn unanswered(self, SendError { reason, fate }: SendError) -> Response<Body> {
        if reason == CloseReason::RequestAmbiguous {
            return self.ambiguous(reason);
        }
        if reason == CloseReason::RequestTooLong {
            return self.too_long();
        }
        let (status, sent, grpc) = match (fate, reason) {
            (Fate::NotDone, _) => (StatusCode::SERVICE_UNAVAILABLE, "no", UNAVAILABLE),
            (Fate::Unknown, CloseReason::UpstreamTimeout) => {
                (StatusCode::GATEWAY_TIMEOUT, "unknown", DEADLINE_EXCEEDED)
            }
            (Fate::Unknown, _) => (StatusCode::BAD_GATEWAY, "unknown", UNKNOWN),
        };
        let (code, reason) = (status.as_u16(), reason.as_str());
        let problem = format!(
            r#"{{"title":"callee unavailable","status":{code},"reason":"{reason}","sent":"{sent}"}}"#
        );
        let mut response = self.answer(status, grpc, reason, problem);
        let headers = response.headers_mut();
        headers.insert(OUTCOME, HeaderValue::from_static(fate.as_str()));
        if self.0 == Protocol::Grpc && fate == Fate::Unknown {
            // gRFC A6: a client with a retry policy for UNKNOWN must not follow it.
            headers.insert("grpc-retry-pushback-ms", HeaderValue::from_static("-1"));
        }
        response
    }

    fn answer(
        self,
        status: StatusCode,
        grpc: u16,
        message: &str,
        problem: String,
    ) -> Response<Body> {
        let mut response = match self.0 {
            // gRPC over HTTP/2, "Responses": trailers-only is a HEADERS frame that ends the stream.
            Protocol::Grpc => {
                let mut response = Response::new(Body::ours(""));
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                headers.insert("grpc-status", grpc.into());
                if let Ok(message) = HeaderValue::from_str(message) {
                    headers.insert("grpc-message", message);
                }
                response
            }
            Protocol::Http | Protocol::Tcp => {
                let mut response = Response::new(Body::ours(problem));
                *response.status_mut() = status;
                let kind = HeaderValue::from_static("application/problem+json");
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            }
        };
        // Unless somebody says otherwise: what we answer ourselves has gone no further.
        let not_done = HeaderValue::from_static(Fate::NotDone.as_str());
        response.headers_mut().insert(OUTCOME, not_done);
        response
    }
}

#[cfg(test)]
mod tests {
    use cellwall_policy::Protocol;
    use http_body_util::BodyExt as _;

    use super::{Reply, SendError};
    use crate::CloseReason;

    /// Status, `grpc-status`, `cellwall-outcome` and what a gRPC client is told of sending it again.
    fn told(protocol: Protocol, error: SendError) -> (u16, Option<String>, String, Option<String>) {
        let answer = Reply(protocol).unanswered(error);
        let header = |name| answer.headers().get(name).map(|it| it.to_str().unwrap().to_owned());
        assert_eq!(header("retry-after"), None);
        let outcome = header("cellwall-outcome").unwrap();
        (answer.status().as_u16(), header("grpc-status"), outcome, header("grpc-retry-pushback-ms"))
    }

    #[tokio::test]
    async fn whose_request_has_two_readings_is_told_of_what_and_that_nothing_follows() {
        for (reason, problem) in [
            (
                CloseReason::PathAmbiguous,
                r#"{"title":"ambiguous path","status":400,"reason":"path_ambiguous"}"#,
            ),
            (
                CloseReason::RequestAmbiguous,
                r#"{"title":"ambiguous request","status":400,"reason":"request_ambiguous"}"#,
            ),
        ] {
            let answer = Reply(Protocol::Http).ambiguous(reason);
            assert_eq!(answer.status(), 400);
            assert_eq!(answer.headers()["connection"], "close");
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), problem);
        }
    }

    #[test]
    fn only_what_was_not_done_is_told_to_be_sent_again() {
        let (lost, late) = (CloseReason::UpstreamFailed, CloseReason::UpstreamTimeout);
        let revoked = CloseReason::PolicyRevoked;
        let some = |text: &str| Some(text.to_owned());
        for (error, status, grpc, outcome, pushback) in [
            (SendError::not_done(lost), 503, "14", "not-done", None),
            (SendError::not_done(late), 503, "14", "not-done", None),
            (SendError::not_done(revoked), 503, "14", "not-done", None),
            (SendError::not_done(CloseReason::RequestTooLong), 431, "8", "not-done", None),
            (SendError::unknown(lost), 502, "2", "unknown", some("-1")),
            (SendError::unknown(late), 504, "4", "unknown", some("-1")),
            (SendError::unknown(revoked), 502, "2", "unknown", some("-1")),
            (SendError::unknown(CloseReason::ConnectFailed), 502, "2", "unknown", some("-1")),
        ] {
            let outcome = outcome.to_owned();
            assert_eq!(told(Protocol::Http, error), (status, None, outcome.clone(), None));
            assert_eq!(told(Protocol::Grpc, error), (200, some(grpc), outcome, pushback));
        }
    }
}
