//! One request and its answer, as the flow record sees them.

use std::sync::Arc;

use cellwall_policy::{IdempotentBy, Protocol, Tolerated};
use http::{Request, Response, StatusCode, Version};
use hyper::{body::Incoming, upgrade::OnUpgrade};

use super::{
    body::Body,
    canonical::{Canonical, Upgrade},
    fate::SendError,
    headers,
    introduction::Introduced,
    kept::{Keeper, is_too_long},
    received::Received,
    repeat::{Repeatable, is_shown},
    reply::Reply,
    serve::{MAX_HEAD, MAX_HEADERS, MAX_LIST},
    tunnel::Tunnel,
};
use crate::{
    CloseReason,
    authority::Authority,
    flow::{Direction, Flow, Outcome, Progress},
    metrics,
};

/// What cannot be written down again had no one reading.
const AMBIGUOUS: SendError = SendError::not_done(CloseReason::RequestAmbiguous);

/// What no other sidecar would take.
const TOO_LONG: SendError = SendError::not_done(CloseReason::RequestTooLong);

/// Reads a request once, for policy, record and forwarding alike: its path as far as the callee tolerates
/// it.
pub(crate) fn read(
    flow: &mut Flow,
    (protocol, tolerated): (Protocol, Tolerated),
    request: &Request<Incoming>,
) -> Result<Canonical, CloseReason> {
    flow.record.protocol = Some(protocol);
    flow.record.method = Some(request.method().clone());
    flow.trace(request.headers());
    let canonical = Canonical::read(request, tolerated)?;
    if protocol == Protocol::Grpc {
        flow.record.rpc = canonical.rpc().map(Into::into);
    }
    Ok(canonical)
}

/// The request with its body on its way to the callee. In a box from here on: it goes through several hands.
pub(crate) fn carried(
    request: Request<Incoming>,
    progress: Arc<Progress>,
    authority: Option<&Authority>,
) -> Box<Request<Body>> {
    let version = request.version();
    Box::new(request.map(|body| Body::request((body, version), progress, authority)))
}

/// Makes what is sent to our workload: what was authorised (HTTP-10), with the caller's ID and nobody
/// else's.
pub(crate) fn to_callee(
    request: &mut Request<Body>,
    (version, canonical): (Version, &Canonical),
    caller: &Introduced<'_>,
) -> Result<(), SendError> {
    // In this order no `Connection` token can name the host away.
    headers::to_callee(request.headers_mut(), caller).map_err(|_| AMBIGUOUS)?;
    canonical.apply(request, version).map_err(|_| AMBIGUOUS)
}

/// Makes what is sent to the callee's sidecar.
pub(crate) fn to_peer(request: &mut Request<Body>, canonical: &Canonical) -> Result<(), SendError> {
    // HTTP-14: over HTTP/2 there would have to be a CONNECT.
    let version = canonical.upgrade().map_or(Version::HTTP_2, |_| Version::HTTP_11);
    headers::to_peer(request.headers_mut());
    canonical.apply(request, version).map_err(|_| AMBIGUOUS)?;
    // The next sidecar's hyper would say 431 of it, without a word of what became of the call. HTTP/1.1
    // may bring one: its limit is that of a buffer, which the last read may overrun.
    let is_taken = match canonical.upgrade() {
        None => list_size(request) < MAX_LIST,
        Some(_) => request.headers().len() < MAX_HEADERS && wire_size(request) + STAMP <= MAX_HEAD,
    };
    if is_taken { Ok(()) } else { Err(TOO_LONG) }
}

/// Sets a request of our workload on its way. That of a call that the policy declares idempotent is
/// kept, if it shows by what and is not known to be too long for that.
pub(crate) fn outgoing(
    request: Request<Incoming>,
    flow: &Flow,
    by: Option<IdempotentBy>,
) -> (Box<Request<Body>>, Option<Repeatable>) {
    let (version, progress) = (request.version(), flow.progress.clone());
    let is_repeatable = |by: &_| is_shown(*by, request.headers()) && !is_too_long(request.body());
    let Some(by) = by.filter(is_repeatable) else {
        return (carried(request, progress, None), None);
    };
    let (head, body) = request.into_parts();
    let keeper = Keeper::of(body, version);
    let request = Box::new(Request::from_parts(head, Body::kept(keeper.first(), progress)));
    (request, Some(Repeatable { body: keeper, by }))
}

/// What a span adds to a head over HTTP/1.1: one field.
const STAMP: usize =
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n".len();

/// The size of a head over HTTP/1.1 (RFC 9112 §2.1).
fn wire_size(request: &Request<Body>) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let line = request.method().as_str().len() + target + "  HTTP/1.1\r\n\r\n".len();
    let field = |name: usize, value: usize| name + value + ": \r\n".len();
    let fields = request.headers().iter();
    line + fields.map(|(name, value)| field(name.as_str().len(), value.len())).sum::<usize>()
}

