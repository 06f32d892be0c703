//! The one reading of a request: what policy judges is what is sent on (HTTP-10).

use cellwall_policy::{Call, Protocol, RequestPath, Tolerated, is_http_method};
use http::{
    Method, Request, Uri, Version, header,
    uri::{Parts, PathAndQuery, Scheme},
};

use self::{authority::Host, framing::Fields};

use crate::CloseReason;

mod answer;
mod authority;
mod framing;
mod upgrade;

pub(crate) use answer::check_answer;
pub(crate) use upgrade::Upgrade;

/// A request's target and framing, read once.
#[derive(Debug)]
pub(crate) struct Canonical {
    method: Method,
    path: RequestPath<'static>,
    query: Option<Box<str>>,
    host: Host,
    upgrade: Option<Upgrade>,
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
    /// Reads a request's head, for a callee that tolerates this.
    pub(crate) fn read<B>(request: &Request<B>, tolerated: Tolerated) -> Result<Self, Ambiguous> {
        let uri = request.uri();
        check_method(request.method())?;
        let fields = Fields::of(request.headers());
        let length = framing::length(request.version(), &fields)?;
        framing::check_nominations(request.headers(), &fields)?;
        framing::check_expectation(&fields)?;
        let host = Host::of(request, fields.host)?;
        let path = RequestPath::tolerating(uri.path(), tolerated);
        let path = path.map_err(|_| Ambiguous::Path)?.into_owned();
        let query = uri.query().map(Into::into);
        let upgrade = Upgrade::asked_by(request, &fields, length);
        Ok(Self { method: request.method().clone(), path, query, host, upgrade })
    }

    /// The same reading, of an ordinary request unless `is_granted` says that the callee may go on
    /// in what the caller asks for (HTTP-12).
    pub(crate) fn granted(mut self, is_granted: impl FnOnce(&Call<'_>) -> bool) -> Self {
        let is_granted = self.upgrade.is_some()
            && self.call(Protocol::Http).is_some_and(|call| is_granted(&call));
        self.upgrade = self.upgrade.filter(|_| is_granted);
        self
    }

    /// What the request asks to go on in.
    pub(crate) const fn upgrade(&self) -> Option<&Upgrade> {
        self.upgrade.as_ref()
    }

    /// The call that policy is asked about, on a listener of `protocol`. A gRPC path that is not
    /// `/service/method` is no call at all.
    pub(crate) fn call(&self, protocol: Protocol) -> Option<Call<'_>> {
        match protocol {
            Protocol::Http => {
                let method = self.upgrade.as_ref().map(Upgrade::method);
                let method = method.unwrap_or(self.method.as_str());
                Some(Call::Http { method, path: &self.path })
            }
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

    /// Path and query of the target. What came is that already for nearly all requests, and then not
    /// made anew.
    fn target(&self, came: &Uri) -> Result<PathAndQuery, http::Error> {
        // Of `#` the library makes an empty path, which reads as this and is written as nothing.
        if self.path.as_str() == "/" && self.query.is_none() {
            return Ok(PathAndQuery::from_static("/"));
        }
        if let Some(same) = came.path_and_query()
            && let Some(rest) = same.as_str().strip_prefix(self.path.as_str())
            && rest.strip_prefix('?') == self.query.as_deref()
            && rest.is_empty() == self.query.is_none()
        {
            return Ok(same.clone());
        }
        let mut target = self.path.as_str().to_owned();
        if let Some(query) = &self.query {
            target.push('?');
            target.push_str(query);
        }
        Ok(PathAndQuery::try_from(target)?)
    }

    /// Writes the canonical target into `request`: byte for byte what was judged (HTTP-10).
    pub(crate) fn apply<B>(
        &self,
        request: &mut Request<B>,
        version: Version,
    ) -> Result<(), http::Error> {
        let mut target = Parts::default();
        target.path_and_query = Some(self.target(request.uri())?);
        request.headers_mut().remove(header::HOST);
        if version == Version::HTTP_2 {
            target.scheme = Some(Scheme::HTTP);
            target.authority = Some(self.host.authority.clone());
        } else {
            request.headers_mut().insert(header::HOST, self.host.value.clone());
        }
        *request.uri_mut() = Uri::from_parts(target)?;
        *request.version_mut() = version;
        if let Some(upgrade) = &self.upgrade {
            upgrade.write(request.headers_mut());
        }
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

/// HTTP-14, HTTP-18: no tunnels, no echo of what only the proxy should see, and no method that a
/// guard cannot name: where it passes, an app may take `post` for `POST`.
fn check_method(method: &Method) -> Result<(), Ambiguous> {
    if is_http_method(method.as_str()) { Ok(()) } else { Err(Ambiguous::Request) }
}

#[cfg(test)]
mod tests;
