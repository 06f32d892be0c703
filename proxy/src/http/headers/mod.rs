//! Headers that belong to one hop, and those that are ours alone.

use cellwall_policy::IdentityHeader;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::introduction::Introduced;
use crate::flow::Outcome;

/// What became of the call, in every answer of a sidecar: without it an answer is the callee's.
pub(crate) const OUTCOME: HeaderName = HeaderName::from_static("cellwall-outcome");

/// How often a call was made, in an answer that is about its last attempt alone.
const ATTEMPTS: HeaderName = HeaderName::from_static("cellwall-attempts");

/// Names by which a workload may believe who calls: none of them passes from a caller (HTTP-16).
const IDENTITY: [&str; 2] =
    [IdentityHeader::SpiffeId.as_str(), IdentityHeader::ForwardedClientCert.as_str()];

/// Makes a request's headers fit for our workload: hop-by-hop and identity headers out, then the
/// caller's verified ID in, once by each header that the workload reads. In this order no
/// `Connection` token can name ours away.
pub(crate) fn to_callee(
    headers: &mut HeaderMap,
    caller: &Introduced<'_>,
) -> Result<(), http::Error> {
    scrub_request(headers);
    for header in caller.headers {
        let name = HeaderName::from_static(header.as_str());
        headers.insert(name, HeaderValue::from_str(&caller.value(*header))?);
    }
    Ok(())
}

/// Makes a request's headers fit for the other sidecar, which knows who we are from TLS.
pub(crate) fn to_peer(headers: &mut HeaderMap) {
    scrub_request(headers);
}

/// Makes our workload's answer fit for the caller. What sidecars say is not its to say.
pub(crate) fn from_workload(headers: &mut HeaderMap) {
    remove(headers, is_sidecars);
    remove_hop_by_hop(headers);
}

/// Makes the answer of the other sidecar fit for our workload, with what that sidecar says.
pub(crate) fn from_peer(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
}

/// Says in an answer that it is that of a second attempt, and that nobody knows about the first.
pub(crate) fn of_second_attempt(headers: &mut HeaderMap) {
    headers.insert(ATTEMPTS, HeaderValue::from_static("2"));
}

/// Identity, framing and words of ours have no place after a body, either way (HTTP-16, HTTP-19).
pub(crate) fn scrub_trailers(trailers: &mut HeaderMap) {
    remove(trailers, |name| {
        is_identity(name)
            || is_sidecars(name)
            || matches!(name.as_str(), "authorization" | "content-length" | "cookie" | "host")
    });
    remove_hop_by_hop(trailers);
}

/// The status of a gRPC call, from its trailers or, when there is no message, its headers.
pub(crate) fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    first(headers, "grpc-status")?.to_str().ok()?.parse().ok()
}

/// What a sidecar says of a call that it answered itself.
pub(crate) fn outcome(headers: &HeaderMap) -> Option<Outcome> {
    let said = first(headers, OUTCOME.as_str())?;
    // Of a word that we do not know it is known only that the callee did not answer.
    Some(if said == Outcome::NotDone.as_str() { Outcome::NotDone } else { Outcome::Unknown })
}

fn scrub_request(headers: &mut HeaderMap) {
    remove(headers, |name| is_identity(name) || is_sidecars(name));
    let mut hops = headers.iter().filter(|(name, _)| is_hop_by_hop(name));
    // RFC 9110 §10.1.4: `trailers` is the one member of TE that is not about this hop alone, and
    // gRPC insists on it.
    match (hops.next(), hops.next()) {
        (None, _) => return,
        (Some((name, value)), None) if name == header::TE && value == "trailers" => return,
        _ => {}
    }
    let trailers = headers.get_all(header::TE).iter().any(|value| value == "trailers");
    remove_hop_by_hop(headers);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

fn remove(headers: &mut HeaderMap, matches: impl Fn(&HeaderName) -> bool) {
    let found: Vec<HeaderName> = headers.keys().filter(|name| matches(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// The first line of `name`. Heads are short: to go through their names costs less than to find the
/// place of one.
fn first<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a HeaderValue> {
    headers.iter().find(|(one, _)| one.as_str() == name).map(|(_, value)| value)
}

/// Whether a server could take `name` for an identity header: many fold everything that is not a
/// letter or a digit into one character, and some leave it out.
fn is_identity(name: &HeaderName) -> bool {
    let plain = |name: &'static str| name.bytes().filter(u8::is_ascii_alphanumeric);
    let letters = || name.as_str().bytes().filter(u8::is_ascii_alphanumeric);
    IDENTITY.iter().any(|known| letters().eq(plain(known)))
}

/// Whether a reader could take `name` for one of those that sidecars speak by, `cellwall-outcome`
/// for example.
fn is_sidecars(name: &HeaderName) -> bool {
    let rest = name.as_str().strip_prefix("cellwall");
    rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric()))
}

/// Headers of one hop (RFC 9110 §7.6.1), and what an h2c upgrade would use (HTTP-13).
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if !headers.keys().any(is_hop_by_hop) {
        return; // nor is there a `Connection` that names others
    }
    let nominated: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|token| HeaderName::from_bytes(token.trim().as_bytes()).ok())
        .collect();
    for name in nominated {
        headers.remove(name);
    }
    remove(headers, is_hop_by_hop);
}

#[cfg(test)]
mod tests;
