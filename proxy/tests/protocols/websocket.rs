//! WebSocket, where the policy lets a call go on in it: the client and the server of `ws`.

use cellwall_policy::{CallDocument, Protocol};
use serde_json::{Value, json};

use super::{Scene, listening, prints, said, streams::node};
use crate::kit::{http, id};

#[tokio::test]
#[ignore = "a role: `cargo evidence requests 4` gets the programs and runs it"]
async fn a_granted_websocket_and_one_that_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (mut server, address, version) =
        listening(node(folder.path(), "websocket_server.cjs")).await;
    let methods = vec!["GET".to_owned(), "GET+websocket".to_owned()];
    let feed = CallDocument::Http { methods, path: "/feed".to_owned() };
    let calls = [feed, http("GET", "/plain")];
    let mut scene = Scene::beside(("feed", Protocol::Http), &calls, address).await;
    let url = |path: &str| format!("ws://{}{path}", scene.door());
    let open = |path: &str| {
        node(folder.path(), "websocket_client.cjs").arg(url(path)).with_input().start().unwrap()
    };
    // Allowed, but not to go on in another protocol: `ws` answers 426 to what asks for none.
    let mut plain = open("/plain");
    let refused = said(&mut plain, |line| line["error"].is_string()).await;
    assert_eq!(refused["error"], "Unexpected server response: 426");
    let mut client = open("/feed");
    let upgrade = said(&mut client, |line| line["upgrade"].is_string()).await;
    assert_eq!(upgrade, json!({"upgrade": "websocket", "status": 101}));
    let is_echo = |line: &str| line.starts_with(r#"{"echoes":"#);
    let mut echoed = Value::Null;
    for (round, count) in [40, 400, 400].iter().enumerate() {
        client.say(&count.to_string()).await.unwrap();
        if round > 0 {
            scene.turn().await; // while they go both ways
        }
        let lines = prints(&client, round + 1, is_echo).await;
        let last = lines.iter().rfind(|line| is_echo(line)).unwrap();
        echoed = serde_json::from_str(last).unwrap();
        assert_eq!(echoed["same"], true, "{echoed}");
    }
    let ended = scene.ended(&mut client).await;
    let closed = said(&mut server, |line| line["closed"].is_u64()).await;
    assert_eq!((&closed["messages"], &closed["sha256"]), (&echoed["echoes"], &echoed["sha256"]));
    assert_eq!(closed["caller"], id("checkout"));
    let exchanged = json!({
        "messages_each_way": echoed["echoes"], "bytes_each_way": echoed["bytes"],
        "sha256_both_ways": echoed["sha256"], "without_a_grant": refused["error"],
        "server_saw_at_the_end": closed["closed"],
    });
    scene.shows([&version, &version], exchanged, Some(ended));
}
