//! What is requested, and where.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;

/// One request, sent again and again.
#[derive(Clone, Debug)]
pub struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) timeout: Duration,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

/// Why something cannot be requested.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// A load generator is a weapon.
    #[error("{0} is not on loopback")]
    NotLoopback(SocketAddr),
    /// Not `METHOD /path`.
    #[error("{0:?} is not `METHOD /path`")]
    Call(String),
    /// Not `NAME: VALUE`.
    #[error("{0:?} is not a header")]
    Header(String),
}

/// The address of a server on this machine: all that comparisons ever load. It is on loopback, or in a
/// namespace that is joined to nothing but ours: see [`crate::network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loopback(SocketAddr);

impl Loopback {
    /// Checks an address.
    ///
    /// # Errors
    /// If it is another machine's.
    pub const fn new(address: SocketAddr) -> Result<Self, TargetError> {
        if address.ip().is_loopback() {
            Ok(Self(address))
        } else {
            Err(TargetError::NotLoopback(address))
        }
    }

    /// An address in a namespace that we have made: nobody else's.
    pub(crate) const fn joined(address: SocketAddr) -> Self {
        Self(address)
    }

    /// The address.
    pub const fn address(self) -> SocketAddr {
        self.0
    }
}

impl Target {
    /// A request to a server on loopback, for example `POST /v1/orders`. An answer may take 10 s.
    ///
    /// # Errors
    /// If the address is another machine's, or `call` is no method and path.
    pub fn new(address: SocketAddr, call: &str) -> Result<Self, TargetError> {
        if address.ip().is_loopback() {
            Self::beyond_loopback(address, call)
        } else {
            Err(TargetError::NotLoopback(address))
        }
    }

    /// As [`Target::new`], to a server that is known to be on this machine.
    ///
    /// # Errors
    /// If `call` is no method and path.
    pub(crate) fn nearby(server: Loopback, call: &str) -> Result<Self, TargetError> {
        Self::beyond_loopback(server.address(), call)
    }

    /// As [`Target::new`], to any machine. Only with its owner's consent.
    ///
    /// # Errors
    /// If `call` is no method and path.
    pub fn beyond_loopback(address: SocketAddr, call: &str) -> Result<Self, TargetError> {
        let error = || TargetError::Call(call.to_owned());
        let (method, path) = call.split_once(' ').ok_or_else(error)?;
        if !path.starts_with('/') {
            return Err(error());
        }
        let mut headers = HeaderMap::new();
        let host = HeaderValue::from_str(&address.to_string()).map_err(|_| error())?;
        headers.insert(header::HOST, host);
        Ok(Self {
            address,
            timeout: Duration::from_secs(10),
            method: method.parse().map_err(|_| error())?,
            uri: path.parse().map_err(|_| error())?,
            headers,
            body: Bytes::new(),
        })
    }

    /// Adds `NAME: VALUE` to the request, or replaces what it had.
    ///
    /// # Errors
    /// If it is no header.
    pub fn header(mut self, text: &str) -> Result<Self, TargetError> {
        let error = || TargetError::Header(text.to_owned());
        let (name, value) = text.split_once(':').ok_or_else(error)?;
        let name = name.trim().parse::<HeaderName>().map_err(|_| error())?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| error())?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Gives the request a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// How long an answer may take, connecting included; then it counts as `timeout`, and its
    /// connection is given up.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_a_target_unless_somebody_insists() {
        let there = "192.0.2.1:80".parse().unwrap();

        assert_eq!(Target::new(there, "GET /").unwrap_err(), TargetError::NotLoopback(there));
        assert!(Target::beyond_loopback(there, "GET /").is_ok());
        assert!(Target::new("[::1]:80".parse().unwrap(), "GET /").is_ok());
        assert_eq!(Loopback::new(there), Err(TargetError::NotLoopback(there)));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let here = "127.0.0.1:80".parse().unwrap();
        for call in ["GET", "GET a", "G T /", "GET http://a/"] {
            let error = Target::new(here, call).unwrap_err();
            assert_eq!(error, TargetError::Call(call.to_owned()));
        }
        let target = Target::new(here, "GET /").unwrap();
        assert!(target.clone().header("x-a: b").is_ok());
        assert!(target.header("x-a").is_err());
    }
}
