//! What a stream asks for: our workload at this listener, and nothing else (HTTP-14).

use std::net::SocketAddr;

use h2::ext::Protocol;
use http::{Method, Request, header};

/// The addresses that mean our workload here. What a stream names is compared with them; whom we
/// connect to, it never says.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Where the session came to.
    pub(crate) reached: SocketAddr,
    /// What others are told to connect to, if that is another address.
    pub(crate) advertised: Option<SocketAddr>,
    /// The port that the policy declares.
    pub(crate) declared: u16,
}

impl Target {
    /// Whether `request` asks to connect to our workload, and says so in one way.
    pub(crate) fn is_asked_for_by<B>(&self, request: &Request<B>) -> bool {
        let is_connect =
            request.method() == Method::CONNECT && request.extensions().get::<Protocol>().is_none();
        let Some(authority) = request.uri().authority().filter(|_| is_connect) else {
            return false;
        };
        let hosts = request.headers().get_all(header::HOST);
        if hosts.iter().any(|host| host.as_bytes() != authority.as_str().as_bytes()) {
            return false;
        }
        let asked = authority.as_str();
        asked.parse().is_ok_and(|address| self.is(address) && address.to_string() == asked)
    }

    fn is(&self, asked: SocketAddr) -> bool {
        let ours = || [Some(self.reached), self.advertised].into_iter().flatten();
        let ip = asked.ip().to_canonical();
        let is_our_host = ours().any(|one| one.ip().to_canonical() == ip);
        let mut ports = ours().map(|one| one.port()).chain([self.declared]);
        is_our_host && ports.any(|port| port == asked.port())
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::Target;

    fn check(asked: &str, expected: bool) {
        let target = Target {
            reached: "10.0.0.7:15443".parse().unwrap(),
            advertised: Some("192.0.2.1:31443".parse().unwrap()),
            declared: 8443,
        };
        let request = Request::connect(asked).body(()).unwrap();
        assert_eq!(target.is_asked_for_by(&request), expected, "{asked}");
    }

    #[test]
    fn what_others_connect_to_and_the_declared_port_there_is_our_workload() {
        for asked in [
            "10.0.0.7:15443",
            "192.0.2.1:31443",
            "10.0.0.7:8443",
            "192.0.2.1:8443",
            "[::ffff:10.0.0.7]:8443",
        ] {
            check(asked, true);
        }
    }

    #[test]
    fn nothing_else_is() {
        // HTTP-14
        for asked in [
            "127.0.0.1:15020",
            "127.0.0.1:8443",
            "127.0.0.1:15443",
            "localhost:8443",
            "169.254.169.254:80",
            "169.254.169.254:8443",
            "10.0.0.7:80",
            "10.0.0.7:0",
            "10.0.0.8:8443",
            "0.0.0.0:8443",
            "[::]:8443",
            "[::1]:8443",
            "ledger-db:8443",
            "10.0.0.7",
            "10.0.0.7:08443",
            "a@10.0.0.7:8443",
            "10.7:8443",
            "0x0a000007:8443",
        ] {
            check(asked, false);
        }
    }

    #[test]
    fn no_other_method_protocol_or_host_is_a_connection() {
        let target =
            Target { reached: "10.0.0.7:8443".parse().unwrap(), advertised: None, declared: 8443 };
        let get = Request::get("http://10.0.0.7:8443/").body(()).unwrap();
        assert!(!target.is_asked_for_by(&get));
        let connect = || Request::connect("10.0.0.7:8443");
        let extended = connect().extension(h2::ext::Protocol::from_static("websocket"));
        assert!(!target.is_asked_for_by(&extended.body(()).unwrap()));
        let other = connect().header("host", "10.0.0.7:80").body(()).unwrap();
        assert!(!target.is_asked_for_by(&other));
        let same = connect().header("host", "10.0.0.7:8443").body(()).unwrap();
        assert!(target.is_asked_for_by(&same));
    }
}
