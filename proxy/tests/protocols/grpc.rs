//! gRPC: grpc-go's own interoperability client and server, and grpcurl for streams that wait.

use std::{collections::BTreeMap, path::Path};

use cellwall_policy::{CallDocument, Protocol};
use cellwall_testkit::process::{Process, Spawn};
use serde_json::json;

use super::{LONG, Scene, all, free_port, local, prints, program, runs, script, serves};

/// What the client of grpc-go can be told to try, as gRPC's list of interoperability tests has it.
const CASES: [&str; 14] = [
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    // Metadata, in trailers as well.
    "custom_metadata",
    "status_code_and_message",
    "special_status_message",
    "unimplemented_method",
    "unimplemented_service",
    // `grpc-timeout`
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
];

const METHODS: [(&str, &str); 7] = [
    ("TestService", "EmptyCall"),
    ("TestService", "UnaryCall"),
    ("TestService", "StreamingInputCall"),
    ("TestService", "StreamingOutputCall"),
    ("TestService", "FullDuplexCall"),
    ("TestService", "UnimplementedCall"),
    ("UnimplementedService", "UnimplementedCall"),
];

/// The server, and both sidecars.
async fn scene(folder: &Path) -> (Process, Scene) {
    let port = free_port().await;
    let spawn = Spawn::new("grpc-server", &program("grpc-server"), folder);
    let server = spawn.arg(format!("--port={port}")).start().unwrap();
    serves(local(port)).await;
    let calls = METHODS.map(|(service, method)| CallDocument::Grpc {
        service: format!("grpc.testing.{service}"),
        method: method.to_owned(),
    });
    (server, Scene::beside(("ledger", Protocol::Grpc), &calls, local(port)).await)
}

/// Which grpc-go the programs were built with.
async fn grpc_go() -> String {
    format!("grpc-go {}", version("grpc-client").await)
}

/// The version of a module that has a program.
async fn version(name: &str) -> String {
    let said = runs(&program("go"), &["version", "-m", &program(name).to_string_lossy()]).await;
    let line = said.lines().find(|line| line.starts_with("\tmod\t")).unwrap();
    line.split('\t').nth(3).unwrap().to_owned()
}

#[tokio::test]
#[ignore = "a role: `cargo evidence requests 4` gets the programs and runs it"]
async fn the_cases_of_grpcs_own_list() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, mut scene) = scene(folder.path()).await;
    let client = program("grpc-client");
    let mut passed = BTreeMap::new();
    for round in 0..2 {
        for case in CASES {
            let port = format!("--server_port={}", scene.door().port());
            let case_ = format!("--test_case={case}");
            // It ends with a status other than 0 where the case does not hold.
            runs(&client, &["--server_host=127.0.0.1", &port, &case_]).await;
            *passed.entry(case).or_insert(0) += 1;
        }
        if round == 0 {
            scene.turn().await;
        }
    }
    let go = grpc_go().await;
    scene.shows([&go, &go], json!({"cases": CASES, "passed": passed.values().sum::<i32>()}), None);
}

/// grpcurl, calling this method with what is said to it.
fn grpcurl(folder: &Path, name: &str, scene: &Scene, flags: &[&str], method: &str) -> Process {
    let proto = script("testing.proto");
    let proto = Path::new(&proto);
    Spawn::new(name, &program("grpcurl"), folder)
        .args(["-plaintext", "-format", "json", "-d", "@", "-import-path"])
        .arg(proto.parent().unwrap())
        .args(["-proto", "testing.proto"])
        .args(flags)
        .arg(scene.door().to_string())
        .arg(format!("grpc.testing.TestService/{method}"))
        .with_input()
        .start()
        .unwrap()
}

/// Asks for `count` answers of one byte, so long after each other.
fn asks(count: usize, interval_us: usize) -> String {
    let one = json!({"size": 1, "intervalUs": interval_us});
    json!({"responseParameters": vec![one; count]}).to_string()
}

fn is_answer(line: &str) -> bool {
    line == "{"
}

fn answers(process: &Process) -> usize {
    all(process.stdout()).iter().filter(|line| is_answer(line)).count()
}

#[tokio::test]
#[ignore = "a role: `cargo evidence requests 4` gets the programs and runs it"]
async fn all_four_kinds_of_call_and_a_deadline() {
    const STREAMED: usize = 60;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (_server, mut scene) = scene(folder).await;
    let mut unary = grpcurl(folder, "unary", &scene, &[], "UnaryCall");
    unary.say(r#"{"responseSize": 3}"#).await.unwrap();
    unary.hang_up();
    assert!(unary.ended(LONG).await.unwrap().success());
    assert_eq!(all(unary.stdout()).concat().replace(' ', ""), r#"{"payload":{"body":"AAAA"}}"#);
    // All three kinds of stream are open, and have begun, when the turn comes.
    let mut down = grpcurl(folder, "down", &scene, &[], "StreamingOutputCall");
    down.say(&asks(STREAMED, 200_000)).await.unwrap();
    down.hang_up();
    let mut up = grpcurl(folder, "up", &scene, &[], "StreamingInputCall");
    let mut both = grpcurl(folder, "both", &scene, &[], "FullDuplexCall");
    for _ in 0..10 {
        up.say(r#"{"payload": {"body": "AAAA"}}"#).await.unwrap();
        both.say(&asks(1, 0)).await.unwrap();
    }
    prints(&both, 10, is_answer).await;
    prints(&down, 2, is_answer).await;
    scene.turn().await;
    assert!(answers(&down) < STREAMED, "the turn came too late");
    for _ in 0..10 {
        up.say(r#"{"payload": {"body": "AAAA"}}"#).await.unwrap();
        both.say(&asks(1, 0)).await.unwrap();
    }
    up.hang_up();
    both.hang_up();
    for client in [&mut up, &mut both, &mut down] {
        assert!(client.ended(LONG).await.unwrap().success(), "{:?}", all(client.stderr()));
    }
    assert_eq!(all(up.stdout()).concat().replace(' ', ""), r#"{"aggregatedPayloadSize":60}"#);
    assert_eq!((answers(&both), answers(&down)), (20, STREAMED));
    // The client's deadline, at a server that goes on.
    let mut late = grpcurl(folder, "late", &scene, &["-max-time", "2"], "StreamingOutputCall");
    late.say(&asks(1_000, 100_000)).await.unwrap();
    late.hang_up();
    assert!(!late.ended(LONG).await.unwrap().success());
    let late = all(late.stderr()).join(" ");
    assert!(late.contains("DeadlineExceeded"), "{late}");
    // The permission ends one that would go on.
    let mut open = grpcurl(folder, "open", &scene, &[], "FullDuplexCall");
    open.say(&asks(10_000, 20_000)).await.unwrap();
    open.hang_up(); // it would read its input to the end first
    prints(&open, 5, is_answer).await;
    let ended = scene.ended(&mut open).await;
    let exchanged = json!({
        "unary": 1, "answers_of_a_server_stream": STREAMED, "messages_of_a_client_stream": 20,
        "messages_both_ways": 20, "after_its_deadline": "DeadlineExceeded",
    });
    let client = format!("grpcurl {}", version("grpcurl").await);
    scene.shows([&client, &grpc_go().await], exchanged, Some(ended));
}
