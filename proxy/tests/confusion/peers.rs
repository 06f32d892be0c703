//! The same bytes through other proxies: what each lets through to a workload that repairs nothing.
//! Each is told what ours does by itself: whose call it is, and that all below `/v1/` is allowed.

use std::{fs, net::SocketAddr, path::Path, process::Stdio, time::Duration};

use cellwall_testkit::strict::{self, Seen};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::mpsc,
};

use super::{
    LAST,
    heads::{self, After},
    paths, whole,
};
use crate::{
    kit::{eventually, evidence, id},
    played::accepting,
    spoofs,
};

/// How long a proxy may keep a connection open before a case is over.
const PATIENCE: Duration = Duration::from_secs(1);

/// What came of one list of cases.
#[derive(Debug, Default)]
struct Counts {
    cases: usize,
    /// The workload read what ours leaves of the case.
    same: usize,
    /// It read less of it.
    refused: usize,
    /// It read whole requests that ours does not leave of it, or another target.
    other: usize,
    /// It got what has more than one reading, or somebody else's identity.
    mistaken: usize,
}

impl Counts {
    fn judge(&mut self, expected: &[Seen], seen: &[Seen]) {
        self.cases += 1;
        let mistaken = seen.iter().any(|one| matches!(one, Seen::Mistake(_)));
        let whole: Vec<&Seen> = seen.iter().filter(|one| matches!(one, Seen::Whole(_))).collect();
        let is_part = whole.iter().all(|one| expected.contains(one));
        let count = match (mistaken, is_part) {
            (true, _) => &mut self.mistaken,
            (false, true) if whole.len() == expected.len() => &mut self.same,
            (false, true) => &mut self.refused,
            (false, false) => &mut self.other,
        };
        *count += 1;
    }

    fn shown(&self) -> Value {
        json!({
            "cases": self.cases, "as_ours": self.same, "refused": self.refused,
            "read_otherwise": self.other, "mistaken": self.mistaken,
        })
    }
}

/// The text of a configuration, which is written to `peer.conf`, and the program's arguments.
type Configured = (String, Vec<String>);

/// The number of a list, the bytes of a case, and what ours leaves of it.
type Case = (usize, Vec<u8>, Vec<Seen>);

/// A proxy that is configured for one port and one workload.
struct Peer {
    name: &'static str,
    configured: fn(&Path, u16, SocketAddr) -> Configured,
}

const PEERS: [Peer; 3] = [
    Peer { name: "envoy", configured: envoy },
    Peer { name: "haproxy", configured: haproxy },
    Peer { name: "nginx", configured: nginx },
];

/// The program of a proxy, from the one who runs this role; `None`: it could not be had.
#[expect(clippy::disallowed_methods, reason = "the one setting of a role, read at its one place")]
fn program(name: &str) -> Option<String> {
    let all = std::env::var("CELLWALL_PEERS").unwrap();
    let of = |entry: &str| entry.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
    all.split(',').find_map(of)
}

#[tokio::test]
#[ignore = "a role: `cargo evidence requests 2` gets the proxies and runs it"]
async fn what_other_proxies_let_through() {
    let mut figures = serde_json::Map::new();
    for peer in PEERS {
        let Some(program) = program(peer.name) else { continue };
        let (say, mut seen) = mpsc::channel(1024);
        let (workload, _workload) =
            accepting(move |tcp| strict::serve(tcp, id("checkout"), say.clone())).await;
        let folder = tempfile::tempdir().unwrap();
        let port = free_port().await;
        let (text, arguments) = (peer.configured)(folder.path(), port, workload);
        fs::write(folder.path().join("peer.conf"), text).unwrap();
        let _process = started(&program, &arguments);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        eventually(peer.name, async || TcpStream::connect(address).await.is_ok()).await;
        let mut counts = [Counts::default(), Counts::default(), Counts::default()];
        for (list, bytes, expected) in cases() {
            exchange(address, &bytes).await;
            let got: Vec<Seen> = std::iter::from_fn(|| seen.try_recv().ok()).collect();
            counts[list].judge(&expected, &got);
        }
        let [heads, paths, spoofs] = counts.map(|counts| counts.shown());
        let lists = json!({"heads": heads, "paths": paths, "spoofed_callers": spoofs});
        figures.insert(peer.name.to_owned(), lists);
    }
    evidence(&figures.into());
}

