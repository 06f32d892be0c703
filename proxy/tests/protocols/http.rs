//! HTTP/1.0, HTTP/1.1 and HTTP/2: curl and h2load, nginx and node.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Stdio};

use aws_lc_rs::digest::{Context, SHA256};
use cellwall_policy::{CallDocument, Protocol};
use cellwall_testkit::process::{Process, Spawn};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};

use super::{
    Ended, LONG, Scene, free_port, is_quick, listening, local, prints, program, runs, said, says,
    script, serves,
};
use crate::kit;

const MEBIBYTE: usize = 1 << 20;

const VERSIONS: [&str; 3] = ["--http1.0", "--http1.1", "--http2-prior-knowledge"];

/// The first two words of curl's own version.
async fn curl() -> String {
    let said = says(&program("curl"), &["--version"]).await;
    said.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn calls(list: &[(&str, &str)]) -> Vec<CallDocument> {
    list.iter().map(|(method, path)| kit::http(method, path)).collect()
}

/// nginx with one page, until the end of the process.
async fn nginx(folder: &Path) -> (Process, std::net::SocketAddr) {
    let port = free_port().await;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.join("page"), "a page of nginx\n").unwrap();
    let at = folder.display();
    let text = format!(
        r#"daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;
events {{}}
http {{
  access_log {at}/access.log;
  client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;
  fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
  server {{ listen 127.0.0.1:{port}; root {at}; keepalive_requests 1000000; }}
}}
"#
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, text).unwrap();
    let spawn = Spawn::new("nginx", &program("nginx"), folder);
    let spawn = spawn.args(["-e", "stderr", "-p"]).arg(folder).arg("-c").arg(file);
    let process = spawn.start().unwrap();
    serves(local(port)).await;
    (process, local(port))
}

/// The origin of this folder, and its version.
async fn origin(folder: &Path) -> (Process, std::net::SocketAddr, String) {
    listening(Spawn::new("origin", &program("node"), folder).arg(script("origin.cjs"))).await
}

#[tokio::test]
#[ignore = "a role: `cargo evidence requests 4` gets the programs and runs it"]
async fn pages_over_http_1() {
    let folder = tempfile::tempdir().unwrap();
    let (_nginx, address) = nginx(folder.path()).await;
    let calls = calls(&[("GET", "/page"), ("HEAD", "/page")]);
    let mut scene = Scene::beside(("web", Protocol::Http), &calls, address).await;
    let page = format!("http://{}/page", scene.door());
    let told = "%{http_version} %{http_code} %{size_download} %{num_connects}\\n";
    let all = ["-sS", "-o", "/dev/null", "-w", told];
    let curl_ = program("curl");
    let mut lines = Vec::new();
    for turn in 0..2 {
        for flags in [&["--http1.0"][..], &["--http1.1"], &["--http1.1", "-I"]] {
            // Two on one connection.
            let arguments = [&all[..], flags, &[&page, "-o", "/dev/null", &page]].concat();
            let said = runs(&curl_, &arguments).await;
            lines.push(said.lines().map(str::to_owned).collect::<Vec<_>>());
        }
        if turn == 0 {
            scene.turn().await;
        }
    }
    let told = |lines: [&str; 2]| lines.map(str::to_owned).to_vec();
    let [old, new, head] = [
        told(["1 200 16 1", "1 200 16 1"]),
        told(["1.1 200 16 1", "1.1 200 16 0"]),
        told(["1.1 200 0 1", "1.1 200 0 0"]),
    ];
    let expected = [&old, &new, &head, &old, &new, &head].map(Clone::clone);
    assert_eq!(lines, expected);
    let other = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-X", "DELETE", &page];
    assert_eq!(runs(&curl_, &other).await, "403");
    let server = says(&program("nginx"), &["-v"]).await;
    let exchanged = json!({"http_1_0_answers": 4, "http_1_1_answers": 8, "refused": 1});
    scene.shows([&curl().await, &server], exchanged, None);
}

