//! What we answer ourselves: little to the caller, and in the caller's own protocol.

use cellwall_policy::Protocol;
use http::{HeaderValue, Response, StatusCode, header};

use super::body::Body;
use crate::{CloseReason, decision_id::DecisionId};

/// An answer of ours, for a listener of one protocol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply(pub(crate) Protocol);

/// gRPC status codes (gRPC core, `statuscodes.md`).
const INVALID_ARGUMENT: u16 = 3;
const PERMISSION_DENIED: u16 = 7;
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

    /// To a caller whose callee did not answer: 504 after its deadline, 502 when it failed after
    /// it was reached, 503 when nothing was sent.
    pub(crate) fn unavailable(self, reason: CloseReason) -> Response<Body> {
        if reason == CloseReason::RequestAmbiguous {
            return self.ambiguous(reason);
        }
        let (status, sent) = match reason {
            CloseReason::UpstreamTimeout => (StatusCode::GATEWAY_TIMEOUT, "unknown"),
            CloseReason::UpstreamFailed | CloseReason::AnswerAmbiguous => {
                (StatusCode::BAD_GATEWAY, "unknown")
            }
            CloseReason::TlsRefused(_) => (StatusCode::BAD_GATEWAY, "no"),
            // It was on its way when what it stood on ended.
            CloseReason::PolicyRevoked
            | CloseReason::NotDeclared
            | CloseReason::SvidExpired
            | CloseReason::SvidWithdrawn
            | CloseReason::TrustWithdrawn(_) => (StatusCode::SERVICE_UNAVAILABLE, "unknown"),
            CloseReason::Done
            | CloseReason::Drained
            | CloseReason::Cancelled
            | CloseReason::Io
            | CloseReason::PathAmbiguous
            | CloseReason::RequestAmbiguous
            | CloseReason::PolicyDenied
            | CloseReason::NoPolicy
            | CloseReason::NoRoute
            | CloseReason::NoEndpoint
            | CloseReason::ConnectFailed => (StatusCode::SERVICE_UNAVAILABLE, "no"),
        };
        let (code, reason) = (status.as_u16(), reason.as_str());
        let problem = format!(
            r#"{{"title":"callee unavailable","status":{code},"reason":"{reason}","sent":"{sent}"}}"#
        );
        self.answer(status, UNAVAILABLE, reason, problem)
    }

    fn answer(
        self,
        status: StatusCode,
        grpc: u16,
        message: &str,
        problem: String,
    ) -> Response<Body> {
        match self.0 {
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
        }
    }
}