/// Every case over HTTP/1.1.
fn cases() -> Vec<Case> {
    let last = || whole(("GET /v1/last", "payments", ""));
    let heads = heads::FRAMING.iter().chain(heads::FIELDS).chain(heads::TARGETS);
    let heads = heads.map(|(_, bytes, left, after)| {
        let mut expected: Vec<Seen> = left.iter().copied().map(whole).collect();
        expected.extend((*after == After::Open).then(last));
        (0, [*bytes, LAST].concat(), expected)
    });
    let paths = paths::paths().into_iter().map(|(path, read)| {
        let path: Vec<u8> = path.chars().map(|letter| letter as u8).collect();
        let end = b" HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n";
        let line = read.map(|path| format!("GET {path}"));
        let expected = line.iter().map(|line| whole((line, "payments", ""))).collect();
        (1, [b"GET ", &path[..], end].concat(), expected)
    });
    let spoofs = spoofs::requests().map(|(_, request)| {
        // The path of the list lies below the one that is allowed here as well.
        let expected = vec![whole(("POST /v1/payments", "payments", "body")), last()];
        (2, [&request, LAST].concat(), expected)
    });
    heads.chain(paths).chain(spoofs).collect()
}

async fn exchange(address: SocketAddr, bytes: &[u8]) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let _ = tcp.write_all(bytes).await;
    let _ = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut Vec::new())).await;
}

/// A port that was free a moment ago: these proxies cannot say which one they took.
async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

fn started(program: &str, arguments: &[String]) -> Child {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.kill_on_drop(true).spawn().unwrap()
}

/// As its manual proposes for a proxy; the target goes on as it came.
fn nginx(folder: &Path, port: u16, workload: SocketAddr) -> Configured {
    let (folder, caller) = (folder.display(), id("checkout"));
    let text = format!(
        r#"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 403; }}
    location /v1/ {{
      proxy_pass http://{workload};
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Connection "";
      proxy_set_header X-Spiffe-Id {caller};
      proxy_set_header X-Forwarded-Client-Cert "";
    }}
  }}
}}
"#
    );
    let file = format!("{folder}/peer.conf");
    (text, ["-p", &folder.to_string(), "-e", "stderr", "-c", &file].map(str::to_owned).to_vec())
}

fn haproxy(folder: &Path, port: u16, workload: SocketAddr) -> Configured {
    let caller = id("checkout");
    let text = format!(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
         frontend front\n  bind 127.0.0.1:{port}\n  http-request deny unless {{ path_beg /v1/ }}\n  \
         http-request set-header x-spiffe-id {caller}\n  \
         http-request del-header x-forwarded-client-cert\n  default_backend back\n\
         backend back\n  server workload {workload}\n"
    );
    let file = folder.join("peer.conf").display().to_string();
    (text, vec!["-db".to_owned(), "-f".to_owned(), file])
}

/// With the settings that its manual advises for an edge.
fn envoy(folder: &Path, port: u16, workload: SocketAddr) -> Configured {
    let caller = id("checkout");
    let address =
        |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let kind = |name: &str| format!("type.googleapis.com/envoy.extensions.filters.{name}");
    let overwritten = json!({
        "header": {"key": "x-spiffe-id", "value": caller},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    });
    let manager = json!({
        "@type": kind("network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "front",
        "normalize_path": true,
        "merge_slashes": true,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"},
        "route_config": {"virtual_hosts": [{
            "name": "all", "domains": ["*"],
            "request_headers_to_add": [overwritten],
            "routes": [{"match": {"prefix": "/v1/"}, "route": {"cluster": "workload"}}],
        }]},
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": kind("http.router.v3.Router")},
        }],
    });
    let endpoint = json!({"endpoint": {"address": address(workload.port())}});
    let text = json!({
        "static_resources": {
            "listeners": [{
                "name": "front", "address": address(port),
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager", "typed_config": manager,
                }]}],
            }],
            "clusters": [{
                "name": "workload", "type": "STATIC", "connect_timeout": "5s",
                "load_assignment": {
                    "cluster_name": "workload", "endpoints": [{"lb_endpoints": [endpoint]}],
                },
            }],
        },
    });
    let file = folder.join("peer.conf").display().to_string();
    let arguments =
        ["--concurrency", "1", "--disable-hot-restart", "--log-level", "off", "-c", &file];
    (text.to_string(), arguments.map(str::to_owned).to_vec())
}
