//! Declared TCP: a server that speaks first, TLS of their own in the stream, and half-closes.

use cellwall_policy::{CallDocument, Protocol};
use cellwall_testkit::process::Spawn;
use serde_json::{Value, json};

use super::{Scene, certificate, listening, prints, program, said, script};

const TCP: CallDocument = CallDocument::Tcp { port: 8443 };

#[tokio::test]
#[ignore = "a role: `cargo evidence requests 4` gets the programs and runs it"]
async fn mail_over_smtp_with_starttls() {
    let folder = tempfile::tempdir().unwrap();
    let [own, key] = certificate(folder.path()).await;
    let python = |name: &str| Spawn::new(name, &program("python"), folder.path()).arg(script(name));
    let spawn = python("mail_server.py").args([&own, &key]);
    let (server, address, version) = listening(spawn).await;
    let mut scene = Scene::beside(("mail", Protocol::Tcp), &[TCP], address).await;
    let mut client = python("mail_client.py")
        .arg(scene.door().port().to_string())
        .arg(&own)
        .with_input()
        .start()
        .unwrap();
    let about = said(&mut client, |line| line["greeting"] == 250).await;
    let tls = said(&mut client, |line| line["tls"].is_string()).await;
    let is_mail = |line: &str| line.starts_with(r#"{"mail""#);
    let is_sent = |line: &str| line.starts_with(r#"{"sent""#);
    let mut digests = [Vec::new(), Vec::new()];
    for (number, lines) in ["10", "100", "20000"].iter().enumerate() {
        client.say(lines).await.unwrap();
        let sent = prints(&client, number + 1, is_sent).await;
        let took = prints(&server, number + 1, is_mail).await;
        digests = [sent, took].map(|lines| {
            let lines = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
            lines.filter_map(|line| line["sha256"].as_str().map(str::to_owned)).collect()
        });
        scene.turn().await;
    }
    assert_eq!(digests[0], digests[1]);
    let ended = scene.ended(&mut client).await;
    let exchanged = json!({"mails": 3, "digests_as_sent": digests[0], "tls_inside": tls["tls"]});
    scene.shows([about["client"].as_str().unwrap(), &version], exchanged, Some(ended));
}

#[tokio::test]
#[ignore = "a role: `cargo evidence requests 4` gets the programs and runs it"]
async fn half_closes_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let python = |name: &str| {
        Spawn::new(name, &program("python"), folder.path()).arg(script("halves.py")).arg(name)
    };
    let (mut server, address, version) = listening(python("serve")).await;
    let mut scene = Scene::beside(("ledger-db", Protocol::Tcp), &[TCP], address).await;
    let door = scene.door().port().to_string();
    let mut client = python("call").arg(door).with_input().start().unwrap();
    for step in ["sent half", "server's half ended"] {
        said(&mut client, |line| line["step"] == step).await;
        scene.turn().await;
        client.say("go on").await.unwrap();
    }
    let first = said(&mut client, |line| line["step"] == "client first").await;
    assert_eq!(first["whole"], true, "{first}");
    let half = said(&mut client, |line| line["step"] == "server's half ended").await;
    assert_eq!(half["whole"], true, "{half}");
    let second = said(&mut client, |line| line["step"] == "server first").await;
    let took = said(&mut server, |line| line["after_our_half"].is_u64()).await;
    assert_eq!((&took["after_our_half"], &took["sha256"]), (&second["sent"], &second["sha256"]));
    assert_eq!(second["end"], "b''", "{second}");
    said(&mut server, |line| line["waits"] == true).await;
    let ended = scene.ended(&mut client).await;
    let server_saw = said(&mut server, |line| line["end"].is_string()).await;
    let exchanged = json!({
        "client_half_first": first["sent"], "server_half_first": half["got"],
        "after_the_servers_half": took["after_our_half"], "sha256": took["sha256"],
        "server_saw_at_the_end": server_saw["end"],
    });
    scene.shows([&version, &version], exchanged, Some(ended));
}