/// The size of a head over HTTP/2 (RFC 9113 §6.5.2).
fn list_size(request: &Request<Body>) -> usize {
    let field = |name: usize, value: usize| name + value + 32;
    let uri = request.uri();
    let pseudo = [
        (":method", request.method().as_str()),
        (":scheme", uri.scheme_str().unwrap_or_default()),
        (":authority", uri.authority().map_or("", |authority| authority.as_str())),
        (":path", uri.path_and_query().map_or("", |path| path.as_str())),
    ];
    let pseudo = pseudo.iter().map(|(name, value)| field(name.len(), value.len()));
    let headers = request.headers().iter();
    pseudo.chain(headers.map(|(name, value)| field(name.as_str().len(), value.len()))).sum()
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
    (mut response, authority): (Response<Received>, Authority),
    caller: OnUpgrade,
) -> Response<Body> {
    let callee = hyper::upgrade::on(&mut response);
    let (mut head, body) = response.into_parts();
    let is_switched = head.status == StatusCode::SWITCHING_PROTOCOLS;
    let upgrade = is_switched.then(|| Upgrade::of(&head.headers)).flatten();
    match flow.record.direction {
        Direction::Inbound => headers::from_workload(&mut head.headers),
        Direction::Outbound => headers::from_peer(&mut head.headers),
    }
    flow.record.fate = headers::outcome(&head.headers).unwrap_or(Outcome::Done);
    flow.record.status = Some(head.status.as_u16());
    flow.record.grpc_status = headers::grpc_status(&head.headers);
    metrics::overhead(flow.record.direction, flow.overhead());
    let body = if let Some(upgrade) = upgrade {
        upgrade.write(&mut head.headers);
        flow.record.upgrade = Some(upgrade);
        let kept = head.extensions.remove();
        Body::switched(Tunnel { flow, authority, caller, callee, kept })
    } else {
        Body::response((body, head.version), flow, authority)
    };
    // RFC 9110 §6.2: a message of our own, with neither the callee's version nor its reason phrase.
    let mut answer = Response::new(body);
    *answer.status_mut() = head.status;
    *answer.headers_mut() = head.headers;
    answer
}

#[cfg(test)]
mod tests {
    use cellwall_policy::Tolerated;
    use http::Request;

    use super::{Body, Canonical, TOO_LONG, to_peer};
    use crate::http::serve::{MAX_HEAD, MAX_HEADERS, MAX_LIST};

    /// Of a request with one field, with as many octets in its value.
    fn check(octets: usize) -> bool {
        let request = Request::post("http://payments/v1/payments").header("x", "a".repeat(octets));
        sent(request.header("host", "payments").body(Body::ours("")).unwrap())
    }

    /// Of a request for an upgrade with as many octets in its target, and so many other fields.
    fn check_upgrade(octets: usize, fields: usize) -> bool {
        let request = Request::get(format!("/{}", "a".repeat(octets))).header("host", "payments");
        let request = request.header("connection", "upgrade").header("upgrade", "chat");
        let add = |request: http::request::Builder, _| request.header("x", "");
        sent((0..fields).fold(request, add).body(Body::ours("")).unwrap())
    }

    fn sent(mut request: Request<Body>) -> bool {
        let canonical = Canonical::read(&request, Tolerated::Nothing).unwrap();
        match to_peer(&mut request, &canonical) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error, TOO_LONG);
                false
            }
        }
    }

    #[test]
    fn a_head_that_the_next_sidecar_would_not_take_is_not_sent() {
        // RES-04; RFC 9113 §6.5.2: names, values, and 32 octets for each of five fields
        assert_eq!(MAX_LIST, 68 * 1024);
        let rest = ":methodPOST:schemehttp:authoritypayments:path/v1/paymentsx".len() + 5 * 32;
        assert!(check(MAX_LIST - rest - 1));
        assert!(!check(MAX_LIST - rest));
    }

    #[test]
    fn nor_one_of_an_upgrade_that_is_as_long_over_http_1_1_with_its_span() {
        let head =
            "GET / HTTP/1.1\r\nhost: payments\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n";
        let span = "traceparent: 00-00000000000000000000000000000000-0000000000000000-00\r\n";
        let rest = head.len() + span.len();
        assert!(check_upgrade(MAX_HEAD - rest, 0));
        assert!(!check_upgrade(MAX_HEAD - rest + 1, 0));
        assert!(check_upgrade(0, MAX_HEADERS - 4));
        assert!(!check_upgrade(0, MAX_HEADERS - 3));
    }
}
