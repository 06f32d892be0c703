//! One request and its answer, as the flow record sees them.

use std::time::{Duration, Instant};

use cellwall_policy::Protocol;
use http::{Request, Response, Version};
use hyper::body::Incoming;

use super::{body::Body, canonical::Canonical, fate::SendError, headers, reply::Reply};
use crate::{
    CloseReason,
    authority::Authority,
    flow::{Direction, Flow, Outcome},
    metrics,
};

/// What cannot be written down again had no one reading.
const AMBIGUOUS: SendError = SendError::not_done(CloseReason::RequestAmbiguous);

/// Reads a request once, for policy, record and forwarding alike.
pub(crate) fn read(
    flow: &mut Flow,
    protocol: Protocol,
    request: &Request<Incoming>,
) -> Result<Canonical, CloseReason> {
    flow.record.protocol = Some(protocol);
    flow.record.method = Some(request.method().clone());
    flow.trace(request.headers());
    let canonical = Canonical::read(request)?;
    if protocol == Protocol::Grpc {
        flow.record.rpc = canonical.rpc().map(Into::into);
    }
    Ok(canonical)
}

/// Makes what is sent to our workload: what was authorised (HTTP-10), with the caller's ID and nobody
/// else's.
pub(crate) fn to_callee(
    mut request: Request<Body>,
    (protocol, canonical): (Protocol, &Canonical),
    caller: &str,
) -> Result<Request<Body>, SendError> {
    let version = match protocol {
        Protocol::Grpc => Version::HTTP_2,
        Protocol::Http | Protocol::Tcp => Version::HTTP_11,
    };
    // In this order no `Connection` token can name the host away.
    headers::to_callee(request.headers_mut(), caller).map_err(|_| AMBIGUOUS)?;
    canonical.apply(&mut request, version).map_err(|_| AMBIGUOUS)?;
    Ok(request)
}

/// Makes what is sent to the callee's sidecar.
pub(crate) fn to_peer(
    mut request: Request<Body>,
    canonical: &Canonical,
) -> Result<Request<Body>, SendError> {
    canonical.apply(&mut request, Version::HTTP_2).map_err(|_| AMBIGUOUS)?;
    headers::to_peer(request.headers_mut());
    Ok(request)
}

/// Answers in place of the callee.
pub(crate) fn refused(
    mut flow: Flow,
    response: Response<Body>,
    reason: CloseReason,
) -> Response<Body> {
    flow.record.status = Some(response.status().as_u16());
    flow.record.grpc_status = headers::grpc_status(response.headers());
    flow.record.fate = headers::outcome(response.headers()).unwrap_or(Outcome::Unknown);
    flow.close(reason);
    response
}

/// Says what became of a call that has no answer.
pub(crate) fn unanswered(flow: Flow, protocol: Protocol, error: SendError) -> Response<Body> {
    refused(flow, Reply(protocol).unanswered(error), error.reason)
}

/// Hands the callee's answer on. The flow ends with its body.
pub(crate) fn delivered(
    mut flow: Flow,
    started: Instant,
    (response, authority): (Response<Incoming>, Authority),
) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    match flow.record.direction {
        Direction::Inbound => headers::from_workload(&mut head.headers),
        Direction::Outbound => headers::from_peer(&mut head.headers),
    }
    flow.record.fate = headers::outcome(&head.headers).unwrap_or(Outcome::Done);
    flow.record.status = Some(head.status.as_u16());
    flow.record.grpc_status = headers::grpc_status(&head.headers);
    let upstream = flow.record.upstream.unwrap_or(Duration::ZERO);
    metrics::overhead(flow.record.direction, started.elapsed().saturating_sub(upstream));
    let place = head.extensions.remove();
    // RFC 9110 §6.2: a message of our own, with neither the callee's version nor its reason phrase.
    let mut answer = Response::new(Body::response((body, head.version), flow, (authority, place)));
    *answer.status_mut() = head.status;
    *answer.headers_mut() = head.headers;
    answer
}
