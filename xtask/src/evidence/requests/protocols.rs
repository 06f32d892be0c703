//! Every protocol with a client and a server of somebody else, through both sidecars.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::super::{Effort, Shown, steps};
use crate::{
    cargo::{self, Profile},
    interop::ready,
};

/// A protocol: its role in `proxy/tests/protocols`, and the foreign programs that it needs.
struct Leg {
    protocol: &'static str,
    role: &'static str,
    peers: &'static [&'static str],
}

/// In the order of the issue.
const LEGS: [Leg; 13] = [
    leg("HTTP/1.0 and 1.1", "http::pages_over_http_1", &["curl", "nginx"]),
    leg(
        "a large body and an endless one",
        "http::a_body_of_a_gibibyte_and_one_without_an_end",
        &["curl", "node"],
    ),
    leg("Expect: 100-continue", "http::uploads_that_wait_for_100_continue", &["curl", "node"]),
    leg("HTTP/2", "http::many_streams_over_http_2", &["curl", "h2load", "nginx"]),
    leg(
        "gRPC, its own list of cases",
        "grpc::the_cases_of_grpcs_own_list",
        &["go", "grpc-client", "grpc-server"],
    ),
    leg(
        "gRPC, all four kinds of call",
        "grpc::all_four_kinds_of_call_and_a_deadline",
        &["go", "grpc-client", "grpc-server", "grpcurl"],
    ),
    leg(
        "WebSocket",
        "websocket::a_granted_websocket_and_one_that_is_not",
        &["node", "node_modules"],
    ),
    leg("server-sent events", "streams::server_sent_events", &["node", "node_modules"]),
    leg("SMTP with STARTTLS", "sockets::mail_over_smtp_with_starttls", &["openssl", "python"]),
    leg("half-close", "sockets::half_closes_both_ways", &["python"]),
    leg(
        "PostgreSQL",
        "databases::postgresql_without_tls_of_its_own",
        &["initdb", "openssl", "postgres", "psql"],
    ),
    leg(
        "PostgreSQL that negotiates TLS",
        "databases::postgresql_that_negotiates_tls_itself",
        &["initdb", "openssl", "postgres", "psql"],
    ),
    leg("MariaDB", "databases::mariadb_whose_server_speaks_first", &["mariadb", "mariadbd"]),
];

const fn leg(protocol: &'static str, role: &'static str, peers: &'static [&'static str]) -> Leg {
    Leg { protocol, role, peers }
}

/// 4. Every protocol, with a rotation and a policy change while its stream is open.
pub(super) fn all(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let programs = cargo::build(Profile::Dev)?;
    let peers = gathered(&programs);
    let mut found = Vec::new();
    for (name, peer) in &peers {
        match peer {
            Ok(path) => found.push(format!("{name}={}", path.display())),
            Err(why) => println!("  {name} could not be had: {why:#}"),
        }
    }
    let found = found.join(",");
    for leg in &LEGS {
        let missing = leg.peers.iter().find(|name| !peers.get(*name).is_some_and(Result::is_ok));
        if let Some(missing) = missing {
            shown.goal(&format!("{}: did not run, for want of {missing}", leg.protocol), false);
            continue;
        }
        match steps::role_figures(&format!("protocols::{}", leg.role), &found, effort) {
            Ok(figures) => judge(&mut shown, leg, figures),
            Err(why) => {
                println!("  {why:#}");
                shown.goal(leg.protocol, false);
            }
        }
    }
    Ok(shown)
}

/// A role that printed its figures has seen what it asserts; what is left is how many and how soon.
fn judge(shown: &mut Shown, leg: &Leg, figures: Map<String, Value>) {
    let number = |name: &str| figures.get(name).and_then(Value::as_u64);
    let turned = number("svid_rotations") >= Some(2) && number("further_policies") >= Some(1);
    shown.goal(&format!("{}: held through rotations and further policies", leg.protocol), turned);
    if let Some(after) = number("ended_after_ms") {
        let goal = format!("{}: ended within a second of its permission", leg.protocol);
        shown.goal(&goal, after <= 1_000);
    }
    for (name, figure) in &figures {
        println!("       {name}: {figure}");
    }
    shown.figures.insert(leg.protocol.to_owned(), Value::Object(figures));
}

/// The foreign programs by the names that the roles know them by.
fn gathered(programs: &Path) -> BTreeMap<&'static str, anyhow::Result<PathBuf>> {
    let mut peers = BTreeMap::new();
    for name in ["curl", "go", "node", "openssl"] {
        peers.insert(name, ready::on_path(name));
    }
    for name in ["initdb", "postgres", "psql"] {
        peers.insert(name, ready::postgresql(programs, name));
    }
    let mariadbd = ["mariadb-server-core", "liburing2", "libaio1"];
    let mariadb = ["mariadb-client-core", "libmariadb3", "libedit2"];
    let h2load = ["nghttp2-client", "libnghttp2-14", "libjemalloc2", "libev4", "libjansson4"];
    for (name, packages, program) in [
        ("nginx", &["nginx"][..], "usr/sbin/nginx"),
        ("h2load", &h2load, "usr/bin/h2load"),
        ("mariadb", &mariadb, "usr/bin/mariadb"),
        ("mariadbd", &mariadbd, "usr/sbin/mariadbd"),
    ] {
        peers.insert(name, ready::debian(programs, (packages, program)));
    }
    peers.insert("python", ready::aiosmtpd(programs));
    peers.insert("node_modules", ready::node_modules(programs));
    // What is missing is said for each of them.
    match ready::grpc(programs) {
        Ok(built) => peers.extend(built.map(|(name, path)| (name, Ok(path)))),
        Err(why) => println!("  gRPC's programs could not be had: {why:#}"),
    }
    peers
}
