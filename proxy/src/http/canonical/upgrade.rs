//! A request that asks to go on in another protocol: read in one way, or not at all (HTTP-12).

use cellwall_policy::{is_upgrade, upgrade_to};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};

use super::framing::{self, Doubt, Fields, Length, Lines};

/// What a request asks for.
#[derive(Clone, Debug)]
pub(crate) struct Upgrade {
    protocol: HeaderValue,
    /// How policy names such a request: `GET+websocket`.
    method: Box<str>,
}

impl Upgrade {
    /// What a request asks for, if it asks for one thing in one way: by GET, over HTTP/1.1, without a
    /// body, and with a `Connection` that names `Upgrade` (RFC 9110 §7.8, RFC 6455 §4.1). Everything
    /// else is an ordinary request.
    pub(super) fn asked_by<B>(
        request: &Request<B>,
        fields: &Fields<'_>,
        length: Length,
    ) -> Option<Self> {
        let Lines::One(only) = fields.upgrade else { return None };
        let is_whole = request.version() == Version::HTTP_11
            && request.method() == Method::GET
            && length == Length::Unsaid
            && names_upgrade(request.headers());
        if !is_whole {
            return None;
        }
        let protocol = only.to_str().ok()?.to_ascii_lowercase();
        let method = is_upgrade(&protocol).then(|| upgrade_to(&protocol))?.into();
        Some(Self { protocol: HeaderValue::try_from(protocol).ok()?, method })
    }

    /// Says it to the next hop, or of an answer to the last one.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.protocol.clone());
    }

    /// What a head of our own making, or one that was checked, says of it.
    pub(crate) fn of(checked: &HeaderMap) -> Option<Self> {
        let protocol = checked.get(header::UPGRADE)?.to_str().ok()?.to_ascii_lowercase();
        let method = upgrade_to(&protocol).into();
        Some(Self { protocol: HeaderValue::try_from(protocol).ok()?, method })
    }

    /// How policy names a call that goes on in it.
    pub(crate) const fn method(&self) -> &str {
        &self.method
    }

    /// Its name.
    pub(crate) fn protocol(&self) -> &str {
        self.protocol.to_str().unwrap_or_default()
    }

    /// Whether the answer is that we go on in what was asked for, and in nothing else.
    pub(super) fn check<B>(&self, answer: &Response<B>, fields: &Fields<'_>) -> Result<(), Doubt> {
        let Lines::One(only) = fields.upgrade else { return Err(Doubt) };
        let is_whole = answer.status() == StatusCode::SWITCHING_PROTOCOLS
            && answer.version() == Version::HTTP_11
            && only.as_bytes().eq_ignore_ascii_case(self.protocol.as_bytes())
            && framing::length(answer.version(), fields) == Ok(Length::Unsaid)
            && names_upgrade(answer.headers());
        if is_whole { Ok(()) } else { Err(Doubt) }
    }
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    let tokens = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|it| it.as_bytes().split(|b| *b == b','));
    tokens.map(<[u8]>::trim_ascii).any(|token| token.eq_ignore_ascii_case(b"upgrade"))
}

#[cfg(test)]
mod tests {
    use http::{Request, Response, Version};

    use super::{Fields, Upgrade, framing};

    const CONNECTION: (&str, &str) = ("connection", "keep-alive, Upgrade");
    const WEBSOCKET: (&str, &str) = ("upgrade", "WebSocket");

    fn asked(method: &str, version: Version, headers: &[(&str, &str)]) -> Option<String> {
        let mut request = Request::builder().method(method).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let fields = Fields::of(request.headers());
        let length = framing::length(version, &fields).ok()?;
        Upgrade::asked_by(&request, &fields, length).map(|it| it.method().to_owned())
    }

    #[test]
    fn a_request_asks_for_one_thing_in_one_way_or_for_nothing() {
        let whole = [CONNECTION, WEBSOCKET];
        assert_eq!(asked("GET", Version::HTTP_11, &whole).as_deref(), Some("GET+websocket"));
        assert_eq!(asked("POST", Version::HTTP_11, &whole), None);
        assert_eq!(asked("GET", Version::HTTP_10, &whole), None);
        assert_eq!(asked("GET", Version::HTTP_2, &whole), None);
        for headers in [
            &[WEBSOCKET][..],
            &[CONNECTION],
            &[("connection", "keep-alive"), WEBSOCKET],
            &[("connection", "upgrades"), WEBSOCKET],
            &[CONNECTION, WEBSOCKET, WEBSOCKET],
            &[CONNECTION, WEBSOCKET, ("upgrade", "h2c")],
            &[CONNECTION, ("upgrade", "websocket, h2c")],
            &[CONNECTION, ("upgrade", "h2c")],
            &[CONNECTION, ("upgrade", "HTTP/2.0")],
            &[CONNECTION, ("upgrade", "TLS/1.3")],
            &[CONNECTION, ("upgrade", "")],
            &[CONNECTION, WEBSOCKET, ("content-length", "0")],
            &[CONNECTION, WEBSOCKET, ("content-length", "5")],
            &[CONNECTION, WEBSOCKET, ("transfer-encoding", "chunked")],
        ] {
            assert_eq!(asked("GET", Version::HTTP_11, headers), None, "{headers:?}");
        }
    }

    /// Whether an answer with these headers is one to a request for `websocket`.
    fn is_answered(status: u16, version: Version, headers: &[(&str, &str)]) -> bool {
        let request = Request::builder().header(WEBSOCKET.0, "websocket").body(()).unwrap();
        let mut answer = Response::builder().status(status).version(version);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        let asked = Upgrade::of(request.headers()).unwrap();
        let answer = answer.body(()).unwrap();
        asked.check(&answer, &Fields::of(answer.headers())).is_ok()
    }

    #[test]
    fn only_what_was_asked_for_is_gone_on_in() {
        assert!(is_answered(101, Version::HTTP_11, &[CONNECTION, WEBSOCKET]));
        assert!(!is_answered(200, Version::HTTP_11, &[CONNECTION, WEBSOCKET]));
        assert!(!is_answered(101, Version::HTTP_10, &[CONNECTION, WEBSOCKET]));
        for headers in [
            &[WEBSOCKET][..],
            &[CONNECTION],
            &[CONNECTION, ("upgrade", "h2c")],
            &[CONNECTION, ("upgrade", "websocket, h2c")],
            &[CONNECTION, WEBSOCKET, ("upgrade", "h2c")],
            &[CONNECTION, WEBSOCKET, ("content-length", "5")],
            &[CONNECTION, WEBSOCKET, ("transfer-encoding", "chunked")],
        ] {
            assert!(!is_answered(101, Version::HTTP_11, headers), "{headers:?}");
        }
    }
}
