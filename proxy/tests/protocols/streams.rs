//! Streams that stay open: server-sent events.

use cellwall_policy::Protocol;
use cellwall_testkit::process::{Process, Spawn};
use serde_json::{Value, json};

use super::{Scene, all, listening, prints, program, said, script};
use crate::kit;

/// A script with the modules of npm.
pub(super) fn node(folder: &std::path::Path, name: &str) -> Spawn {
    Spawn::new(name, &program("node"), folder)
        .env("NODE_PATH", program("node_modules"))
        .arg(script(name))
}

/// The numbers of the events that came.
fn events(process: &Process) -> Vec<u64> {
    let lines = all(process.stdout()).into_iter();
    let lines = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    lines.filter_map(|line| line["id"].as_u64().filter(|_| line["id"] == line["payment"])).collect()
}

#[tokio::test]
#[ignore = "a role: `cargo evidence requests 4` gets the programs and runs it"]
async fn server_sent_events() {
    let folder = tempfile::tempdir().unwrap();
    let (mut origin, address, server) = listening(node(folder.path(), "origin.cjs")).await;
    let calls = [kit::http("GET", "/events")];
    let mut scene = Scene::beside(("feed", Protocol::Http), &calls, address).await;
    let url = format!("http://{}/events", scene.door());
    let mut client = node(folder.path(), "events.cjs").arg(url).start().unwrap();
    let is_event = |line: &str| line.starts_with(r#"{"id":"#);
    prints(&client, 20, is_event).await;
    for turn in 1..4 {
        scene.turn().await;
        prints(&client, events(&client).len() + 20 * turn, is_event).await;
    }
    let ended = scene.ended(&mut client).await;
    let came = events(&client);
    let every: Vec<u64> = (1..).take(came.len()).collect();
    assert_eq!(came, every);
    let lines = all(client.stdout());
    let opened = lines.iter().filter(|line| line.contains("open")).count();
    assert_eq!(opened, 1, "{lines:#?}");
    // It came again, as the standard has it, and was refused.
    assert!(lines.last().unwrap().contains(r#""code":403"#), "{lines:#?}");
    let last = said(&mut origin, |line| line["last"].is_u64()).await;
    let about: Value = serde_json::from_str(&lines[0]).unwrap();
    let exchanged = json!({"events": came.len(), "opened": opened, "origin_wrote": last["last"]});
    scene.shows([about["client"].as_str().unwrap(), &server], exchanged, Some(ended));
}
