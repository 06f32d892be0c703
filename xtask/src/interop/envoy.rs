//! Envoy with its SPIFFE validator, as a peer that judges certificates.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use cellwall_testkit::client;
use serde_json::{Value, json};

use super::{
    peers::{Dials, Killed, Peer},
    ready,
    verdicts::Scene,
};

/// How long it may take until it listens, and how often it is asked.
const LISTENING: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// Starts it with two listeners: one behind the validator, one that leads to the hostile server.
pub(super) fn start(programs: &Path, scene: &Scene) -> anyhow::Result<Peer> {
    let program = ready::envoy(programs)?;
    let version = ready::installed(&program.display().to_string(), "--version")?;
    let version = version.rsplit("version: ").next().unwrap_or_default();
    let version = format!("Envoy {version}");
    let folder = scene.folder.path();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text)?;
        anyhow::Ok(path)
    };
    let mut domains = Vec::new();
    for (number, (name, pem)) in scene.bundles().into_iter().enumerate() {
        let path = write(&format!("bundle-{number}.pem"), &pem)?;
        domains.push(json!({"name": name, "trust_bundle": {"filename": path}}));
    }
    let (certificates, key) = scene.svid.pem();
    let own = [write("chain.pem", &certificates)?, write("own.pem", &key)?];
    let config = write("envoy.json", &bootstrap(scene, &domains, &own).to_string())?;
    let (admin, log) = (folder.join("envoy-admin"), folder.join("envoy.log"));
    let mut command = Command::new(program);
    command.arg("-c").arg(config).arg("--admin-address-path").arg(&admin);
    command.args(["--log-level", "error", "--concurrency", "1", "--use-dynamic-base-id"]);
    command.stdout(Stdio::null()).stderr(fs::File::create(&log)?);
    let process = Killed::start(&mut command)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listeners = runtime.block_on(listeners(&admin)).with_context(|| {
        let log = fs::read_to_string(&log).unwrap_or_default();
        format!("envoy does not listen: {}", log.lines().last().unwrap_or_default())
    })?;
    let address = |name: &str| {
        let found = listeners.iter().find(|(listener, _)| listener == name);
        found.map(|(_, address)| *address).with_context(|| format!("envoy has no {name}"))
    };
    let (accepts, dials) = (address("accepts")?, Dials::When(address("dials")?));
    Ok(Peer { version, accepts, dials, _process: process })
}

fn kind(name: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.{name}")
}

fn bootstrap(scene: &Scene, domains: &[Value], own: &[PathBuf; 2]) -> Value {
    let at = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let downstream = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": kind("transport_sockets.tls.v3.DownstreamTlsContext"),
            "require_client_certificate": true,
            "disable_stateless_session_resumption": true,
            "disable_stateful_session_resumption": true,
            "common_tls_context": tls(domains, own, &json!([])),
        },
    });
    let expected = json!([{"san_type": "URI", "matcher": {"exact": scene.expected}}]);
    let upstream = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": kind("transport_sockets.tls.v3.UpstreamTlsContext"),
            "max_session_keys": 0,
            "common_tls_context": tls(domains, own, &expected),
        },
    });
    let all = json!({"prefix": "/"});
    let welcome = http(&json!({"match": all, "direct_response": {"status": 200}}));
    let call = http(&json!({"match": all, "route": {"cluster": "hostile", "timeout": "4s"}}));
    json!({
        "admin": {"address": at(0)},
        "static_resources": {
            "listeners": [
                {"name": "accepts", "address": at(0), "filter_chains": [
                    {"transport_socket": downstream, "filters": welcome},
                ]},
                {"name": "dials", "address": at(0), "filter_chains": [{"filters": call}]},
            ],
            "clusters": [{
                "name": "hostile", "type": "STATIC", "connect_timeout": "3s",
                "transport_socket": upstream,
                "load_assignment": {"cluster_name": "hostile", "endpoints": [
                    {"lb_endpoints": [{"endpoint": {"address": at(scene.hostile.port())}}]},
                ]},
            }],
        },
    })
}

/// TLS 1.3 with our SVID and the validator; of the peer, these names.
fn tls(domains: &[Value], own: &[PathBuf; 2], names: &Value) -> Value {
    json!({
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_3",
            "tls_maximum_protocol_version": "TLSv1_3",
        },
        "tls_certificates": [{
            "certificate_chain": {"filename": own[0]}, "private_key": {"filename": own[1]},
        }],
        "validation_context": {
            "match_typed_subject_alt_names": names,
            "custom_validator_config": {
                "name": "envoy.tls.cert_validator.spiffe",
                "typed_config": {
                    "@type": kind("transport_sockets.tls.v3.SPIFFECertValidatorConfig"),
                    "trust_domains": domains,
                },
            },
        },
    })
}

/// Plain HTTP with one route.
fn http(route: &Value) -> Value {
    json!([{
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": kind("filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "x",
            "route_config": {
                "virtual_hosts": [{"name": "x", "domains": ["*"], "routes": [route]}],
            },
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": kind("filters.http.router.v3.Router")},
            }],
        },
    }])
}

/// Where its listeners are, once it says where its admin interface is.
async fn listeners(admin: &Path) -> anyhow::Result<Vec<(String, SocketAddr)>> {
    let end = Instant::now() + LISTENING;
    loop {
        let found = asked(admin).await;
        if found.is_ok() || Instant::now() >= end {
            return found;
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn asked(admin: &Path) -> anyhow::Result<Vec<(String, SocketAddr)>> {
    let address: SocketAddr = fs::read_to_string(admin)?.trim().parse()?;
    let answer = client::request(address, "GET /listeners?format=json").await?;
    let listeners: Value = serde_json::from_slice(answer.body())?;
    let statuses = listeners.pointer("/listener_statuses").and_then(Value::as_array);
    let one = |status: &Value| {
        let name = status.pointer("/name")?.as_str()?.to_owned();
        let port = status.pointer("/local_address/socket_address/port_value")?.as_u64()?;
        Some((name, ([127, 0, 0, 1], u16::try_from(port).ok()?).into()))
    };
    let found: Option<Vec<_>> = statuses.and_then(|statuses| statuses.iter().map(one).collect());
    found.filter(|found| found.len() == 2).with_context(|| format!("not two: {listeners}"))
}
