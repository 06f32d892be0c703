//! The sockets of a sidecar: where they listen, what is spoken there, what an operator reads.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use cellwall_policy::{CallDocument, Protocol};
use cellwall_testkit::{tls::DangerousParty, workload_api::X509State};
use serde_json::json;
use tokio::net::TcpStream;

use crate::kit::{
    DEADLINE, Plan, Sidecar, Town, checkout, destination, eventually, id, payments, policy,
};

/// An address of this machine that is not loopback, if it has one. Nothing is sent.
fn outside() -> Option<IpAddr> {
    let probe = UdpSocket::bind("0.0.0.0:0").unwrap();
    probe.connect("192.0.2.1:9").ok()?; // TEST-NET-1
    let address = probe.local_addr().unwrap().ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// What is agreed with checkout when it offers `alpn`; `None` when it is not let in.
async fn agreed(town: &Town, sidecar: &Sidecar, alpn: &[&str]) -> Option<String> {
    let tcp = TcpStream::connect(sidecar.inbound).await.unwrap();
    let party = DangerousParty::presenting(&town.svid("checkout")).alpn(alpn);
    let hello = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let seen = party.probe_server(tcp, hello, DEADLINE).await;
    let let_in = seen.is_let_in();
    seen.alpn.filter(|_| let_in)
}

#[tokio::test]
async fn only_the_inbound_listener_can_be_reached_from_outside() {
    // OBS-09, AZ-14: what is spoken on the others is not protected by TLS
    let town = Town::new().await;
    let (plan, policy) = checkout(&["payments"], vec![destination("payments", Protocol::Http)]);
    let sidecar = town.sidecar(plan, policy).await;
    for address in [sidecar.admin, sidecar.outbound["payments"]] {
        assert!(address.ip().is_loopback(), "{address}");
        TcpStream::connect(address).await.unwrap();
        if let Some(ip) = outside() {
            let found = TcpStream::connect(SocketAddr::new(ip, address.port())).await;
            let refused = found.map(drop).map_err(|error| error.kind());
            assert_eq!(refused, Err(std::io::ErrorKind::ConnectionRefused), "{ip} {address}");
        }
    }
}

#[tokio::test]
async fn a_listener_speaks_what_the_policy_says_and_nothing_else() {
    // TLS-06
    let town = Town::new().await;
    let (plan, snapshot) = payments();
    let http = town.sidecar(plan, snapshot).await;
    let plan = Plan { name: "ledger", speaks: Protocol::Grpc, outbound: &[] };
    let grpc = town.sidecar(plan, policy("ledger", Protocol::Grpc, &[])).await;
    let plan = Plan { name: "ledger-db", speaks: Protocol::Tcp, outbound: &[] };
    let call = CallDocument::Tcp { port: 8443 };
    let tcp = town.sidecar(plan, policy("ledger-db", Protocol::Tcp, &[call])).await;
    let plan = Plan { name: "own-db", speaks: Protocol::Tcp, outbound: &[] };
    let own = town.flagged(plan, |_| vec!["--tcp-sessions=own".to_owned()]).await;
    let call = CallDocument::Tcp { port: 8443 };
    let own = town.made_ready(own, "own-db", policy("own-db", Protocol::Tcp, &[call])).await;
    let sidecars = [&http, &grpc, &tcp, &own];
    let bytes = Some("cellwall-tcp/1");
    let table = [
        (&["h2"][..], [Some("h2"), Some("h2"), Some("h2"), None]),
        (&["http/1.1"][..], [Some("http/1.1"), None, None, None]),
        (&["cellwall-tcp/1"][..], [None, None, bytes, bytes]),
        (&["cellwall-tcp/1", "h2"][..], [Some("h2"), Some("h2"), Some("h2"), bytes]),
        (&["http/1.1", "h2"][..], [Some("h2"), Some("h2"), Some("h2"), None]),
        (&["http/1.0"][..], [None, None, None, None]),
        (&[][..], [None, None, None, None]),
    ];
    for (alpn, expected) in table {
        for (sidecar, expected) in sidecars.into_iter().zip(expected) {
            let found = agreed(&town, sidecar, alpn).await;
            assert_eq!(found.as_deref(), expected, "{alpn:?}");
        }
    }
}

#[tokio::test]
async fn config_shows_what_is_in_force_and_nothing_more() {
    // OBS-10
    let town = Town::new().await;
    let (plan, policy) = checkout(&["payments"], vec![destination("payments", Protocol::Http)]);
    let workload = ([127, 0, 0, 1], 9).into();
    let mut sidecar = town.beside(plan, workload).await;
    let bare = json!({
        "inbound": sidecar.inbound, "workload": workload, "outbound": sidecar.outbound,
        "listeners": { "": sidecar.inbound }, "probes": null,
        "admin": sidecar.admin, "control": town.control.address().to_string(),
        "endpoints": {}, "version": env!("CARGO_PKG_VERSION"),
        "spiffe_id": null, "svid_serial": null, "svid_not_after": null, "generation": null,
        "policy_version": null, "policy_epoch": null, "policy_digest": null,
        "policy_age_seconds": null, "workload_name": null, "listens": null,
    });
    assert_eq!(sidecar.config().await, bare);
    assert_eq!(sidecar.ready().await, (503, "no valid svid\nno verified policy\n".to_owned()));
    let svid = town.svid("checkout");
    let not_after = svid.validity.not_after.duration_since(std::time::UNIX_EPOCH).unwrap();
    let state = X509State::default().with(&id("checkout"), svid, vec![town.ca.root()]);
    sidecar.renewed(&state).await;
    assert_eq!(sidecar.ready().await, (503, "no verified policy\n".to_owned()));
    town.control.set_endpoints("payments", &["127.0.0.1:9".to_owned()]);
    let policy_digest = policy.digest.clone();
    let version = town.publish(policy);
    sidecar.process.message("ready", DEADLINE).await.unwrap();
    sidecar.knows("payments").await;
    let mut whole = bare;
    whole["endpoints"] = json!({ "payments": ["127.0.0.1:9"] });
    whole["spiffe_id"] = json!(id("checkout"));
    whole["svid_serial"] = json!(state.serial_hex());
    whole["svid_not_after"] = json!(not_after.as_secs());
    whole["generation"] = json!(1);
    whole["policy_version"] = json!(version);
    whole["policy_epoch"] = json!(1);
    whole["policy_digest"] = json!(policy_digest);
    whole["policy_age_seconds"] = json!(0);
    whole["workload_name"] = json!("checkout");
    whole["listens"] = json!([{"protocol": "http", "port": 8443}]);
    assert_eq!(sidecar.config().await, whole);
    assert_eq!(sidecar.ready().await, (200, "ready\n".to_owned()));
    sidecar.identity.redact();
    eventually("withdrawn", async || sidecar.config().await["spiffe_id"].is_null()).await;
    assert_eq!(sidecar.ready().await, (503, "no valid svid\n".to_owned()));
}