/// curl with its input and its output in our hands.
fn piped(arguments: &[&str]) -> tokio::process::Child {
    let mut command = Command::new(program("curl"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true).spawn().unwrap()
}

/// Reads so much, or up to the end.
async fn reads(child: &mut tokio::process::Child, most: usize, digest: &mut Context) -> usize {
    let output = child.stdout.as_mut().unwrap();
    let (mut bytes, mut read) = (vec![0; MEBIBYTE], 0);
    while read < most {
        let next = output.read(&mut bytes).await.unwrap();
        digest.update(&bytes[..next]);
        read += next;
        if next == 0 {
            break;
        }
    }
    read
}

fn hex(digest: Context) -> String {
    digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
#[ignore = "a role: `cargo evidence requests 4` gets the programs and runs it"]
async fn a_body_of_a_gibibyte_and_one_without_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let (mut origin, address, server) = origin(folder.path()).await;
    let calls = calls(&[("GET", "/bytes/{length}"), ("GET", "/endless")]);
    let mut scene = Scene::beside(("web", Protocol::Http), &calls, address).await;
    let size = if is_quick() { 64 * MEBIBYTE } else { 1024 * MEBIBYTE };
    let mut digest = Context::new(&SHA256);
    let path = format!("/bytes/{size}");
    let mut curl_ = piped(&["-sSN", "--http1.1", &format!("http://{}{path}", scene.door())]);
    let half = reads(&mut curl_, size / 2, &mut digest).await;
    assert!(half < size);
    scene.turn().await;
    let rest = reads(&mut curl_, usize::MAX, &mut digest).await;
    assert!(curl_.wait().await.unwrap().success());
    let sent = said(&mut origin, |line| line["path"] == path.as_str()).await;
    let received = hex(digest);
    assert_eq!((sent["sent"].as_u64(), &sent["sha256"]), (Some(size as u64), &json!(received)));
    assert_eq!(half + rest, size);
    // Nobody ends it but the client: the origin hears of it.
    let endless = format!("http://{}/endless", scene.door());
    let mut taken = Vec::new();
    for version in VERSIONS {
        let mut curl_ = piped(&["-sSN", version, &endless]);
        let first = reads(&mut curl_, 8 * MEBIBYTE, &mut Context::new(&SHA256)).await;
        scene.turn().await;
        taken.push(first + reads(&mut curl_, 8 * MEBIBYTE, &mut Context::new(&SHA256)).await);
        curl_.kill().await.unwrap();
        let cut = said(&mut origin, |line| line["path"] == "/endless").await;
        assert_eq!(cut["cut"], true, "{cut}");
    }
    let ended = withdrawn(&scene, &endless).await;
    let exchanged = json!({
        "bytes": size, "sha256": received, "sha256_at_the_origin": sent["sha256"],
        "endless_bytes_until_the_client_left": taken,
    });
    scene.shows([&curl().await, &server], exchanged, Some(ended));
}

/// The permission ends bodies without an end, and no client takes one for whole.
async fn withdrawn(scene: &Scene, endless: &str) -> Ended {
    let mut clients = VERSIONS.map(|version| piped(&["-sSN", version, endless]));
    for client in &mut clients {
        reads(client, MEBIBYTE, &mut Context::new(&SHA256)).await;
    }
    let since = scene.withdraw();
    let mut said = Vec::new();
    for (version, mut client) in VERSIONS.into_iter().zip(clients) {
        reads(&mut client, usize::MAX, &mut Context::new(&SHA256)).await;
        let output = client.wait_with_output().await.unwrap();
        assert!(!output.status.success(), "{version}: it looks whole");
        said.push(format!("{version}: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ended { after: since.elapsed(), said: said.join(" | ") }
}

#[tokio::test]
#[ignore = "a role: `cargo evidence requests 4` gets the programs and runs it"]
async fn uploads_that_wait_for_100_continue() {
    let folder = tempfile::tempdir().unwrap();
    let (mut origin, address, server) = origin(folder.path()).await;
    let calls = calls(&[("PUT", "/upload/{name}")]);
    let mut scene = Scene::beside(("web", Protocol::Http), &calls, address).await;
    let door = scene.door();
    let url = |name: &str| format!("http://{door}/{name}");
    let (good, other) = (url("upload/a"), url("other/a"));
    let expects = ["-sSv", "--http1.1", "--expect100-timeout", "60", "-H", "Expect: 100-continue"];
    let mut curl_ = piped(&[&expects[..], &["-T", "-", &good]].concat());
    let mut input = curl_.stdin.take().unwrap();
    let (piece, mut digest) = (vec![b'u'; MEBIBYTE], Context::new(&SHA256));
    let pieces = if is_quick() { 16 } else { 256 };
    for number in 0..pieces {
        if number == pieces / 2 {
            scene.turn().await;
        }
        input.write_all(&piece).await.unwrap();
        digest.update(&piece);
    }
    drop(input);
    let output = curl_.wait_with_output().await.unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words}");
    let before = words.lines().position(|line| line.starts_with("< HTTP/1.1 100"));
    let after = words.lines().position(|line| line.starts_with("< HTTP/1.1 200"));
    assert!(before.is_some() && before < after, "{words}");
    let got = said(&mut origin, |line| line["bytes"].is_u64()).await;
    let sent = hex(digest);
    assert_eq!((&got["sha256"], &got["cut"]), (&json!(sent), &Value::Null), "{got}");
    // One that is refused.
    let refused = ["-o", "/dev/null", "-w", "%{http_code}", "-T", "-", &other];
    let mut curl_ = piped(&[&expects[..], &refused].concat());
    let mut input = curl_.stdin.take().unwrap();
    let told = async {
        let _ = input.write_all(&piece).await; // it may not take it
        drop(input);
        curl_.wait_with_output().await.unwrap()
    };
    let told = tokio::time::timeout(LONG, told).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&told.stdout), "403");
    // The permission ends one in the middle; `.` is an input that curl does not wait for.
    let mut client = Spawn::new("curl", &program("curl"), folder.path())
        .args(["-S", "--no-progress-meter", "--http1.1", "-w", "%{http_code}\\n", "-T", "."])
        .arg(url("upload/b"))
        .with_input()
        .start()
        .unwrap();
    client.say("more").await.unwrap();
    said(&mut origin, |line| line["path"] == "/upload/b" && line["begun"] == true).await;
    let ended = scene.ended(&mut client).await;
    let cut = said(&mut origin, |line| line["cut"] == true).await;
    let exchanged = json!({
        "bytes": got["bytes"], "sha256": sent, "sha256_at_the_origin": got["sha256"],
        "answers": "100, then 200; 403 to one that is refused",
        "cut_upload_at_the_origin_after": cut["until"],
    });
    scene.shows([&curl().await, &server], exchanged, Some(ended));
}

#[tokio::test]
#[ignore = "a role: `cargo evidence requests 4` gets the programs and runs it"]
async fn many_streams_over_http_2() {
    let folder = tempfile::tempdir().unwrap();
    let (_nginx, address) = nginx(folder.path()).await;
    let mut scene =
        Scene::beside(("web", Protocol::Http), &calls(&[("GET", "/page")]), address).await;
    let page = format!("http://{}/page", scene.door());
    let told = ["-sS", "--http2-prior-knowledge", "-w", "%{http_version} %{http_code}", &page];
    assert_eq!(runs(&program("curl"), &told).await, "a page of nginx\n2 200");
    let seconds = if is_quick() { "3" } else { "15" };
    let h2load = Spawn::new("h2load", &program("h2load"), folder.path());
    let duration = format!("--duration={seconds}");
    let mut client =
        h2load.args(["-c", "4", "-m", "16", "-t", "1", &duration, &page]).start().unwrap();
    prints(&client, 1, |line| line.contains("main benchmark duration") || line.contains("Main"))
        .await;
    for _ in 0..3 {
        scene.turn().await;
    }
    assert!(client.is_running().unwrap(), "the turns came too late");
    assert!(client.ended(LONG).await.unwrap().success());
    let said = super::all(client.stdout());
    let line = |begin: &str| said.iter().find(|line| line.starts_with(begin)).unwrap().clone();
    let (requests, codes) = (line("requests: "), line("status codes: "));
    assert!(requests.ends_with(" 0 failed, 0 errored, 0 timeout"), "{said:#?}");
    assert!(codes.ends_with(" 0 3xx, 0 4xx, 0 5xx"), "{said:#?}");
    scene.withdraw();
    kit::eventually("the end of the permission", async || {
        runs(&program("curl"), &told).await.ends_with("2 403")
    })
    .await;
    let exchanged = json!({"connections": 4, "h2load": [requests, codes], "afterwards": "403"});
    let client = says(&program("h2load"), &["--version"]).await;
    let client = format!("{client}, {}", curl().await);
    let server = says(&program("nginx"), &["-v"]).await;
    scene.shows([&client, &server], exchanged, None);
}
