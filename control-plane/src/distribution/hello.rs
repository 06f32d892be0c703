//! What sidecars may say: bounded, and refused as a whole when it is not.

use std::{collections::BTreeSet, net::SocketAddr};

use cellwall_api::distribution::{Ack, Hello, Nack, Serving};
use tonic::Status;

use super::fleet::ServedAt;

pub(super) const MAX_TEXT_BYTES: usize = 128;
const MAX_DESTINATIONS: usize = 256;
const MAX_DESTINATION_BYTES: usize = 300;
const MAX_ADDRESSES: usize = 16;
const MAX_REASON_BYTES: usize = 512;

/// A sidecar's introduction, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Introduction {
    /// Its release.
    pub software: String,
    /// Tells it apart from others of the same workload.
    pub instance: String,
    /// The workloads that it calls, without repetition.
    pub destinations: Vec<String>,
}

/// Which snapshot an answer is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answered {
    /// Its version.
    pub version: u64,
    /// SHA-256 of its payload.
    pub hash: [u8; 32],
}

pub(super) fn introduction(hello: Hello) -> Result<Introduction, Status> {
    let software = text("hello.version", hello.version, MAX_TEXT_BYTES)?;
    let instance = text("hello.instance", hello.instance, MAX_TEXT_BYTES)?;
    if software.is_empty() || instance.is_empty() {
        return Err(refused("hello: version and instance are required"));
    }
    if hello.destinations.len() > MAX_DESTINATIONS {
        return Err(refused("hello.destinations: too many"));
    }
    let mut seen = BTreeSet::new();
    for destination in hello.destinations {
        seen.insert(text("hello.destinations", destination, MAX_DESTINATION_BYTES)?);
    }
    Ok(Introduction { software, instance, destinations: seen.into_iter().collect() })
}

/// The addresses where a sidecar serves. A hint to others, who check who answers there; what
/// nobody could connect to is a mistake all the same.
pub(super) fn addresses(serving: &Serving) -> Result<Vec<ServedAt>, Status> {
    if serving.addresses.len() > MAX_ADDRESSES {
        return Err(refused("serving.addresses: too many"));
    }
    let not_one = || refused("serving.addresses: not `[PORT@]IP:PORT` to connect to");
    let served = |text| served_at(text, serving.streams).ok_or_else(not_one);
    let parsed = serving.addresses.iter().map(|text| served(text));
    let unique: BTreeSet<ServedAt> = parsed.collect::<Result<_, _>>()?;
    Ok(unique.into_iter().collect())
}

fn served_at(text: &str, streams: bool) -> Option<ServedAt> {
    let (port, address) = match text.split_once('@') {
        Some((port, address)) => (Some(port.parse().ok().filter(|port| *port > 0)?), address),
        None => (None, text),
    };
    let address: SocketAddr = address.parse().ok()?;
    let reachable =
        address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast();
    reachable.then_some(ServedAt { port, address, streams })
}

pub(super) fn ack(ack: &Ack) -> Result<Answered, Status> {
    answered(ack.version, &ack.hash)
}

pub(super) fn nack(nack: Nack) -> Result<(Answered, String), Status> {
    let about = answered(nack.version, &nack.hash)?;
    Ok((about, text("nack.reason", nack.reason, MAX_REASON_BYTES)?))
}

fn answered(version: u64, hash: &[u8]) -> Result<Answered, Status> {
    let hash = hash.try_into().map_err(|_| refused("hash: not 32 bytes"))?;
    Ok(Answered { version, hash })
}

/// Text that ends in logs and on terminals: no control characters (OBS-01).
pub(super) fn text(field: &str, text: String, max_bytes: usize) -> Result<String, Status> {
    if text.len() > max_bytes || text.chars().any(char::is_control) {
        return Err(refused(&format!("{field}: too long, or with control characters")));
    }
    Ok(text)
}

pub(super) fn refused(message: &str) -> Status {
    Status::invalid_argument(message)
}

#[cfg(test)]
mod tests {
    use cellwall_api::distribution::{Ack, Hello, Nack, Serving};

    use super::{ServedAt, ack, addresses, introduction, nack};

    fn hello(version: &str, instance: &str, destinations: &[&str]) -> Hello {
        Hello {
            version: version.into(),
            instance: instance.into(),
            destinations: destinations.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_hello_is_bounded_and_its_destinations_are_unique() {
        let read = introduction(hello("0.1.0", "a", &["b", "a", "b"])).unwrap();
        assert_eq!(read.destinations, ["a", "b"]);
        let long = "x".repeat(400);
        let many: Vec<String> = (0..300).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for bad in [
            hello("", "a", &[]),
            hello("1", "", &[]),
            hello(&long, "a", &[]),
            hello("1", "a\u{1b}[31m", &[]),
            hello("1", "a", &[&long]),
            hello("1", "a", &many),
        ] {
            assert!(introduction(bad.clone()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_addresses_that_one_can_connect_to_are_taken() {
        let serving = |list: &[&str]| Serving {
            addresses: list.iter().map(ToString::to_string).collect(),
            streams: true,
        };
        let read = addresses(&serving(&["127.0.0.1:2", "[::1]:1", "80@[::1]:1", "127.0.0.1:2"]));
        let at = |port, address: &str| {
            let address = address.parse().unwrap();
            ServedAt { port, address, streams: true }
        };
        let expected = [at(None, "127.0.0.1:2"), at(None, "[::1]:1"), at(Some(80), "[::1]:1")];
        assert_eq!(read.unwrap(), expected);
        assert_eq!(addresses(&serving(&[])).unwrap(), []);
        for bad in [
            "",
            "web:80",
            "0@127.0.0.1:1",
            "x@127.0.0.1:1",
            "80@",
            "65536@127.0.0.1:1",
            "127.0.0.1",
            "127.0.0.1:0",
            "0.0.0.0:1",
            "[::]:1",
            "224.0.0.1:1",
        ] {
            assert!(addresses(&serving(&[bad])).is_err(), "{bad}");
        }
        assert!(addresses(&serving(&["127.0.0.1:1"; 17])).is_err());
    }

    #[test]
    fn answers_name_a_hash_and_reasons_are_bounded() {
        assert!(ack(&Ack { version: 1, hash: vec![0; 31] }).is_err());
        assert_eq!(ack(&Ack { version: 1, hash: vec![7; 32] }).unwrap().hash, [7; 32]);
        let reason = |reason: String| nack(Nack { version: 1, hash: vec![0; 32], reason });
        assert!(reason("x".repeat(512)).is_ok());
        assert!(reason("x".repeat(513)).is_err());
        assert!(reason("a\nb".into()).is_err());
    }
}
