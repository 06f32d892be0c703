//! The one reading of a request: what policy judges is what is sent on (HTTP-10).

use cellwall_policy::{Call, Protocol, RequestPath};
use http::{
    HeaderMap, HeaderValue, Method, Request, Uri, Version, header,
    uri::{Authority, PathAndQuery, Scheme},
};

use crate::CloseReason;

mod answer;
mod framing;

pub(crate) use answer::check_answer;

/// The longest method (HTTP-18).
const MAX_METHOD: usize = 32;

/// A request's target and framing, read once.
#[derive(Debug)]
pub(crate) struct Canonical {
    method: Method,
    path: RequestPath<'static>,
    query: Option<Box<str>>,
    authority: Authority,
}

/// The request has more than one reading, or none: it is refused before routing and policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ambiguous {
    /// The path (HTTP-07..09).
    Path,
    /// Method, authority or framing (HTTP-01..06, 14, 17, 18).
    Request,
}

impl Canonical {
    /// Reads a request's head.
    pub(crate) fn read<B>(request: &Request<B>) -> Result<Self, Ambiguous> {
        let uri = request.uri();
        check_method(request.method())?;
        framing::length(request.version(), request.headers())?;
        let authority = authority(uri, request.headers())?;
        let path = RequestPath::parse(uri.path()).map_err(|_| Ambiguous::Path)?.into_owned();
        let query = uri.query().map(Into::into);
        Ok(Self { method: request.method().clone(), path, query, authority })
    }

    /// The call that policy is asked about, on a listener of `protocol`. A gRPC path that is not
    /// `/service/method` is no call at all.
    pub(crate) fn call(&self, protocol: Protocol) -> Option<Call<'_>> {
        match protocol {
            Protocol::Http => Some(Call::Http { method: self.method.as_str(), path: &self.path }),
            Protocol::Grpc => {
                let (service, method) = self.rpc()?.split_once('/')?;
                let unary = self.method == Method::POST && !method.contains('/');
                unary.then_some(Call::Grpc { service, method })
            }
            Protocol::Tcp => None, // AZ-03: bytes are not read as requests
        }
    }

    /// The gRPC method, `package.Service/Method`.
    pub(crate) fn rpc(&self) -> Option<&str> {
        self.path.as_str().strip_prefix('/')
    }

    /// Writes the canonical target into `request`: byte for byte what was judged (HTTP-10).
    pub(crate) fn apply<B>(
        &self,
        request: &mut Request<B>,
        version: Version,
    ) -> Result<(), http::Error> {
        let mut target = self.path.as_str().to_owned();
        if let Some(query) = &self.query {
            target.push('?');
            target.push_str(query);
        }
        let target = PathAndQuery::try_from(target)?;
        let host = HeaderValue::from_str(self.authority.as_str())?;
        request.headers_mut().remove(header::HOST);
        let uri = Uri::builder().path_and_query(target);
        *request.uri_mut() = if version == Version::HTTP_2 {
            uri.scheme(Scheme::HTTP).authority(self.authority.clone()).build()?
        } else {
            request.headers_mut().insert(header::HOST, host);
            uri.build()?
        };
        *request.version_mut() = version;
        Ok(())
    }
}

impl From<Ambiguous> for CloseReason {
    fn from(ambiguous: Ambiguous) -> Self {
        match ambiguous {
            Ambiguous::Path => Self::PathAmbiguous,
            Ambiguous::Request => Self::RequestAmbiguous,
        }
    }
}

/// HTTP-14, HTTP-18: no tunnels, no echo of what only the proxy should see.
fn check_method(method: &Method) -> Result<(), Ambiguous> {
    let refused = *method == Method::CONNECT || *method == Method::TRACE;
    if refused || method.as_str().len() > MAX_METHOD { Err(Ambiguous::Request) } else { Ok(()) }
}

/// HTTP-05, HTTP-06, HTTP-11, HTTP-17: exactly one authority, without userinfo, however it is said.
fn authority(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Ambiguous> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Ambiguous::Request);
    }
    let host = host
        .map(|host| Authority::try_from(host.as_bytes()))
        .transpose()
        .map_err(|_| Ambiguous::Request)?;
    let authority = match (uri.authority(), host) {
        (Some(target), Some(host)) if *target != host => return Err(Ambiguous::Request),
        (Some(target), _) => target.clone(),
        (None, Some(host)) => host,
        (None, None) => return Err(Ambiguous::Request),
    };
    let plain = !authority.as_str().contains('@') && !authority.host().is_empty();
    if plain { Ok(authority) } else { Err(Ambiguous::Request) }
}

#[cfg(test)]
mod tests;
